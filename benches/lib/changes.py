"""What changed since the run before, beyond noise, in plain sentences."""

from lib import report
from lib.summary import Figures

# Memory has no rounds to tell its noise: below this share it is taken for noise.
MEMORY_NOISE = 0.05
MEMORY_NOISE_KIB = 0.5


def _of_ratio(now: Figures | None, then: Figures | None) -> str | None:
    if not now or not then or (now["min"] <= then["max"] and then["min"] <= now["max"]):
        return None
    word = "less" if now["median"] < then["median"] else "MORE"
    return f"{word}, {report.ratio(then)} before and {report.ratio(now)} now"


def _of_memory(row: Figures, now: float, then: float) -> str | None:
    if abs(now - then) <= max(MEMORY_NOISE * abs(then), MEMORY_NOISE_KIB):
        return None
    word = "less" if now < then else "MORE"
    return f"{word}, {report.amount(row, then)} before and {report.amount(row, now)} now"


def _of_row(row: Figures, old: Figures, edge: str) -> str | None:
    now, then = row["edges"].get(edge), old["edges"].get(edge)
    if not now or not then:
        return None
    if report.is_memory(row):
        return _of_memory(row, now["value"], then["value"])
    return _of_ratio(now["ratio"], then["ratio"])


def sentences(run: Figures, previous: Figures | None) -> list[str]:
    """A sentence for each change of Dhal's, those of others that make it doubtful, and one for the rest."""
    if not previous:
        return ["There is no run before to compare with."]
    said = []
    if previous["environment"]["cpu"] != run["environment"]["cpu"]:
        said.append(f"The run before was made on another processor, {previous['environment']['cpu']}.")
    same = 0
    for row in run["rows"]:
        old = report.previous_row(row, previous)
        if not old:
            continue
        changed = {edge: what for edge in row["edges"] if (what := _of_row(row, old, edge))}
        mine = {edge: what for edge, what in changed.items() if edge.startswith("dhal")}
        same += not mine
        said += [f"{row['title']}: {report.title(edge)} takes {what}." for edge, what in mine.items()]
        said += [
            f"{row['title']}: {report.title(edge)}, which is the same program, takes {what}: suspect the machine."
            for edge, what in changed.items() if edge not in mine
        ]
    return [*said, f"In {same} rows nothing of Dhal's changed beyond noise."]
