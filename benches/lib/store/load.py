"""The load generator for many URLs (`peers/urls.c`), and rounds of it in turn on several servers."""

import json
import os
import statistics
import subprocess
import time
from dataclasses import dataclass, field

from lib import cpu
from lib.load import LoadFailed
from lib.servers import Origin
from lib.store.edges import BODY_BYTES, Edge
from lib.summary import FOREIGN_SHARE_MAX, Figures, ratio

CONNECTIONS = 32
# Into an empty store as fast as it goes.
FILL_DEPTH = 4
# What the bench itself asks the origin while a round runs.
ORIGIN_REQUESTS_MAX = 2
_SETTLE_SECONDS = 0.1
_OVERTIME_SECONDS = 600
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Answers:
    """What one run of the generator saw; times in microseconds."""

    requests: int
    seconds: float
    not_200: int
    lost: int
    hits: int
    body_bytes: int
    p50: float
    p99: float
    max: float

    def trouble(self, bytes_each: int) -> list[str]:
        """What is wrong with the answers, whoever gave them."""
        wrong = []
        if self.not_200 or self.lost:
            wrong.append(f"{self.not_200} answers were no 200 and {self.lost} did not come")
        if self.body_bytes != self.requests * bytes_each:
            wrong.append(f"{self.body_bytes} bytes in {self.requests} answers of {bytes_each}")
        return wrong


@dataclass(frozen=True)
class Pages:
    """The URLs a load is spread over: `/BODY/` and a number of seven digits; a count of 0 is one URL without."""

    body: str
    count: int
    first: int = 0

    @property
    def prefix(self) -> str:
        return f"/{self.body}/"

    def target(self, number: int) -> str:
        """The target of one of them."""
        return f"{self.prefix}{self.first + number:07}"


def parse_answers(text: str) -> Answers:
    """The generator's report."""
    try:
        return Answers(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise LoadFailed(f"not a report of the load generator: {text[:200]!r}") from error


def run(
    edge: Edge,
    pages: Pages,
    *,
    order: str = "random",
    requests: int = 0,
    seconds: float = 0,
    connections: int = CONNECTIONS,
    depth: int = 1,
) -> Answers:
    """Asks for pages, in order or at random."""
    words = [pages.prefix, pages.first, pages.count, order, connections, depth, requests, round(1000 * seconds)]
    command = ["taskset", "-c", str(edge.bench.load_core), str(edge.bench.urls), str(edge.port), *map(str, words)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + _OVERTIME_SECONDS)
    except subprocess.TimeoutExpired as late:
        raise LoadFailed("the load generator did not end") from late
    if done.returncode != 0:
        raise LoadFailed(f"{edge.name}: the load generator failed: {done.stderr[:500]}")
    return parse_answers(done.stdout)


def fill(edge: Edge, pages: Pages, depth: int = FILL_DEPTH) -> Answers:
    """Asks for each page once."""
    answers = run(edge, pages, order="seq", requests=pages.count, depth=depth)
    if trouble := answers.trouble(BODY_BYTES[pages.body]):
        raise LoadFailed(f"{edge.name} while it is filled: {trouble[0]}")
    return answers


@dataclass
class Round:
    """One measurement of one server."""

    cpu_us: float
    requests: int
    requests_per_second: float
    p50_us: float
    p99_us: float
    busy: float
    foreign: float
    trouble: list[str] = field(default_factory=list)


@dataclass
class Contender:
    """A server in the rounds, the pages it is asked for, and what they must be."""

    edge: Edge
    pages: Pages
    # Misses take new pages in each round, in order, so that none comes twice.
    hits: bool = True
    rounds: list[Round] = field(default_factory=list)

    def measure(self, origin: Origin, seconds: float) -> None:
        """One round."""
        core = self.edge.bench.server_core
        asked, ticks = origin.requests(), cpu.core_ticks(core)
        used, start = self.edge.cpu_seconds(), time.monotonic()
        answers = run(self.edge, self.pages, order="random" if self.hits else "seq", seconds=seconds)
        time.sleep(_SETTLE_SECONDS)
        used, wall = self.edge.cpu_seconds() - used, time.monotonic() - start
        busy_ticks, stolen = (after - before for after, before in zip(cpu.core_ticks(core), ticks))
        forwarded = origin.requests() - asked
        if not answers.requests:
            raise LoadFailed(f"{self.edge.name} answered no request")
        trouble = answers.trouble(BODY_BYTES[self.pages.body])
        if self.hits and forwarded > ORIGIN_REQUESTS_MAX:
            trouble.append(f"{forwarded} of {answers.requests} requests reached the origin")
        if not self.hits and forwarded < answers.requests:
            trouble.append(f"only {forwarded} of {answers.requests} requests reached the origin")
        if not self.hits:
            self.pages = Pages(self.pages.body, self.pages.count, self.pages.first + answers.requests)
        self.rounds.append(Round(
            cpu_us=used / answers.requests * 1e6,
            requests=answers.requests,
            requests_per_second=answers.requests / answers.seconds,
            p50_us=answers.p50,
            p99_us=answers.p99,
            busy=used / wall,
            foreign=max(0.0, (busy_ticks + stolen) / _TICKS_PER_SECOND / wall - used / wall),
            trouble=trouble,
        ))


def in_turn(origin: Origin, contenders: list[Contender], rounds: int, seconds: float) -> None:
    """Every server in turn, again and again, so that what disturbs one disturbs all; the first time is to warm up."""
    for number in range(rounds + 1):
        for contender in contenders:
            contender.measure(origin, seconds)
            if number == 0:
                contender.rounds.clear()


def figures(contender: Contender, baseline: Contender | None) -> Figures:
    """The figures of a server, and their ratio to those of another, round against round."""
    rounds = contender.rounds
    base = baseline.rounds if baseline else []

    def median(values: list[float]) -> float:
        return statistics.median(values)

    return {
        "cpu_us": round(median([one.cpu_us for one in rounds]), 2),
        "cpu_us_rounds": [round(one.cpu_us, 2) for one in rounds],
        "ratio": ratio([one.cpu_us for one in rounds], [one.cpu_us for one in base]),
        "requests": sum(one.requests for one in rounds),
        "requests_per_second": round(median([one.requests_per_second for one in rounds])),
        "p50_us": round(median([one.p50_us for one in rounds])),
        "p99_us": round(median([one.p99_us for one in rounds])),
        "busy": round(median([one.busy for one in rounds]), 2),
        "disturbed_rounds": sum(one.foreign > FOREIGN_SHARE_MAX for one in rounds),
        "trouble": sorted({what for one in rounds for what in one.trouble}),
    }
