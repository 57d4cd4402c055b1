"""The sale day's figures: what a shop can do, what of it reached buyers, and what the others did meanwhile."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any
from xml.sax.saxutils import escape

from lib.failover import not_served

EDGES = {"dhal": "Dhal", "dhal-without-rooms": "Dhal without rooms", "nginx": "nginx", "none": "no edge"}

P99_MAX_MS = 1000.0
# Of a step, at its end: those who came in the step before are through by then.
STEP_WINDOW = 0.6
# Answers that are not there make a step too fast, beyond chance.
SENT_OFF_SHARE_MAX = 0.001
PLATEAU_SETTLES = 10
CHECKOUT_SHARE_MIN = 0.9
FINISHED_MIN = 1.0
CALM_FACTOR = 2.0

Report = dict[str, Any]
Second = dict[str, Any]


@dataclass(frozen=True)
class Best:
    """The most that a shop did."""

    # Visitors a second who came, and checkouts a second.
    rate: float
    checkouts: float
    p99_ms: float
    # Visitors who were there at once, and for how many seconds each of them.
    inside: float

    @property
    def stay(self) -> float:
        return self.inside / max(self.rate, 0.001)


def window(report: Report, start: float, end: float) -> list[Second]:
    """The seconds of a run from one moment to another."""
    seconds: list[Second] = report["per_second"][int(start) : int(end)]
    return seconds


def per_second(seconds: list[Second], name: str) -> float:
    """Of a count, the mean."""
    return sum(second[name] for second in seconds) / max(len(seconds), 1)


def sent_off(seconds: list[Second]) -> int:
    """Requests that failed or were refused."""
    return sum(sum(second["failed"].values()) + sum(second["refused"].values()) for second in seconds)


def measured(report: Report, rate: float, start: float, end: float) -> Best | None:
    """What was done at a rate; nothing if it was too much for the shop."""
    seconds = window(report, start, end)
    p99 = statistics.median(second["p99_ms"] for second in seconds) if seconds else 0.0
    begun = sum(second["begun"] for second in seconds)
    if not seconds or p99 >= P99_MAX_MS or sent_off(seconds) > SENT_OFF_SHARE_MAX * begun:
        return None
    inside = statistics.median(second["inside"] for second in seconds)
    return Best(rate, per_second(seconds, "checkouts"), p99, inside)


def best_step(report: Report, rates: list[float], step_seconds: float) -> Best | None:
    """Of steps of a run that rise, the one with the most checkouts before the first that was too much."""
    found: Best | None = None
    for number, rate in enumerate(rates):
        end = (number + 1) * step_seconds
        one = measured(report, rate, end - STEP_WINDOW * step_seconds, end)
        if one is None:
            break
        if found is None or one.checkouts > found.checkouts:
            found = one
    return found


@dataclass
class Row:
    """A figure of a part of the day, of each edge. `reached` is Dhal's; None where nothing is wanted."""

    part: str
    what: str
    wanted: str = ""
    values: dict[str, str] = field(default_factory=dict)
    reached: bool | None = None


class Table:
    """Rows in the order in which they were first named."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(self, part: str, edge: str, what: str, value: str, wanted: str = "", reached: bool | None = None) -> None:
        row = next((row for row in self.rows if (row.part, row.what) == (part, what)), None)
        if row is None:
            row = Row(part, what)
            self.rows.append(row)
        row.values[edge] = value
        if edge == "dhal":
            row.wanted, row.reached = wanted, reached

    def missed(self) -> list[Row]:
        return [row for row in self.rows if row.reached is False]

    def lines(self) -> list[list[str]]:
        edges = [edge for edge in EDGES if any(edge in row.values for row in self.rows)]
        lines = [["part", "figure", "goal", *(EDGES[edge] for edge in edges), ""]]
        for row in self.rows:
            verdict = {None: "", True: "reached", False: "MISSED"}[row.reached]
            lines.append([row.part, row.what, row.wanted, *(row.values.get(edge, "") for edge in edges), verdict])
        return lines

    def text(self) -> str:
        """For a terminal."""
        lines = self.lines()
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)

    def markdown(self) -> str:
        """For a document."""
        first, *others = self.lines()
        rule = "|" + "---|" * len(first)
        body = ["| " + " | ".join(line).replace("MISSED", "**MISSED**") + " |" for line in others]
        return "\n".join(["| " + " | ".join(first) + " |", rule, *body]) + "\n"

    def plain(self) -> list[dict[str, Any]]:
        return [asdict(row) for row in self.rows]


def kinds(groups: list[Report]) -> str:
    """What was not right, by kind, without what is nobody's fault."""
    found: dict[str, int] = {}
    for group in groups:
        for kind, count in group["fates"].items():
            if kind not in ("conflict", "abandoned", "waiting"):
                found[kind] = found.get(kind, 0) + count
    return ", ".join(f"{kind} {count:,}" for kind, count in sorted(found.items())) or "none"


