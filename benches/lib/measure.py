"""Rounds: every server of a row in turn, again and again, so that what disturbs one disturbs all."""

import os
import resource
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from lib import cpu, servers, tls_client
from lib.load import Loaded, LoadFailed, run_load
from lib.servers import Origin, Server, ServerFailed, Site
from lib.works import Load, Work

WARM_UP_SECONDS = 1
# After a load ends its connections are still being closed.
SETTLE_SECONDS = 0.1
IDLE_CONNECTIONS = 2000
# Memory is the slope between a tenth of the connections and all: what the first few make a server set up is not theirs.
IDLE_FIRST = IDLE_CONNECTIONS // 10
ASK_AGAIN_EVERY = 50
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
    loaded = run_load(work, server.place.plain_port, server.place.tls_port, site.certificate, seconds)
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


def _idle(server: Server, work: Work) -> Round:
    place = server.place
    context = tls_client.client_context(place.site.certificate)
    idle = tls_client.IdleConnections(context, place.tls_port, work.path, work.body_bytes)
    try:
        idle.grow_to(IDLE_FIRST)
        time.sleep(SETTLE_SECONDS)
        before = cpu.memory_kib(server.pids())
        idle.grow_to(IDLE_CONNECTIONS)
        time.sleep(SETTLE_SECONDS)
        after = cpu.memory_kib(server.pids())
        idle.ask_again(ASK_AGAIN_EVERY)
    except (OSError, tls_client.WrongAnswer) as error:
        raise LoadFailed(f"idle connections of {server.name}: {error}") from error
    finally:
        idle.close()
    return Round(value=(after - before) / (IDLE_CONNECTIONS - IDLE_FIRST), requests=IDLE_CONNECTIONS)


def _measure_load(site: Site, origin: Origin, work: Work, edges: list[str], rounds: int, seconds: int) -> Measured:
    measured = Measured({})
    with ExitStack() as stack:
        started: list[Server] = []
        for edge in edges:
            try:
                server = stack.enter_context(servers.running(edge, site, work))
                _loaded(server, origin, work, WARM_UP_SECONDS)
                if work.load is not Load.H1:
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
            measured.rounds[server.name][-1].trouble += [what for what in (wrong[server.name], wrong_now) if what]
    return measured


def _measure_idle(site: Site, work: Work, edges: list[str], rounds: int) -> Measured:
    """Each on a server just started: memory freed by earlier work would hide what a connection takes."""
    measured = Measured({edge: [] for edge in edges})
    for _ in range(rounds):
        for edge in list(measured.rounds):
            try:
                with servers.running(edge, site, work) as server:
                    measured.rounds[edge].append(_idle(server, work))
            except (LoadFailed, ServerFailed) as error:
                measured.fail(edge, error)
    return measured


def measure(site: Site, origin: Origin, work: Work, edges: list[str], rounds: int, seconds: int) -> Measured:
    """One row."""
    if work.load is Load.IDLE:
        # Memory is not noisy: half the rounds will do.
        return _measure_idle(site, work, edges, (rounds + 1) // 2)
    return _measure_load(site, origin, work, edges, rounds, seconds)


def raise_file_limit() -> None:
    """The idle connections are all ours: take as many open files as the system grants."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
