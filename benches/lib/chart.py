"""The figures as a chart: hand-written SVG that reads on a light and on a dark page.

Bars of CPU beside nginx's, of CPU beside the same server's with less, of memory beside the goal; and lines of memory
over the number of idle connections.
"""

import statistics
from collections.abc import Callable
from xml.sax.saxutils import escape

from lib import report
from lib.summary import Figures

ORDER = ("dhal", "limit", "nginx", "haproxy", "varnish")
NAMES = report.KINDS | {"limit": "bare loop in C"}

WIDTH = 960
LEFT, RIGHT = 352, 92
TOP = 92
BAR, BAR_GAP, ROW_GAP = 12, 3, 16
# What is longer is cut.
RATIO_MAX = 2.0
LINES_HEIGHT = 150
LABEL_HEIGHT = 13

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f; paint-order: stroke; stroke: #ffffff; stroke-width: 3px }
.page { fill: #ffffff } .cut { stroke: #ffffff; stroke-width: 3 }
.title { font-size: 16px; font-weight: 600 } .small { font-size: 11px; fill: #57606a }
.grid { stroke: #d8dee4 } .one { stroke: #57606a; stroke-dasharray: 4 3 }
.range { stroke: #24292f; stroke-opacity: .55 } .goal { stroke: #cf222e; stroke-width: 2.5 }
.dhal { fill: #0969da } .limit { fill: #d8dee4 } .nginx { fill: #57606a } .haproxy { fill: #6fa08f }
.varnish { fill: #b9a38a }
.line { fill: none; stroke-width: 2.5 } .line.dhal { stroke: #0969da } .line.nginx { stroke: #57606a }
.line.haproxy { stroke: #6fa08f } .line.varnish { stroke: #b9a38a } .line.plain { stroke-dasharray: 5 3 }
.line.target { stroke: #cf222e; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; stroke: #0d1117 } .page { fill: #0d1117 } .cut { stroke: #0d1117 } .small { fill: #9198a1 }
  .grid { stroke: #262c36 } .one { stroke: #9198a1 } .range { stroke: #e6edf3 } .goal { stroke: #ff7b72 }
  .dhal { fill: #4493f8 } .limit { fill: #3d444d } .nginx { fill: #9198a1 } .haproxy { fill: #4f7d6d }
  .varnish { fill: #8d7860 }
  .line { fill: none } .line.dhal { stroke: #4493f8 } .line.nginx { stroke: #9198a1 }
  .line.haproxy { stroke: #4f7d6d } .line.varnish { stroke: #8d7860 } .line.target { stroke: #ff7b72 }
}
"""

Bar = tuple[str, float, tuple[float, float], str]


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def _text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{escape(words)}</text>'


def _scale(longest: float) -> Callable[[float], float]:
    return lambda value: LEFT + (WIDTH - LEFT - RIGHT) * min(value, longest) / longest


def _row(title: str, bars: list[Bar], goal: float | None, top: float, longest: float) -> tuple[list[str], float]:
    """The bars of one work: style, length, range, label."""
    drawn: list[str] = []
    x = _scale(longest)
    y = top
    for style, length, (low, high), label in bars:
        middle = y + BAR / 2
        drawn.append(f'<rect x="{LEFT}" y="{y:.1f}" width="{x(length) - LEFT:.1f}" height="{BAR}" class="{style}"/>')
        if high > low:
            drawn.append(_line(x(low), middle, x(high), middle, "range"))
        if length > longest:
            drawn.append(_line(x(longest) - 14, y + BAR + 1, x(longest) - 8, y - 1, "cut"))
        drawn.append(_text(x(max(high, length)) + 5, y + BAR - 2, label, "small"))
        y += BAR + BAR_GAP
    bottom = y - BAR_GAP
    if goal and bars and bars[0][0] == ORDER[0]:
        drawn.append(_line(x(goal), top - 3, x(goal), top + BAR + 2, "goal"))
    drawn.append(_text(LEFT - 10, (top + bottom) / 2 + 4, title, "", "end"))
    return drawn, bottom


def _ratio_bars(row: Figures) -> list[Bar]:
    bars = []
    for edge in ORDER:
        if ratio := row["edges"].get(edge, {}).get("ratio"):
            bars.append((edge, ratio["median"], (ratio["min"], ratio["max"]), f"{ratio['median']:.2f}"))
    return bars


def _pair_bars(row: Figures) -> list[Bar]:
    bars = []
    for edge in row["bases"]:
        if ratio := row["edges"].get(edge, {}).get("ratio"):
            kind = edge.partition("-")[0]
            bars.append((kind, ratio["median"], (ratio["min"], ratio["max"]), f"{ratio['median']:.2f}"))
    return bars


def _memory_bars(row: Figures) -> list[Bar]:
    bars = []
    for edge in ORDER:
        if figures := row["edges"].get(edge):
            length = max(0.0, figures["value"]) / row["goal_value"]
            bars.append((edge, length, (length, length), report.amount(row, figures["value"])))
    return bars


def _panel(rows: list[tuple[str, list[Bar], float | None]], top: float, longest: float) -> tuple[list[str], float]:
    """Rows of bars over one grid."""
    bars: list[str] = []
    y = top
    for title, of_row, goal in rows:
        drawn, bottom = _row(title, of_row, goal, y, longest)
        bars += drawn
        y = bottom + ROW_GAP
    x = _scale(longest)
    grid = [
        part
        for tick in (step / 2 for step in range(int(longest * 2) + 1))
        for part in (
            _line(x(tick), top - 8, x(tick), y, "one" if tick == 1.0 else "grid"),
            _text(x(tick), top - 13, f"{tick:.1f}", "small", "middle"),
        )
    ]
    return grid + bars, y


def _legend(edges: set[str]) -> list[str]:
    drawn: list[str] = []
    x = float(LEFT)
    for edge in [edge for edge in ORDER if edge in edges]:
        drawn.append(f'<rect x="{x:.1f}" y="52" width="11" height="11" class="{edge}"/>')
        drawn.append(_text(x + 16, 62, NAMES[edge], "small"))
        x += 34 + 6.2 * len(NAMES[edge])
    drawn.append(_line(x + 4, 51, x + 4, 64, "goal"))
    drawn.append(_text(x + 12, 62, "Dhal's goal", "small"))
    return drawn


def _idle_lines(rows: list[Figures], top: float) -> tuple[list[str], float]:
    """What idle connections add to a server's memory: over TLS in full lines, plain dashed, each with its goal."""
    lines: list[tuple[str, str, list[tuple[float, float]]]] = []
    for row in rows:
        dashed, kind = ("", "TLS") if row["work"] == "idle-tls" else (" plain", "plain")
        most = 0
        for edge in [edge for edge in ORDER if row["edges"].get(edge, {}).get("points")]:
            points = row["edges"][edge]["points"]
            # Without what the server takes before the first of them.
            empty = statistics.linear_regression(*zip(*points)).intercept
            most = max(most, points[-1][0])
            lines.append((edge + dashed, f"{NAMES[edge]}, {kind}", [(count, kib - empty) for count, kib in points]))
        lines.append(("target" + dashed, f"goal, {kind}", [(0, 0), (most, most * row["goal_value"])]))
    most = max(points[-1][0] for *_, points in lines)
    largest = max(kib for *_, points in lines for _count, kib in points)
    bottom = top + LINES_HEIGHT
    x = _scale(most)
    drawn = []
    for part in (0.0, 0.5, 1.0):
        at = bottom - LINES_HEIGHT * part
        drawn.append(_line(LEFT, at, WIDTH - RIGHT, at, "grid"))
        drawn.append(_text(LEFT - 10, at + 4, f"{largest * part / 1024:.0f} MiB", "small", "end"))
    for tick in range(0, int(most) + 1, 5000 if most > 5000 else max(int(most) // 2, 1)):
        drawn.append(_text(x(tick), bottom + 16, f"{tick:,}", "small", "middle"))
    lowest_label = top - LABEL_HEIGHT
    for style, name, points in sorted(lines, key=lambda line: -line[2][-1][1]):
        places = [(x(count), bottom - LINES_HEIGHT * max(0, kib) / largest) for count, kib in points]
        path = " ".join(f"{across:.1f},{down:.1f}" for across, down in places)
        drawn.append(f'<polyline points="{path}" class="line {style}"/>')
        if points[-1][0] == most:
            lowest_label = max(places[-1][1] + 4, lowest_label + LABEL_HEIGHT)
            drawn.append(_text(x(most) + 6, lowest_label, name, "small"))
    return drawn, bottom + 30


def svg(run: Figures) -> str:
    """The chart of a run."""
    cpu = [row for row in run["rows"] if not row["bases"] and not report.is_memory(row)]
    pairs = [row for row in run["rows"] if row["bases"]]
    memory = [row for row in run["rows"] if report.is_memory(row) and row["goal_value"]]
    idle = [row for row in memory if any(figures["points"] for figures in row["edges"].values())]
    drawn = [_text(16, 30, "CPU per request, nginx = 1.0: less is better", "title")]
    drawn += _legend({edge for row in cpu + memory for edge in row["edges"]})
    bars, y = _panel([(row["title"], _ratio_bars(row), row["goal_ratio"]) for row in cpu], TOP, RATIO_MAX)
    drawn += bars
    for title, panel in (
        ("A hit with more of something, with less of it = 1.0", [(row["title"], _pair_bars(row), row["goal_ratio"])
                                                                  for row in pairs]),
        ("Memory, goal = 1.0: less is better", [(row["title"], _memory_bars(row), 1.0) for row in memory]),
    ):
        if panel:
            drawn.append(_text(16, y + 30, title, "title"))
            bars, y = _panel(panel, y + 66, RATIO_MAX)
            drawn += bars
    if idle:
        drawn.append(_text(16, y + 30, "Memory that idle connections add", "title"))
        lines, y = _idle_lines(idle, y + 52)
        drawn += lines
    settings, environment = run["settings"], run["environment"]
    foot = (
        f"{environment['cpu']}, {environment['kernel']}, one core each; median and range of {settings['rounds']} "
        f"interleaved rounds; access logs {'on' if settings['log'] else 'off'}"
    )
    height = y + 34
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}"'
            f' viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="CPU and memory of Dhal and its peers">',
            f"<style>{STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{height:.0f}" rx="6"/>',
            *drawn,
            _text(16, height - 14, foot, "small"),
            "</svg>",
        ]
    ) + "\n"