def generator(table: Table, part: str, edge: str, report: Report) -> None:
    """Whether the generator kept up: where it did not, times are the machine's."""
    told = report["generator"]
    kept_up = "kept up" if told["kept_up"] else "DID NOT KEEP UP"
    table.add(part, edge, "the generator",
              f"{kept_up}: {told['late_share']:.1%} late, {told['cpu_share']:.0%} of a core")


def opening(table: Table, edge: str, report: Report, best: Best, plateau: tuple[float, float]) -> None:
    """The rows of the opening."""
    part = "opening"
    start, end = plateau
    seconds = window(report, start + PLATEAU_SETTLES, end)
    checkouts = per_second(seconds, "checkouts")
    share = checkouts / max(best.checkouts, 0.001)
    table.add(part, edge, "checkouts a second on the plateau", f"{checkouts:.1f} ({share:.0%})",
              f"≥ {CHECKOUT_SHARE_MIN:.0%} of the shop's best, {best.checkouts:.1f}", share >= CHECKOUT_SHARE_MIN)
    buyers = report["buyers"]
    ended = buyers["let_in"] - buyers["under_way"]
    stopped = ", ".join(f"{kind} {count:,}" for kind, count in buyers["stopped"].items()) or "nothing"
    table.add(part, edge, "buyers let in who finished",
              f"{buyers['finished']:,} of {ended:,} ({buyers['finished_share']:.1%})", "all",
              ended > 0 and buyers["finished_share"] >= FINISHED_MIN)
    table.add(part, edge, "the others were stopped by", stopped)
    table.add(part, edge, "buyers who came; gave up waiting; still waited at the end; under way at the end",
              f"{buyers['came']:,}; {buyers['gave_up']:,}; {buyers['still_waiting']:,}; {buyers['under_way']:,}")
    table.add(part, edge, "of all buyers who came, those who finished before the end",
              f"{buyers['finished']:,} ({buyers['finished'] / max(buyers['came'], 1):.0%})")
    waiting = report["waiting"]
    table.add(part, edge, "waiting at once; wait of those admitted, p50, longest",
              f"{max(second['waiting'] for second in report['per_second']):,}; {waiting['p50_s']:.0f} s, "
              f"{waiting['max_s']:.0f} s")
    hits = report["hits"]
    if hits:
        rate = hits["requests"] / max(report["seconds"], 1)
        table.add(part, edge, "hits a second; p50, p99",
                  f"{rate:,.0f}; {hits['p50_ms']:.1f} ms, {hits['p99_ms']:.1f} ms")
    table.add(part, edge, "not served, by kind", kinds([report["safe"], report["changing"]]))
    rises = sum(report[group]["fates"].get("place-rose", 0) for group in ("safe", "changing"))
    table.add(part, edge, "places in the queue that rose", f"{rises:,}", "0", rises == 0)
    generator(table, part, edge, report)


def beside_slowloris(
    table: Table, edge: str, calm: Report, report: Report, memory: tuple[int, int, int]
) -> None:
    """The rows of visitors beside ten thousand slow connections; memory is before, at most, and after."""
    part = "slowloris"
    groups = [report["safe"], report["changing"]]
    failed = sum(not_served(group) for group in groups)
    requests = sum(group["requests"] for group in groups)
    table.add(part, edge, "visitors' requests that were not served",
              f"{failed:,} of {requests:,}" + (f" ({kinds(groups)})" if failed else ""), "0", failed == 0)
    reference, now = calm["safe"]["p99_ms"], report["safe"]["p99_ms"]
    is_known = calm["generator"]["kept_up"] and report["generator"]["kept_up"] and reference > 0
    table.add(part, edge, "p99 of their pages, calm and now", f"{reference:.1f} ms, {now:.1f} ms",
              f"≤ {CALM_FACTOR:.0f} times calm", now <= CALM_FACTOR * reference if is_known else None)
    for attack in report["attackers"]:
        opened = attack["open_by_second"] or [0]
        table.add(part, edge, f"{attack['connections']:,} {attack['way']}: open at most, at the end",
                  f"{max(opened):,}, {attack['left']:,}; {attack['closed_by_edge']:,} closed, half within "
                  f"{attack['median_life_ms'] / 1000:.0f} s")
    before, most, after = (number / 2**20 for number in memory)
    table.add(part, edge, "memory of the edge: before, most, after", f"{before:.0f}, {most:.0f}, {after:.0f} MiB")
    generator(table, part, edge, report)


def beside_bad_client(table: Table, edge: str, report: Report) -> None:
    """The rows of visitors beside one that asks without pause."""
    part = "one-bad-client"
    groups = [report["safe"], report["changing"]]
    failed = sum(not_served(group) for group in groups)
    requests = sum(group["requests"] for group in groups)
    table.add(part, edge, "visitors' requests that were not served",
              f"{failed:,} of {requests:,}" + (f" ({kinds(groups)})" if failed else ""), "0", failed == 0)
    table.add(part, edge, "p99 of what they asked, safe and changing",
              f"{groups[0]['p99_ms']:.0f} ms, {groups[1]['p99_ms']:.0f} ms")
    bad = report["by_visitor"]["bad"]
    table.add(part, edge, "the bad one's requests; refused", f"{bad['requests']:,}; {not_served(bad):,}")
    generator(table, part, edge, report)


