"""Tables of a run, as Markdown."""

from lib.summary import Figures
from lib.works import GOAL_TO_LIMIT

TITLES = {
    "nginx": "nginx",
    "dhal": "Dhal",
    "haproxy": "HAProxy",
    "varnish": "Varnish",
    "limit": "limit¹",
    "dhal-observed": "Dhal, observed",
}
LIMIT_NOTE = "¹ a bare epoll loop in C that ignores the request."


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table whose first column is text and the others figures."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in [header, *rows]]
    rule = ["-" * width if column == 0 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    lines.insert(1, "| " + " | ".join(rule) + " |")
    return "\n".join(lines)


def _ratio(figures: Figures | None) -> str:
    return f"{figures['median']:.2f} ({figures['min']:.2f}–{figures['max']:.2f})" if figures else "–"


def _latency(latency: Figures) -> str:
    return ", ".join(f"{name} {us / 1e3:.2f}" for name, us in latency.items()) or "–"


def _change(row: Figures, edge: str, previous: Figures | None) -> str:
    now = row["edges"][edge]["ratio"]
    for old in previous["rows"] if previous else []:
        if old["work"] == row["work"] and (then := old["edges"].get(edge, {}).get("ratio")) and now:
            return f"{now['median'] - then['median']:+.2f}"
    return "–"


def goal(row: Figures) -> str:
    """The goal of a row in words."""
    if row["goal_value"]:
        return f"≤ {row['goal_value']:g} KiB"
    return f"≤ {row['goal_ratio']:.2f}" if row["goal_ratio"] else "–"


def row_details(row: Figures, previous: Figures | None) -> str:
    """Everything about one row: a line for each server, and what went wrong."""
    header = ["server", f"ratio to {TITLES[row['baseline']]}", "change", row["unit"], "requests/s", "latency, ms", "busy"]
    lines = [
        [
            TITLES[edge],
            _ratio(figures["ratio"]),
            _change(row, edge, previous),
            f"{figures['value']:.1f}",
            f"{figures['requests_per_second']:,}" if figures["requests_per_second"] else "–",
            _latency(figures["latency_us"]),
            f"{figures['busy']:.0%}" if figures["busy"] else "–",
        ]
        for edge, figures in row["edges"].items()
    ]
    notes = [f"**{TITLES[edge]} failed:** {why}" for edge, why in row["failed"].items()]
    for edge, figures in row["edges"].items():
        if trouble := figures["trouble"]:
            more = f" (and {len(trouble) - 1} more)" if len(trouble) > 1 else ""
            notes.append(f"**{TITLES[edge]}: {trouble[0]}{more}**")
    if dhal := row["edges"].get("dhal"):
        if dhal["ratio_to_limit"]:
            notes.append(f"Dhal to the bare epoll loop: {_ratio(dhal['ratio_to_limit'])}, goal ≤ {GOAL_TO_LIMIT:.2f}")
    if ciphers := sorted(set(row["tls"].values())):
        notes.append(" and **not the same cipher:** ".join(ciphers))
    if disturbed := sum(figures["disturbed_rounds"] for figures in row["edges"].values()):
        rounds = sum(len(figures["rounds"]) for figures in row["edges"].values())
        notes.append(f"in {disturbed} of {rounds} rounds the core did something else for more than a tenth of the time")
    parts = [f"### {row['title']} (goal {goal(row)})", table(header, lines)]
    return "\n\n".join(parts + (["\n".join(f"- {note}" for note in notes)] if notes else [])) + "\n"


def _cell(row: Figures, edge: str) -> str:
    figures = row["edges"].get(edge)
    if not figures:
        return ""
    if row["goal_value"]:
        return f"{figures['value']:.1f} KiB"
    shown = f"{figures['ratio']['median']:.2f}" if figures["ratio"] else "–"
    if figures["trouble"]:
        return f"{shown} !"
    return f"**{shown}**" if edge == "dhal" else shown


def overview(run: Figures) -> str:
    """The table for the README: a row for each work, CPU per request with nginx = 1.00."""
    edges = ["dhal", "limit", "nginx", "haproxy", "varnish"]
    versions = run["environment"]["versions"]
    header = ["work"] + [" ".join(filter(None, [TITLES[edge], versions.get(edge)])) for edge in edges]
    header += ["nginx, CPU µs", "goal"]
    lines = [
        [row["title"]]
        + [_cell(row, edge) for edge in edges]
        + [f"{row['edges']['nginx']['value']:.1f}" if "nginx" in row["edges"] and not row["goal_value"] else ""]
        + [goal(row)]
        for row in run["rows"]
        if row["baseline"] == "nginx"
    ]
    added = [
        f"{row['title'].capitalize()} on a hit ({TITLES[row['baseline']]} without = 1.00):"
        f" {_cell(row, 'dhal-observed') or 'not measured'}, goal {goal(row)}."
        for row in run["rows"]
        if row["baseline"] != "nginx"
    ]
    settings = run["settings"]
    method = (
        f"CPU per request of all server threads, nginx = 1.00, on one core of {run['environment']['cpu']}, "
        f"{run['environment']['kernel']}; medians of {settings['rounds']} interleaved rounds of "
        f"{settings['seconds']} s, access logs {'on' if settings['log'] else 'off'}."
    )
    return "\n\n".join([table(header, lines), LIMIT_NOTE, method, *added]) + "\n"
