"""Rounds: every server of a row in turn, again and again, so that what disturbs one disturbs all."""

import os
import resource
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from lib import cpu, memory, servers, tls_client
from lib.crowd import IdleConnections
from lib.load import Loaded, LoadFailed, run_load
from lib.servers import Origin, Server, ServerFailed, Site
from lib.works import Load, Work

WARM_UP_SECONDS = 1
# After a load ends its connections are still being closed.
SETTLE_SECONDS = 0.1
# Of the rows that compare a server with itself, whose figures differ by less.
ROUNDS_OF_PAIRS = 5
# Idle connections beside the load, in the variant that has many and in the one it is compared with.
OPEN_MANY, OPEN_FEW = 10_000, 10
# Two for each of the most idle connections of a row, 15,000, and some more.
OPEN_FILES = 40_000
# A hit must not reach the origin; the few are the bench's own.
ORIGIN_REQUESTS_MAX = 8
# No line of an access log is half as short, so what a buffer still holds is allowed for.
LOG_LINE_BYTES_MIN = 40
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass
class Round:
    """One measurement of one server."""

    value: float
    requests: int = 0
    requests_per_second: float = 0.0
    latency_us: dict[str, float] = field(default_factory=dict)
    busy: float = 0.0
    foreign: float = 0.0
    stolen: float = 0.0
    trouble: list[str] = field(default_factory=list)
    # Of idle connections: their number, and KiB of the server with them.
    points: list[tuple[int, int]] = field(default_factory=list)
    # MiB still held after all was over.
    left: float | None = None


@dataclass
class Measured:
    """All rounds of one row by server, and why a server has none."""

    rounds: dict[str, list[Round]]
    tls: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def fail(self, edge: str, error: Exception) -> None:
        """Takes a server out of the row: half its rounds would compare unlike with unlike."""
        print(error, file=sys.stderr)
        self.rounds.pop(edge, None)
        self.failed[edge] = str(error).splitlines()[0]


def _wrong_answers(work: Work, loaded: Loaded, forwarded: int) -> list[str]:
    wrong = []
    if loaded.failed:
        wrong.append(f"{loaded.failed} failed requests")
    if loaded.body_bytes_each < 0.98 * work.body_bytes:
        wrong.append(f"{loaded.body_bytes_each:.0f} bytes an answer")
    if work.cached and forwarded > ORIGIN_REQUESTS_MAX:
        wrong.append(f"{forwarded} of {loaded.requests} requests reached the origin")
    if not work.cached and forwarded < loaded.requests:
        wrong.append(f"only {forwarded} of {loaded.requests} requests reached the origin")
    return wrong


def _loaded(server: Server, origin: Origin, work: Work, seconds: int) -> Round:
    site = server.place.site
    pids = server.pids()
    asked, log_before = origin.requests(), server.logged_bytes()
    times, ticks, start = cpu.thread_times(pids), cpu.core_ticks(site.server_core), time.monotonic()
    loaded = run_load(work, server.place, seconds)
    time.sleep(SETTLE_SECONDS)
    wall = time.monotonic() - start
    spent = cpu.Spent.between(times, cpu.thread_times(pids))
    busy_ticks, stolen_ticks = (after - before for after, before in zip(cpu.core_ticks(site.server_core), ticks))
    forwarded, log_after = origin.requests() - asked, server.logged_bytes()
    if loaded.requests == 0:
        raise LoadFailed(f"{server.name} answered no request")

    busy = spent.nanoseconds / 1e9 / wall
    trouble = _wrong_answers(work, loaded, forwarded)
    if log_before is not None and log_after is not None:
        logged = log_after - log_before
        if logged < LOG_LINE_BYTES_MIN * loaded.requests:
            trouble.append(f"{logged} bytes of access log for {loaded.requests} requests")
    if spent.threads_lost:
        trouble.append(f"{spent.threads_lost} threads ended and took their CPU time along")
    return Round(
        value=spent.nanoseconds / loaded.requests / 1e3,
        requests=loaded.requests,
        requests_per_second=loaded.requests / loaded.seconds,
        latency_us=loaded.latency_us,
        busy=busy,
        foreign=max(0.0, busy_ticks / _TICKS_PER_SECOND / wall - busy),
        stolen=stolen_ticks / _TICKS_PER_SECOND / wall,
        trouble=trouble,
    )


