"""Tables of a run, as Markdown: each row with all it knows. The table of goals is in `goals.py`."""

from lib.summary import Figures
from lib.works import GOAL_TO_LIMIT

KINDS = {"nginx": "nginx", "dhal": "Dhal", "haproxy": "HAProxy", "varnish": "Varnish", "limit": "bare loop¹"}
VARIANTS = {
    "observed": "limits, metrics and log",
    "routes": "1,000 routes",
    "open": "10,000 idle beside",
    "one": "one thread",
    "two": "two threads",
}


def title(edge: str) -> str:
    """A server's name for people."""
    kind, _, variant = edge.partition("-")
    return f"{KINDS[kind]}, {VARIANTS[variant]}" if variant else KINDS[kind]


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table whose first column is text and the others figures."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in [header, *rows]]
    rule = ["-" * width if column == 0 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    lines.insert(1, "| " + " | ".join(rule) + " |")
    return "\n".join(lines)


def ratio(figures: Figures | None) -> str:
    """`0.45 (0.43–0.47)`"""
    return f"{figures['median']:.2f} ({figures['min']:.2f}–{figures['max']:.2f})" if figures else "–"


def _latency(latency: Figures) -> str:
    return " / ".join(f"{us / 1e3:.2f}" for us in latency.values()) or "–"


def previous_row(row: Figures, previous: Figures | None) -> Figures | None:
    """The same row of the run before."""
    return next((old for old in (previous or {}).get("rows", []) if old["work"] == row["work"]), None)


def _change(row: Figures, edge: str, previous: Figures | None) -> str:
    old = (previous_row(row, previous) or {}).get("edges", {}).get(edge)
    now = row["edges"][edge]
    if old and is_memory(row):
        return f"{now['value'] - old['value']:+.1f}"
    if old and now["ratio"] and old["ratio"]:
        return f"{now['ratio']['median'] - old['ratio']['median']:+.2f}"
    return "–"


def is_memory(row: Figures) -> bool:
    """Whether a row's figure is memory, which is shown as it is and not in proportion to nginx's."""
    return not row["unit"].startswith("CPU")


def amount(row: Figures, value: float) -> str:
    """A value with its unit."""
    return f"{value:.1f} {row['unit'].split()[0]}"


def goal(row: Figures) -> str:
    """The goal of a row in words."""
    if row["goal_value"]:
        return f"≤ {row['goal_value']:g} {row['unit'].split()[0]}"
    return f"≤ {row['goal_ratio']:.2f}" if row["goal_ratio"] else "–"


def _load_table(row: Figures, previous: Figures | None) -> str:
    base = "its pair" if row["bases"] else "nginx"
    header = ["server", f"ratio to {base}", "change", row["unit"], "requests/s", "p50 / p99 / p99.9, ms", "busy"]
    lines = [
        [
            title(edge),
            ratio(figures["ratio"]),
            _change(row, edge, previous),
            f"{figures['value']:.1f}",
            f"{figures['requests_per_second']:,}",
            _latency(figures["latency_us"]),
            f"{figures['busy']:.0%}",
        ]
        for edge, figures in row["edges"].items()
    ]
    return table(header, lines)


def _memory_table(row: Figures, previous: Figures | None) -> str:
    header = ["server", row["unit"], "change"]
    lines = [
        [title(edge), f"{figures['value']:.1f}", _change(row, edge, previous)]
        for edge, figures in row["edges"].items()
    ]
    if any(figures["points"] for figures in row["edges"].values()):
        header.append("MiB at so many connections")
        for line, figures in zip(lines, row["edges"].values()):
            line.append(", ".join(f"{count:,}: {kib / 1024:.0f}" for count, kib in figures["points"]))
    if any(figures["left"] is not None for figures in row["edges"].values()):
        header.append("MiB left after closing")
        for line, figures in zip(lines, row["edges"].values()):
            line.append(f"{figures['left']:.1f}")
    return table(header, lines)


def row_details(row: Figures, previous: Figures | None) -> str:
    """Everything about one row: a line for each server, and what went wrong."""
    notes = [f"**{title(edge)} failed:** {why}" for edge, why in row["failed"].items()]
    for edge, figures in row["edges"].items():
        if trouble := figures["trouble"]:
            more = f" (and {len(trouble) - 1} more)" if len(trouble) > 1 else ""
            notes.append(f"**{title(edge)}: {trouble[0]}{more}**")
    if dhal := row["edges"].get("dhal"):
        if dhal["ratio_to_limit"]:
            notes.append(f"Dhal to the bare epoll loop: {ratio(dhal['ratio_to_limit'])}, goal ≤ {GOAL_TO_LIMIT:.2f}")
    if ciphers := sorted(set(row["tls"].values())):
        notes.append(" and **not the same cipher:** ".join(ciphers))
    if disturbed := sum(figures["disturbed_rounds"] for figures in row["edges"].values()):
        rounds = sum(len(figures["rounds"]) for figures in row["edges"].values())
        notes.append(f"in {disturbed} of {rounds} rounds the core did something else for more than a tenth of the time")
    shown = _memory_table(row, previous) if is_memory(row) else _load_table(row, previous)
    parts = [f"### {row['title']} (goal {goal(row)})", shown]
    return "\n\n".join(parts + (["\n".join(f"- {note}" for note in notes)] if notes else [])) + "\n"
