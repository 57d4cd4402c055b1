"""What the run of changes does and when, and what is concluded from what was seen."""

from __future__ import annotations

import bisect
import statistics
from dataclasses import dataclass
from typing import Any

from lib.visitors import Sockets, Tally

# Every so many reloads one that brings a new pair of certificate and key.
ROTATED_BY_RELOAD_EVERY = 10


@dataclass(frozen=True)
class Plan:
    """How much of each."""

    seconds: float
    reloads: int
    broken: int
    upgrades: int
    rotations: int


FULL = Plan(seconds=120, reloads=100, broken=20, upgrades=5, rotations=10)
QUICK = Plan(seconds=20, reloads=20, broken=20, upgrades=2, rotations=2)


@dataclass(frozen=True, order=True)
class Action:
    """Something that is done `at` seconds after the start; `number` counts those of a kind from 0."""

    at: float
    kind: str
    number: int


def schedule(plan: Plan) -> list[Action]:
    """All actions in order, those of a kind evenly spread over the run."""
    kinds = {"reload": plan.reloads, "broken": plan.broken, "upgrade": plan.upgrades, "rotation": plan.rotations}
    return sorted(
        Action((number + 0.5) * plan.seconds / count, kind, number)
        for kind, count in kinds.items() for number in range(count)
    )


def is_rotated(reload: int) -> bool:
    """Whether this reload brings a new pair: the sixth of ten, not the first."""
    return reload % ROTATED_BY_RELOAD_EVERY == ROTATED_BY_RELOAD_EVERY // 2


@dataclass
class Done:
    """An action that is over. `wrong` is empty where all was as it should be."""

    kind: str
    number: int
    began: float
    seconds: float
    wrong: str = ""
    said: str = ""


def blame(moment: float, done: list[Done]) -> str:
    """The kind of the action that was done last before that moment: what closed a connection then."""
    in_order = sorted(done, key=lambda one: one.began)
    place = bisect.bisect_right([one.began for one in in_order], moment)
    return in_order[place - 1].kind if place else "nothing"


@dataclass
class Outcome:
    """All that was seen of one edge."""

    edge: str
    plan: Plan
    done: list[Done]
    tallies: dict[str, Tally]
    sockets: Sockets
    seconds: float
    # Processes of the edge that served before and were still there when all visitors had left.
    left_over: int = 0
    busy: float = 0.0

    def failed(self) -> int:
        """Requests that failed, of all kinds."""
        return sum(tally.failed() for tally in self.tallies.values())

    def requests(self) -> int:
        """All requests."""
        return sum(tally.requests for tally in self.tallies.values())

    def of(self, kind: str) -> list[Done]:
        """What was done of a kind."""
        return [one for one in self.done if one.kind == kind]

    def closed_by(self) -> dict[str, int]:
        """WebSockets that ended before the run, by what was done just before."""
        found = {"reload": 0, "upgrade": 0, "other": 0}
        for moment, _ in self.sockets.closed:
            kind = blame(moment, self.done)
            found[kind if kind in found else "other"] += 1
        return found


