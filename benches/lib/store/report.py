"""The store's rows as Markdown: one table for the README, and what went wrong below it."""

from lib.report import table
from lib.store.collapse import CASES
from lib.summary import Figures

Line = list[str]


def count(number: int) -> str:
    """`1,000`"""
    return f"{number:,}"


def _ratio(figures: Figures | None) -> str:
    return f"{figures['median']:.2f} ({figures['min']:.2f}–{figures['max']:.2f})" if figures else "–"


def _bold(text: str, trouble: list[str]) -> str:
    return f"{text} !" if trouble else f"**{text}**"


def _cell(edges: Figures, name: str) -> str:
    figures = edges.get(name)
    if not figures:
        return ""
    text = _ratio(figures["ratio"])
    if figures["trouble"]:
        return f"{text} !"
    return f"**{text}**" if name.startswith("dhal") else text


def _hit(row: Figures) -> list[Line]:
    edges = {kind: figures["many"] for kind, figures in row["edges"].items()}
    work = f"hit of 1 KiB among {count(row['many'])} to one among {count(row['few'])}, CPU"
    dhal = _bold(_ratio(edges["dhal"]["ratio"]), edges["dhal"]["trouble"] + row["trouble"])
    return [[work, dhal, _cell(edges, "nginx"), _cell(edges, "haproxy"), f"≤ {row['goal']:.2f}"]]


def _memory(row: Figures) -> list[Line]:
    return [
        [f"memory per response of 1 KiB beyond its bytes, {count(int(stored))} stored", _bold(f"{beyond} B", []), "", "",
         f"≤ {row['goal']} B"]
        for stored, beyond in row["beyond_bytes"].items()
    ]


def _disk_hit(row: Figures) -> list[Line]:
    edges = row["edges"]
    dhal = _bold(_ratio(edges["dhal disk"]["ratio"]), edges["dhal disk"]["trouble"] + row["trouble"])
    return [["hit of 100 KiB from disk to Dhal's from memory, CPU", dhal, _cell(edges, "nginx"), "", ""]]


def _milliseconds(figures: Figures) -> str:
    return f"{figures['median_ms']:.2f} ms (max {figures['max_ms']:.2f})"


def _purge(row: Figures) -> list[Line]:
    return [
        [f"purge by tag, {count(figures['stored'])} stored{', durable' if row['durable'] else ''}",
         _bold(_milliseconds(figures), figures["trouble"]), "", "", f"≤ {row['goal']} ms"]
        for figures in row["steps"]
    ]


def _miss(row: Figures) -> list[Line]:
    size = row["body"].replace("k", " KiB")
    lines = [[f"miss of {size}, stored, to nginx's, CPU", _cell(row["edges"], "dhal memory"),
              _cell(row["edges"], "nginx"), "", ""]]
    left = f"; {row['left_share']:.0%} left unwritten" if row["left_share"] else ""
    lines.append([f"the same with Dhal's disk tier{left}", _cell(row["edges"], "dhal disk"),
                  _cell(row["edges"], "nginx"), "", ""])
    return lines


def _restart(row: Figures) -> list[Line]:
    def seconds(name: str) -> str:
        return _bold(f"{row[name]:.2f} s", row["trouble"])

    stored, goal = count(row["stored"]), f"≤ {row['goal']:g} s"
    return [
        [f"killed with {stored} on disk: first answer", seconds("first_answer_seconds"), "", "", goal],
        [f"… until {count(row['sample'])} of them at random are hits", seconds("all_hits_seconds"), "", "", goal],
        ["… until all are in the books", seconds("scan_seconds"), "", "", ""],
    ]


def _collapse(row: Figures) -> list[Line]:
    def cell(kind: str, case: str) -> str:
        figures = row["edges"].get(kind, {}).get(case)
        if not figures:
            return ""
        text = f"{figures['to_origin']}; {figures['median_ms']:.0f} / {figures['worst_ms']:.0f} ms"
        return _bold(text, figures["trouble"]) if kind == "dhal" else text

    return [
        [f"{count(row['visitors'])} at once, page {case.title}: reach the shop; median / worst",
         cell("dhal", case.key), cell("nginx", case.key), "", ""]
        for case in CASES
    ]


_ROWS = {
    "hit": _hit, "memory": _memory, "disk-hit": _disk_hit, "purge": _purge, "miss-1k": _miss, "miss-12k": _miss,
    "restart": _restart, "collapse": _collapse,
}


def troubles(row: Figures) -> list[str]:
    """Everything that went wrong in a row, however deep it stands."""
    found: list[str] = []

    def look(what: object, where: str) -> None:
        if isinstance(what, dict):
            found.extend(f"{where}: {why}" for why in what.get("trouble", []))
            for name, inner in what.items():
                look(inner, f"{where}, {name}" if isinstance(inner, dict) else where)
        elif isinstance(what, list):
            for inner in what:
                look(inner, where)

    look(row, row["row"])
    return list(dict.fromkeys(found))


def disturbed(row: Figures) -> tuple[int, int]:
    """Rounds in which the core did something else for more than a tenth of the time, and all of them."""
    some = total = 0
    waiting: list[object] = [row]
    while waiting:
        what = waiting.pop()
        if isinstance(what, dict):
            if "disturbed_rounds" in what:
                some += what["disturbed_rounds"]
                total += len(what["cpu_us_rounds"])
            waiting.extend(what.values())
    return some, total


def overview(run: Figures) -> str:
    """The README's table."""
    environment, settings = run["environment"], run["settings"]
    versions = environment["versions"]
    header = ["work"] + [
        " ".join(filter(None, [title, versions.get(kind)]))
        for kind, title in (("dhal", "Dhal"), ("nginx", "nginx"), ("haproxy", "HAProxy"))
    ] + ["goal"]
    lines = [line for row in run["rows"] for line in _ROWS[row["row"]](row)]
    parts = [table(header, lines)]
    method = (
        f"One server thread on one core of {environment['cpu']}, {environment['kernel']}; CPU of all server threads "
        f"per request as the median (smallest–largest) of {settings['rounds']} interleaved rounds of "
        f"{settings['seconds']:g} s, restarts as medians of three."
    )
    some, total = (sum(numbers) for numbers in zip(*(disturbed(row) for row in run["rows"]), strict=True))
    if some:
        method += f" In {some} of {total} rounds the core did something else for more than a tenth of the time."
    parts.append(method)
    if wrong := [why for row in run["rows"] for why in troubles(row)]:
        parts.append("\n".join(f"- **{why}**" for why in wrong))
    return "\n\n".join(parts) + "\n"
