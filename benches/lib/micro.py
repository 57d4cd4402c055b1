"""Instruction counts: what gungraun says, beside what it said when they were last accepted."""

import json

from lib.report import table
from lib.summary import Figures

# Of each step within one count; `micro/benches/instructions.rs` has the same.
RUNS = 1000
# A rise beyond this is said loudly: seeds of hash maps and the like stay well below it.
RISE_MAX = 0.03

Counts = dict[str, float]


def parse(output: str) -> Counts:
    """Instructions of one run of each step, from gungraun's JSON: an object a line."""
    counts = {}
    for line in output.splitlines():
        if not line.startswith("{"):
            continue
        one = json.loads(line)
        [callgrind] = [profile for profile in one["profiles"] if profile["tool"] == "Callgrind"]
        total = callgrind["data"]["total"]["metrics"]["Ir"]["values"]["new"]
        counts[f"{one['function_name']}, {one['id'].replace('_', ' ')}"] = total / RUNS
    return counts


def change(now: float, then: float | None) -> float | None:
    """0.1 for a tenth more; None if there was nothing before."""
    return now / then - 1 if then else None


def shown(counts: Counts, accepted: Counts) -> str:
    """All steps as a table."""
    rows = []
    for step, now in counts.items():
        then = accepted.get(step)
        more = change(now, then)
        rows.append([step, f"{now:,.0f}", f"{then:,.0f}" if then else "–", "–" if more is None else f"{more:+.1%}"])
    return table(["step of a hit", "instructions", "accepted", "change"], rows)


def warnings(counts: Counts, accepted: Counts) -> list[str]:
    """What rose too far, and what is measured no more."""
    said = [
        f"{step} takes {more:.1%} more instructions than were accepted"
        for step, now in counts.items() if (more := change(now, accepted.get(step))) is not None and more > RISE_MAX
    ]
    return said + [f"{step} is not measured any more" for step in accepted if step not in counts]


def figures(counts: Counts, environment: Figures) -> Figures:
    """As it stands in the file."""
    return {**environment, "instructions": {step: round(count, 1) for step, count in counts.items()}}