def storm(table: Table, edge: str, report: Report, plateau: tuple[float, float]) -> None:
    """The rows of visitors who press reload."""
    part = "reload-storm"
    seconds = window(report, *plateau)
    table.add(part, edge, "right answers a second in the storm", f"{per_second(seconds, 'answered'):,.0f}")
    stored = not_served(report["by_step"]["product"])
    table.add(part, edge, "product pages, which are stored, that were not served", f"{stored:,}", "0", stored == 0)
    table.add(part, edge, "not served, by kind", kinds([report["safe"], report["changing"]]))
    abandoned = report["safe"]["fates"].get("abandoned", 0)
    table.add(part, edge, "given up after 250 ms", f"{abandoned:,} of {report['safe']['requests']:,}")
    generator(table, part, edge, report)


WIDTH, LEFT, RIGHT, TOP, PANEL, GAP = 1000.0, 72.0, 148.0, 84.0, 180.0, 64.0
COLOURS = {"dhal": "a", "nginx": "b", "none": "c", "dhal-without-rooms": "d"}
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f } .page { fill: #ffffff }
.title { font-size: 16px; font-weight: 600 } .small { font-size: 11px; fill: #57606a } .grid { stroke: #d8dee4 }
.line { fill: none; stroke-width: 2 }
.line.a { stroke: #0969da } .line.b { stroke: #57606a } .line.c { stroke: #bc4c00 } .line.d { stroke: #1a7f37 }
text.a { fill: #0969da } text.b { fill: #57606a } text.c { fill: #bc4c00 } text.d { fill: #1a7f37 }
.goal { stroke: #cf222e; stroke-dasharray: 5 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .page { fill: #0d1117 } .small { fill: #9198a1 } .grid { stroke: #262c36 }
  .line.a { stroke: #4493f8 } .line.b { stroke: #9198a1 } .line.c { stroke: #db6d28 } .line.d { stroke: #3fb950 }
  text.a { fill: #4493f8 } text.b { fill: #9198a1 } text.c { fill: #db6d28 } text.d { fill: #3fb950 } .goal { stroke: #ff7b72 }
}
"""


def smooth(values: list[float], width: int = 5) -> list[float]:
    """The mean of each and those around it."""
    half = width // 2
    return [statistics.fmean(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]


def _text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{escape(words)}</text>'


def svg(runs: dict[str, Report], best: Best) -> str:
    """The opening with each edge, one over the other: checkouts, visitors who wait, and requests not served."""
    panels: list[tuple[str, Callable[[Second], float], float | None]] = [
        ("Checkouts a second (means of five seconds), and the shop's best", lambda s: s["checkouts"], best.checkouts),
        ("Visitors in the waiting room", lambda s: s["waiting"], None),
        ("Requests a second that failed or were refused", lambda s: sent_off([s]), None),
        ("p99 of right answers, ms", lambda s: s["p99_ms"], None),
    ]
    drawn = [_text(16, 30, "The sale opens: five times the visitors that the shop can serve", "title")]
    y = TOP
    for name, value, goal in panels:
        lines = {edge: smooth([float(value(s)) for s in run["per_second"]]) for edge, run in runs.items()}
        most = max([goal or 0.0, 1.0, *(max(line, default=0.0) for line in lines.values())]) * 1.05
        count = max([2, *(len(line) for line in lines.values())])
        bottom = y + PANEL
        drawn.append(_text(LEFT, y - 10, name))
        for part in (0.0, 0.5, 1.0):
            at = bottom - PANEL * part
            drawn.append(f'<line x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}" class="grid"/>')
            drawn.append(_text(LEFT - 8, at + 4, f"{most * part:,.0f}", "small", "end"))
        if goal:
            at = bottom - PANEL * goal / most
            drawn.append(f'<line x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}" class="goal"/>')
        for number, (edge, line) in enumerate(lines.items()):
            across = (WIDTH - LEFT - RIGHT) / (count - 1)
            points = " ".join(f"{LEFT + across * i:.1f},{bottom - PANEL * v / most:.1f}" for i, v in enumerate(line))
            drawn.append(f'<polyline points="{points}" class="line {COLOURS[edge]}"/>')
            drawn.append(_text(WIDTH - RIGHT + 10, y + 10 + 16 * number, EDGES[edge], COLOURS[edge]))
        for second in range(0, count, 20):
            x = LEFT + (WIDTH - LEFT - RIGHT) * second / (count - 1)
            drawn.append(_text(x, bottom + 15, f"{second} s", "small", "middle"))
        y = bottom + GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH:.0f}" height="{y:.0f}" '
        f'viewBox="0 0 {WIDTH:.0f} {y:.0f}" '
        'role="img" aria-label="The opening of a sale">'
    )
    page = f'<rect class="page" width="{WIDTH:.0f}" height="{y:.0f}" rx="6"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", page, *drawn, "</svg>"]) + "\n"