def _open_beside(work: Work, server: Server) -> IdleConnections:
    """Connections that stay open, idle, while others are measured."""
    idle = IdleConnections(Load.IDLE_PLAIN, server.place.plain_port, server.place.site.certificate, work.path,
                           work.body_bytes)
    try:
        idle.grow_to(OPEN_MANY if server.place.variant == "open" else OPEN_FEW)
    except (OSError, tls_client.WrongAnswer) as error:
        idle.close()
        raise LoadFailed(f"idle connections of {server.name}: {error}") from error
    return idle


def _still_open(idle: IdleConnections) -> str | None:
    try:
        idle.ask_again()
    except (OSError, tls_client.WrongAnswer) as error:
        return f"idle connections did not stay open: {error}"
    return None


def _measure_load(site: Site, origin: Origin, work: Work, edges: list[str], rounds: int, seconds: int) -> Measured:
    measured = Measured({})
    with ExitStack() as stack:
        started: list[Server] = []
        beside: dict[str, IdleConnections] = {}
        for edge in edges:
            try:
                server = stack.enter_context(servers.running(edge, site, work))
                if work.key == "flat-open":
                    beside[edge] = _open_beside(work, server)
                    stack.callback(beside[edge].close)
                _loaded(server, origin, work, WARM_UP_SECONDS)
                if not work.load.is_plain:
                    measured.tls[edge] = server.tls()
                measured.rounds[edge] = []
                started.append(server)
            except (LoadFailed, ServerFailed) as error:
                measured.fail(edge, error)
        wrong = {server.name: server.check(work, expect_hit=work.cached) for server in started}
        for _ in range(rounds):
            for server in [server for server in started if server.name in measured.rounds]:
                try:
                    measured.rounds[server.name].append(_loaded(server, origin, work, seconds))
                except LoadFailed as error:
                    measured.fail(server.name, error)
        for server in [server for server in started if server.name in measured.rounds]:
            wrong_now = server.check(work, expect_hit=work.cached)
            closed = _still_open(beside[server.name]) if server.name in beside else None
            trouble = [what for what in (wrong[server.name], wrong_now, closed) if what]
            measured.rounds[server.name][-1].trouble += trouble
    return measured


def _measure_memory(site: Site, origin: Origin, work: Work, edges: list[str], quick: bool) -> Measured:
    measured = Measured({})
    # No time is measured: the client may have the server's core as well.
    os.sched_setaffinity(0, {site.server_core, site.load_core})
    for edge in edges:
        try:
            held = memory.measure(site, origin, work, edge, quick)
            measured.rounds[edge] = [
                Round(value=held.value, trouble=held.trouble, points=held.points, left=held.left)
            ]
        except (LoadFailed, ServerFailed) as error:
            measured.fail(edge, error)
    os.sched_setaffinity(0, {site.load_core})
    return measured


def measure(site: Site, origin: Origin, work: Work, edges: list[str], rounds: int, seconds: int) -> Measured:
    """One row. Memory is read once: it is not noisy."""
    if work.load.is_memory:
        return _measure_memory(site, origin, work, edges, quick=rounds <= 2)
    return _measure_load(site, origin, work, edges, min(rounds, ROUNDS_OF_PAIRS) if work.is_pairs else rounds, seconds)


def raise_file_limit() -> None:
    """As many open files as the idle connections take, here and in a server that keeps a second for each of them. Root may
    have more than it was granted."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = hard == resource.RLIM_INFINITY or hard >= OPEN_FILES
    for limit in [hard] if enough else [OPEN_FILES, hard]:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            break
        except (ValueError, OSError):
            print(f"{limit} open files are not granted: rows with many idle connections may fail", file=sys.stderr)