@dataclass(frozen=True)
class Figure:
    """A line of the table; `reached` is None where nothing is wanted."""

    what: str
    value: str
    wanted: str = ""
    reached: bool | None = None

    def text(self) -> str:
        """The cell, which says so if the goal is missed."""
        return f"{self.value} **MISSED**" if self.reached is False else self.value


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of them lies; 0 of none."""
    if not values:
        return 0.0
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _times(values: list[float]) -> str:
    if not values:
        return "–"
    return f"{_ms(statistics.median(values))}, {_ms(percentile(values, 0.99))}, {_ms(max(values))}"


def figures(outcome: Outcome) -> list[Figure]:
    """All lines of one edge, the same ones for each."""
    plan, sockets, closed = outcome.plan, outcome.sockets, outcome.closed_by()
    found = []

    def goal(what: str, value: str, wanted: str, reached: bool) -> None:
        found.append(Figure(what, value, wanted, reached))

    for name, tally in outcome.tallies.items():
        goal(f"failed requests: {name}", f"{tally.failed()} of {tally.requests:,}", "0",
             tally.failed() == 0 and tally.requests > 0)
    goal("failed requests, all", f"{outcome.failed()} of {outcome.requests():,}", "0",
         outcome.failed() == 0 and outcome.requests() > 0)
    wanted = "0"
    for kind, what in (("reload", "by reloads"), ("upgrade", "by upgrades"), ("other", "by other things")):
        goal(f"WebSockets closed {what}", f"{closed[kind]} of {sockets.opened}", wanted,
             closed[kind] == 0 and sockets.opened > 0)
    found.append(Figure("messages that came back", f"{sockets.echoes:,}"))
    for kind, count, what in (
        ("reload", plan.reloads, "reloads in force, seen by a request"),
        ("broken", plan.broken, "broken configurations refused with their place, nothing changed"),
        ("upgrade", plan.upgrades, "upgrades of the program"),
        ("rotation", plan.rotations, "certificates replaced on disk only, then served"),
    ):
        right = sum(not one.wrong for one in outcome.of(kind))
        goal(what, f"{right} of {count}", "all", right == count)
    rotated = [one for one in outcome.of("reload") if is_rotated(one.number)]
    right = sum("certificate" not in one.wrong for one in rotated)
    goal("certificates replaced and reloaded, then served", f"{right} of {len(rotated)}", "all", right == len(rotated))
    goal("processes left when all visitors had gone", str(outcome.left_over), "0", outcome.left_over == 0)
    for kind, what in (("reload", "a reload"), ("rotation", "a certificate on disk until served")):
        found.append(Figure(f"time of {what}: median, p99, most", _times([one.seconds for one in outcome.of(kind)])))
    upgrades = ", ".join(_ms(one.seconds) for one in outcome.of("upgrade"))
    found.append(Figure("time of each upgrade", upgrades or "–"))
    times = [one for tally in outcome.tallies.values() for one in tally.times]
    found.append(Figure("time of a request: median, p99, most", _times(times)))
    found.append(Figure("time of a message there and back: median, p99, most", _times(sockets.times)))
    again = sum(tally.asked_again for tally in outcome.tallies.values())
    found.append(Figure("streams asked again after GOAWAY", str(again)))
    return found


def missed(outcome: Outcome) -> list[Figure]:
    """Goals that were not reached."""
    return [one for one in figures(outcome) if one.reached is False]


def markdown(outcomes: list[Outcome], note: str) -> str:
    """The table for a document, an edge a column."""
    columns = [figures(outcome) for outcome in outcomes]
    names = [outcome.edge for outcome in outcomes]
    lines = [note, "", f"| | wanted | {' | '.join(names)} |", "|---|---|" + "---|" * len(names)]
    for row in zip(*columns, strict=True):
        lines.append(f"| {row[0].what} | {row[0].wanted} | {' | '.join(one.text() for one in row)} |")
    for outcome in outcomes:
        if told := trouble(outcome):
            lines += ["", f"What went otherwise with {outcome.edge}:", "", *(f"- {one}" for one in told)]
    return "\n".join(lines) + "\n"


def trouble(outcome: Outcome) -> list[str]:
    """What was not as it should be, the same once."""
    counted: dict[str, int] = {}
    for one in outcome.done:
        if one.wrong:
            name = f"{one.kind}: {one.wrong.partition(chr(10))[0]}"
            counted[name] = counted.get(name, 0) + 1
    for name, tally in outcome.tallies.items():
        for why, count in tally.reasons.items():
            counted[f"{name}: {why}"] = count
    for moment, why in outcome.sockets.closed:
        name = f"a WebSocket, after {blame(moment, outcome.done)}: {why}"
        counted[name] = counted.get(name, 0) + 1
    return [f"{count} × {name}" for name, count in counted.items()]


def as_data(outcome: Outcome) -> dict[str, Any]:
    """For the JSON file."""
    return {
        "edge": outcome.edge,
        "seconds": round(outcome.seconds, 1),
        "busy": round(outcome.busy, 2),
        "figures": [one.__dict__ for one in figures(outcome)],
        "trouble": trouble(outcome),
        "visitors": {
            name: {
                "requests": tally.requests, "failed": tally.failed(), "connections": tally.connections,
                "asked_again": tally.asked_again, "reasons": dict(tally.reasons), "failures": tally.failures,
                "p99_ms": round(percentile(tally.times, 0.99) * 1000, 1),
                "most_ms": round(max(tally.times, default=0.0) * 1000, 1),
            }
            for name, tally in outcome.tallies.items()
        },
        "sockets": {
            "opened": outcome.sockets.opened, "echoes": outcome.sockets.echoes, "closed": outcome.sockets.closed,
        },
        "upgrades": [one.__dict__ for one in outcome.of("upgrade")],
        "broken": [one.__dict__ for one in outcome.of("broken")],
    }
