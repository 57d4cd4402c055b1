"""The closing table: every goal of the design beside what was measured, for a reader who sees it the first time."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from lib import report
from lib.summary import Figures
from lib.works import GOAL_TO_LIMIT, WORKS

COLUMNS = ("dhal", "nginx", "haproxy", "varnish", "limit")
LIMIT_NOTE = "¹ a loop in C that ignores the request: what is beyond it is the cost of being an edge."
READ_ME = (
    "**Less is better in every line.** Each server runs one thread on one core and must give the same, correct answers; "
    "`!` marks a figure that does not count, because some were wrong."
)

# The sections of the table, and what their figures are.
BESIDE_NGINX = "CPU time per request, nginx in the same round = 1.00"
BESIDE_LIMIT = "CPU time per request, the bare loop¹ in the same round = 1.00"
FLAT = "CPU time per request with more of something, the same server with less of it = 1.00"
MEMORY = "Memory"
FAILURES = "Requests that failed"
SECTIONS = (BESIDE_NGINX, BESIDE_LIMIT, FLAT, MEMORY, FAILURES)


@dataclass
class Line:
    """One line of the table."""

    section: str
    what: str
    goal: str
    # By how much the figure exceeds the goal, 0.1 for a tenth; negative below it. None if there is no figure.
    excess: float | None
    cells: dict[str, str] = field(default_factory=dict)
    trouble: bool = False
    has_goal: bool = True

    def verdict(self) -> str:
        """Whether the goal is reached, in words."""
        if not self.has_goal:
            return ""
        if self.excess is None:
            return "not measured"
        if self.trouble:
            return "does not count"
        if self.excess <= 0:
            return "reached"
        return "**missed**" if self.excess == float("inf") else f"**missed by {self.excess:.0%}**"


def excess(value: float, goal: float) -> float:
    """By how much a value exceeds its goal; both are shown with the precision that counts, so both are compared so."""
    if goal == 0:
        return 0.0 if value == 0 else float("inf")
    return value / goal - 1


def _marked(text: str, figures: Figures) -> str:
    return f"{text} !" if figures["trouble"] else text


def _beside_nginx(row: Figures) -> Line:
    cells = {}
    for edge, figures in row["edges"].items():
        if figures["ratio"]:
            absolute = f" ({figures['value']:.1f} µs)" if edge == "nginx" else ""
            cells[edge] = _marked(f"{figures['ratio']['median']:.2f}{absolute}", figures)
    dhal = row["edges"].get("dhal")
    over = excess(round(dhal["ratio"]["median"], 2), row["goal_ratio"]) if dhal and dhal["ratio"] else None
    return Line(BESIDE_NGINX, row["title"], report.goal(row), over, cells, bool(dhal and dhal["trouble"]))


def _beside_limit(row: Figures) -> Line | None:
    if "limit" not in row["edges"]:
        return None
    cells = {
        edge: _marked(f"{figures['ratio_to_limit']['median']:.2f}", figures)
        for edge, figures in row["edges"].items() if figures["ratio_to_limit"]
    }
    dhal = row["edges"].get("dhal")
    over = excess(round(dhal["ratio_to_limit"]["median"], 2), GOAL_TO_LIMIT) if dhal else None
    return Line(BESIDE_LIMIT, row["title"], f"≤ {GOAL_TO_LIMIT:.2f}", over, cells, bool(dhal and dhal["trouble"]))


def _pairs(row: Figures) -> Line:
    cells, over, trouble = {}, None, False
    for edge, base in row["bases"].items():
        figures = row["edges"].get(edge)
        if not figures or not figures["ratio"]:
            continue
        kind = edge.partition("-")[0]
        both = {"trouble": figures["trouble"] + row["edges"][base]["trouble"]}
        cells[kind] = _marked(f"{figures['ratio']['median']:.2f}", both)
        if kind == "dhal":
            over, trouble = excess(round(figures["ratio"]["median"], 2), row["goal_ratio"]), bool(both["trouble"])
    return Line(FLAT, row["title"], report.goal(row), over, cells, trouble)


def _memory(row: Figures) -> list[Line]:
    edges = row["edges"]
    cells = {edge: _marked(report.amount(row, figures["value"]), figures) for edge, figures in edges.items()}
    dhal = edges.get("dhal")
    goal = row["goal_value"]
    over = excess(round(dhal["value"], 1), goal) if dhal and goal else None
    lines = [Line(MEMORY, row["title"], report.goal(row), over, cells, bool(dhal and dhal["trouble"]), bool(goal))]
    if any(figures["left"] is not None for figures in edges.values()):
        left = {edge: _marked(f"{figures['left']:.1f} MiB", figures) for edge, figures in edges.items()}
        lines.append(Line(MEMORY, "… left five seconds after all was closed", "–", None, left, has_goal=False))
    return lines


def _of_run(run: Figures) -> Iterable[Line]:
    for row in run["rows"]:
        if row["bases"]:
            yield _pairs(row)
        elif report.is_memory(row):
            yield from _memory(row)
        else:
            yield _beside_nginx(row)
            if line := _beside_limit(row):
                yield line
    measured = {row["work"] for row in run["rows"]}
    for work in WORKS:
        if work.key not in measured and (work.goal_ratio or work.goal_value):
            section = MEMORY if work.load.is_memory else FLAT if work.is_pairs else BESIDE_NGINX
            goal = {"goal_value": work.goal_value, "goal_ratio": work.goal_ratio, "unit": work.unit}
            yield Line(section, work.title, report.goal(goal), None)


def _date(figures: Figures) -> str:
    return f"run of {figures['date']}" if "date" in figures else "an undated run"


def _of_store(store: Figures | None) -> Iterable[Line]:
    """What `make bench-store` found the last time."""
    rows = {row["row"]: row for row in store["rows"]} if store else {}
    what = "1,000,000 stored responses to 1,000, hit of 1 KiB"
    if store and (row := rows.get("hit")):
        many = {kind: figures["many"] for kind, figures in row["edges"].items()}
        cells = {kind: _marked(f"{one['ratio']['median']:.2f}", one) for kind, one in many.items()}
        over = excess(round(many["dhal"]["ratio"]["median"], 2), row["goal"])
        what = f"{row['many']:,} stored responses to {row['few']:,}, hit of 1 KiB ({_date(store)}²)"
        yield Line(FLAT, what, f"≤ {row['goal']:.2f}", over, cells, bool(many["dhal"]["trouble"]))
    else:
        yield Line(FLAT, what, "≤ 1.10", None)
    if store and (row := rows.get("memory")):
        stored, beyond = list(row["beyond_bytes"].items())[-1]
        what = f"memory per stored response beyond its bytes, {int(stored):,} of 1 KiB ({_date(store)}²)"
        yield Line(MEMORY, what, f"≤ {row['goal']} B", excess(beyond, row["goal"]), {"dhal": f"{beyond} B"})


def _of_soak(soak: Figures | None) -> Iterable[Line]:
    """What `make soak` found the last time."""
    what = "while a shop is killed, another stopped, and the edge reloaded ten times"
    if not soak:
        yield Line(FAILURES, what, "0", None)
        return
    for protocol in soak["protocols"]:
        # A reload that was refused is no request, and still a failure of what is promised.
        failed = protocol["failed"] + protocol["refused_reloads"]
        yield Line(FAILURES, f"{what}, {protocol['protocol']} ({_date(soak)}²)", "0", excess(failed, 0),
                   {"dhal": f"{failed} of {protocol['requests']:,}"})


def lines(run: Figures, store: Figures | None, soak: Figures | None) -> list[Line]:
    """All lines, in the order of the sections."""
    found = [*_of_run(run), *_of_store(store), *_of_soak(soak)]
    return sorted(found, key=lambda line: SECTIONS.index(line.section))


def overview(run: Figures, store: Figures | None = None, soak: Figures | None = None) -> str:
    """The table with what a reader must know of it."""
    settings, environment = run["settings"], run["environment"]
    versions = environment["versions"]
    names = [" ".join(filter(None, [report.KINDS[edge], versions.get(edge)])) for edge in COLUMNS]
    header = ["what is measured", "goal", names[0], "goal reached?", *names[1:]]
    rows: list[list[str]] = []
    section = None
    found = lines(run, store, soak)
    for line in found:
        if line.section != section:
            section = line.section
            rows.append([f"**{section}**"] + [""] * (len(header) - 1))
        dhal = line.cells.get("dhal", "")
        rows.append([line.what, line.goal, f"**{dhal}**" if dhal else "", line.verdict()]
                    + [line.cells.get(edge, "") for edge in COLUMNS[1:]])
    goals = [line for line in found if line.has_goal]
    reached = sum(line.verdict() == "reached" for line in goals)
    parts = [f"{reached} of {len(goals)} goals reached. {READ_ME}", report.table(header, rows), LIMIT_NOTE]
    if any("²" in line.what for line in found):
        parts[-1] += " ² `make bench-store` and `make soak` are runs of their own; this is what they last found."
    parts.append(
        f"On {environment['cpu']}, {environment['kernel']}; medians of {settings['rounds']} interleaved rounds of "
        f"{settings['seconds']} s, memory read once; access logs {'on' if settings['log'] else 'off'}."
    )
    return "\n\n".join(parts) + "\n"
