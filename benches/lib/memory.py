"""What connections cost in memory: idle ones, slow readers, and streams whose client takes nothing."""

import statistics
import time
from dataclasses import dataclass, field

from lib import cpu, h2_client, servers, tls_client
from lib.crowd import IdleConnections, SlowReaders
from lib.load import LoadFailed
from lib.servers import Origin, Server, Site
from lib.works import KIB, Load, Work

# How many connections memory is read at. The slope through the points is the figure: what the first few make a
# server set up is not theirs, and one that takes memory in steps shows it.
IDLE_POINTS = (1000, 5000, 10_000, 15_000)
# For others, and over HTTP/2, which has no goal: a run must stay within its time.
IDLE_POINTS_FEWER = (1000, 2500, 4000)
IDLE_POINTS_QUICK = (100, 400, 700, 1000)
SLOW_POINTS = (10, 60)
SLOW_SECONDS = 3
# What a server took to store the content it gives back by and by: with the first of them its memory is the same for so
# many seconds, to so many KiB, or never mind.
SLOW_REST_SECONDS, SLOW_REST_KIB, SLOW_REST_MAX = 8, 256, 40
STALLED_CONNECTIONS = 20
STALLED_STREAMS = 100
# For the heads of all answers. nginx sends none before it may send content; what it holds is measured all the same.
STALLED_SECONDS = 3.0
# After the last of them.
STALLED_HOLD_SECONDS = 1.0
# Memory is given back within this time, or it counts as kept. A server at work is asked something now and then.
GIVE_BACK_SECONDS = 5.0
GIVE_BACK_EVERY_SECONDS = 0.5
SETTLE_SECONDS = 0.2
# What a bench asks the origin itself.
ORIGIN_REQUESTS_MAX = 8


@dataclass
class Held:
    """What one server held."""

    # In the work's unit.
    value: float
    # Connections, and KiB of the server with them.
    points: list[tuple[int, int]] = field(default_factory=list)
    # MiB still held after all connections were closed.
    left: float | None = None
    trouble: list[str] = field(default_factory=list)


def slope(points: list[tuple[int, int]]) -> float:
    """KiB per connection: the straight line through the points, by least squares."""
    return statistics.linear_regression(*zip(*points)).slope


def _idle(server: Server, work: Work, quick: bool) -> Held:
    place = server.place
    port = place.plain_port if work.load.is_plain else place.tls_port
    idle = IdleConnections(work.load, port, place.site.certificate, work.path, work.body_bytes)
    is_long = server.name == "dhal" and work.load is not Load.IDLE_H2
    counts = IDLE_POINTS_QUICK if quick else IDLE_POINTS if is_long else IDLE_POINTS_FEWER
    points = []
    try:
        for count in counts:
            idle.grow_to(count)
            time.sleep(SETTLE_SECONDS)
            points.append((count, cpu.memory_kib(server.pids())))
        idle.ask_again()
    finally:
        idle.close()
    return Held(slope(points), points)


def _slow(server: Server, work: Work) -> Held:
    readers = SlowReaders(server.place.plain_port, work.path)
    points = []
    try:
        for count in SLOW_POINTS:
            readers.grow_to(count)
            held = _rested(server, readers) if not points else _read_on(server, readers, SLOW_SECONDS)
            points.append((count, held))
        return Held(slope(points))
    finally:
        readers.close()


def _read_on(server: Server, readers: SlowReaders, seconds: int) -> int:
    readers.read_for(seconds)
    return cpu.memory_kib(server.pids())


def _rested(server: Server, readers: SlowReaders) -> int:
    """KiB when they have stopped changing."""
    seen = [_read_on(server, readers, 1) for _ in range(SLOW_REST_SECONDS)]
    for _ in range(SLOW_REST_MAX - SLOW_REST_SECONDS):
        last = seen[-SLOW_REST_SECONDS:]
        if max(last) - min(last) < SLOW_REST_KIB:
            break
        seen.append(_read_on(server, readers, 1))
    return seen[-1]


def _stalled(server: Server, work: Work) -> Held:
    context = h2_client.client_context(server.place.site.certificate)
    before = cpu.memory_kib(server.pids())
    connections: list[h2_client.Connection] = []
    try:
        for _ in range(STALLED_CONNECTIONS):
            connections.append(h2_client.Connection(context, server.place.tls_port, window=0))
            connections[-1].stall(STALLED_STREAMS, work.path)
        deadline = time.monotonic() + STALLED_SECONDS
        answered = sum(connection.heads(STALLED_STREAMS, deadline) for connection in connections)
        time.sleep(STALLED_HOLD_SECONDS)
        held = cpu.memory_kib(server.pids()) - before
    finally:
        for connection in connections:
            connection.close()
    wanted = STALLED_CONNECTIONS * STALLED_STREAMS
    trouble = []
    if answered != wanted and server.name == "dhal":
        trouble.append(f"only {answered} of {wanted} requests were answered")
    return Held(held / KIB, left=_left(server, work, before, held), trouble=trouble)


def _left(server: Server, work: Work, before: int, held: int) -> float:
    deadline = time.monotonic() + GIVE_BACK_SECONDS
    while True:
        time.sleep(GIVE_BACK_EVERY_SECONDS)
        server.check(work, expect_hit=False)
        left = cpu.memory_kib(server.pids()) - before
        if left < held / 10 or time.monotonic() > deadline:
            return max(0, left) / KIB


def hold(server: Server, origin: Origin, work: Work, quick: bool) -> Held:
    """Puts the work on a server and reads what it holds."""
    if wrong := server.check(work, expect_hit=work.cached):
        raise LoadFailed(f"{server.name}: {wrong}")
    asked = origin.requests()
    try:
        match work.load:
            case Load.SLOW_READERS:
                held = _slow(server, work)
            case Load.STALLED_STREAMS:
                held = _stalled(server, work)
            case _:
                held = _idle(server, work, quick)
    except (OSError, tls_client.WrongAnswer) as error:
        raise LoadFailed(f"{work.load.value} of {server.name}: {error}") from error
    if work.cached and (forwarded := origin.requests() - asked) > ORIGIN_REQUESTS_MAX:
        held.trouble.append(f"{forwarded} requests reached the origin")
    return held


def measure(site: Site, origin: Origin, work: Work, edge: str, quick: bool) -> Held:
    """On a server just started: memory freed by earlier work would hide what this takes."""
    with servers.running(edge, site, work) as server:
        return hold(server, origin, work, quick)

