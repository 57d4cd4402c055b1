"""The figures as a bar chart: hand-written SVG that reads on a light and on a dark page."""

from xml.sax.saxutils import escape

from lib.summary import Figures

ORDER = ("dhal", "limit", "nginx", "haproxy", "varnish")
NAMES = {"dhal": "Dhal", "limit": "bare epoll loop", "nginx": "nginx", "haproxy": "HAProxy", "varnish": "Varnish"}

WIDTH = 888
LEFT, RIGHT = 220, 88
TOP, BOTTOM = 92, 34
BAR, BAR_GAP, ROW_GAP = 12, 3, 16
RATIO_MAX = 2.0

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f; paint-order: stroke; stroke: #ffffff; stroke-width: 3px }
.page { fill: #ffffff } .cut { stroke: #ffffff; stroke-width: 3 }
.title { font-size: 16px; font-weight: 600 } .small { font-size: 11px; fill: #57606a }
.grid { stroke: #d8dee4 } .one { stroke: #57606a; stroke-dasharray: 4 3 }
.range { stroke: #24292f; stroke-opacity: .55 } .goal { stroke: #cf222e; stroke-width: 2.5 }
.dhal { fill: #0969da } .limit { fill: #d8dee4 } .nginx { fill: #57606a } .haproxy { fill: #6fa08f }
.varnish { fill: #b9a38a }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; stroke: #0d1117 } .page { fill: #0d1117 } .cut { stroke: #0d1117 } .small { fill: #9198a1 }
  .grid { stroke: #262c36 } .one { stroke: #9198a1 } .range { stroke: #e6edf3 } .goal { stroke: #ff7b72 }
  .dhal { fill: #4493f8 } .limit { fill: #3d444d } .nginx { fill: #9198a1 } .haproxy { fill: #4f7d6d }
  .varnish { fill: #8d7860 }
}
"""


def _x(ratio: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * min(ratio, RATIO_MAX) / RATIO_MAX


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def _text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{escape(words)}</text>'


def _bars(row: Figures, top: float) -> tuple[list[str], float]:
    drawn: list[str] = []
    y = top
    for edge in ORDER:
        ratio = row["edges"].get(edge, {}).get("ratio")
        if not ratio:
            continue
        middle = y + BAR / 2
        width = _x(ratio["median"]) - LEFT
        drawn.append(f'<rect x="{LEFT}" y="{y:.1f}" width="{width:.1f}" height="{BAR}" class="{edge}"/>')
        if ratio["max"] > ratio["min"]:
            drawn.append(_line(_x(ratio["min"]), middle, _x(ratio["max"]), middle, "range"))
        if ratio["median"] > RATIO_MAX:
            drawn.append(_line(_x(RATIO_MAX) - 14, y + BAR + 1, _x(RATIO_MAX) - 8, y - 1, "cut"))
        label = f"{ratio['median']:.2f}"
        if row["goal_value"]:
            label += f" · {row['edges'][edge]['value']:.0f} KiB"
        drawn.append(_text(_x(max(ratio["max"], ratio["median"])) + 5, y + BAR - 2, label, "small"))
        y += BAR + BAR_GAP
    bottom = y - BAR_GAP
    if (goal := goal_ratio(row)) and ORDER[0] in row["edges"]:
        drawn.append(_line(_x(goal), top - 3, _x(goal), top + BAR + 2, "goal"))
    drawn.append(_text(LEFT - 10, (top + bottom) / 2 + 4, row["title"], "", "end"))
    return drawn, bottom


def goal_ratio(row: Figures) -> float | None:
    """The goal on the chart's scale; one given as a value is put in proportion to the baseline's value."""
    baseline = row["edges"].get(row["baseline"])
    if row["goal_value"] and baseline and baseline["value"]:
        return row["goal_value"] / baseline["value"]
    return row["goal_ratio"]


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


def svg(run: Figures) -> str:
    """The chart of a run: a group of bars for each row measured against nginx."""
    rows = [row for row in run["rows"] if row["baseline"] == "nginx" and "nginx" in row["edges"]]
    bars: list[str] = []
    y = float(TOP)
    for row in rows:
        drawn, bottom = _bars(row, y)
        bars += drawn
        y = bottom + ROW_GAP
    height = y + BOTTOM
    grid = [
        part
        for tick in (0.0, 0.5, 1.0, 1.5, 2.0)
        for part in (
            _line(_x(tick), TOP - 8, _x(tick), y, "one" if tick == 1.0 else "grid"),
            _text(_x(tick), TOP - 13, f"{tick:.1f}", "small", "middle"),
        )
    ]
    settings, environment = run["settings"], run["environment"]
    foot = (
        f"{environment['cpu']}, {environment['kernel']}, one core each; median and range of {settings['rounds']} "
        f"interleaved rounds; access logs {'on' if settings['log'] else 'off'}"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}"'
            f' viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="CPU per request, nginx = 1.0">',
            f"<style>{STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{height:.0f}" rx="6"/>',
            _text(16, 30, "CPU per request, nginx = 1.0: less is better (last row: memory)", "title"),
            *_legend({edge for row in rows for edge in row["edges"]}),
            *grid,
            *bars,
            _text(16, height - 14, foot, "small"),
            "</svg>",
        ]
    ) + "\n"
