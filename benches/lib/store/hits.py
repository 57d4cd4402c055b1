"""One fill, three rows: what a hit costs among few and among many, what a stored response takes in memory, and how long
a purge takes while the store grows."""

import random
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from lib import cpu
from lib.servers import Origin, ServerFailed
from lib.store.edges import HOST, Bench, Edge, Shape, have, running
from lib.store.load import Contender, Pages, figures, fill, in_turn, run
from lib.summary import Figures

FEW = 1000
GOAL_HIT_RATIO = 1.10
GOAL_BEYOND_BYTES = 512
GOAL_PURGE_MS = 10
PURGES = 20
MEMORY_MIB = 4096
# Room for what is on its way to the disk; what the tier holds does not change a purge.
DISK_MIB = 256
# A page in the kernel's books and a small file in a tmpfs.
NGINX_FILE_BYTES = 6144
# Blocks of a KiB: head and content need two.
HAPROXY_ROOM_BYTES = 2560
SPARE_MIB = 64
_CATCH_UP_SECONDS = 30
# Fields that an answer gets anew; all others are stored.
_NOT_STORED = ("age", "cache-status", "x-request-id")


def sizes(many: int) -> list[int]:
    """1,000, 10,000 and so on up to the largest."""
    return [size for size in (10**power for power in range(3, 9)) if size < many] + [many]


def key_bytes(authority: str, path: str) -> int:
    """A cache key: scheme, authority and path behind eight bytes of length each, and a byte that says "no query"."""
    return sum(8 + len(part) for part in ("http", authority, path)) + 1


def head_bytes(fields: dict[str, str]) -> int:
    """A stored head: the status line and the fields that every answer repeats."""
    kept = (len(f"{name}: {value}\r\n") for name, value in fields.items() if name not in _NOT_STORED)
    return len("HTTP/1.1 200 OK\r\n") + sum(kept)


@dataclass(frozen=True)
class Memory:
    """Resident memory when so many responses are stored."""

    stored: int
    rss: int


def memory_row(empty: int, readings: list[Memory], own: dict[str, int], weighed: float) -> Figures:
    """What a stored response takes beyond its bytes; the last reading is the figure."""
    sum_own = sum(own.values())
    by_count = {
        str(reading.stored): round((reading.rss - empty) / reading.stored - sum_own) for reading in readings
    }
    return {
        "row": "memory",
        "stored": readings[-1].stored,
        "own_bytes": own,
        "rss_bytes_each": round((readings[-1].rss - empty) / readings[-1].stored),
        # What Dhal itself counts against `cache.memory`.
        "weighed_bytes_each": round(weighed),
        "beyond_bytes": by_count,
        "goal": GOAL_BEYOND_BYTES,
    }


def await_stored(edge: Edge, count: int) -> dict[str, float]:
    """Waits until the store's books say that all are there and no job waits; returns the metrics."""
    deadline = time.monotonic() + _CATCH_UP_SECONDS
    with_admin = edge.admin()
    try:
        while True:
            metrics = with_admin.metrics()
            stored = metrics['dhal_cache_stored_responses{tier="memory"}']
            if stored == count and not metrics["dhal_cache_jobs_waiting"]:
                return metrics
            if time.monotonic() > deadline:
                raise ServerFailed(f"{stored:.0f} of {count} responses are stored")
            time.sleep(0.1)
    finally:
        with_admin.close()


def settled_rss(edge: Edge) -> int:
    """Resident memory once the allocator has given back what it will."""
    rss = cpu.rss_bytes(edge.process.pid)
    for _ in range(10):
        time.sleep(0.5)
        before, rss = rss, cpu.rss_bytes(edge.process.pid)
        if abs(rss - before) < before // 1000:
            break
    return rss


def grown(edge: Edge, pages: Pages) -> Iterator[int]:
    """Fills the store step by step; yields how many are stored."""
    stored = 0
    for size in sizes(pages.count):
        fill(edge, Pages(pages.body, size - stored, pages.first + stored))
        stored = size
        await_stored(edge, stored)
        yield stored


def purges(edge: Edge, pages: Pages, stored: int) -> Figures:
    """Purges by a tag that one page has: that page is no hit any more, its neighbour still is."""
    times, trouble = [], set()
    admin = edge.admin()
    for number in random.sample(range(stored - 1), PURGES):
        page, neighbour = pages.target(number), pages.target(number + 1)
        # What an earlier purge took is stored again: the look afterwards has fetched it.
        if not (edge.is_hit(page) and edge.is_hit(neighbour)):
            trouble.add("a stored page was no hit before the purge")
        times.append(1000 * admin.purge_tag(f"page-{number + pages.first:07}"))
        if edge.is_hit(page):
            trouble.add("a purged page was still a hit")
        if not edge.is_hit(neighbour):
            trouble.add("a page without the tag was purged")
    admin.close()
    return {
        "stored": stored,
        "median_ms": round(statistics.median(times), 3),
        "max_ms": round(max(times), 3),
        "trouble": sorted(trouble),
    }


def _every_page_is_a_hit(edge: Edge, pages: Pages) -> list[str]:
    answers = run(edge, pages, order="seq", requests=pages.count)
    missing = pages.count - answers.hits
    return [f"{missing} of {pages.count} stored pages were no hits"] if missing else []


def _filled(stack: ExitStack, bench: Bench, kind: str, pages: Pages) -> Edge:
    # HAProxy touches all of its memory at its start, so it gets no more than it needs.
    each = {"nginx": NGINX_FILE_BYTES, "haproxy": HAPROXY_ROOM_BYTES}.get(kind)
    shape = Shape(memory_mib=SPARE_MIB + each * pages.count // 2**20 if each else MEMORY_MIB)
    edge = stack.enter_context(running(bench, f"{kind} {pages.count}", shape))
    fill(edge, pages)
    return edge


def _dhal_grown(stack: ExitStack, bench: Bench, pages: Pages) -> tuple[Edge, Figures, list[Figures], list[str]]:
    edge = stack.enter_context(running(bench, "dhal many", Shape(memory_mib=MEMORY_MIB)))
    # Connections, buffers and code that a store of any size has are not the responses'.
    fill(edge, Pages("pass", FEW))
    empty = settled_rss(edge)
    readings, purged = [], []
    for stored in grown(edge, pages):
        if stored >= min(100_000, pages.count):
            readings.append(Memory(stored, settled_rss(edge)))
        purged.append(purges(edge, pages, stored))
    metrics = await_stored(edge, pages.count)
    target = pages.target(0)
    _status, fields, content = edge.get(target)
    own = {"key": key_bytes(HOST, target), "head": head_bytes(fields), "content": len(content)}
    weighed = metrics['dhal_cache_stored_bytes{tier="memory"}'] / pages.count
    memory = memory_row(empty, readings, own, weighed)
    memory["trouble"] = []
    return edge, memory, purged, _every_page_is_a_hit(edge, pages)


def _nginx_has_room(bench: Bench, many: int) -> bool:
    needed, free = many * NGINX_FILE_BYTES, cpu.available_bytes()
    if free > 2 * needed:
        return True
    print(f"\n!!! {many:,} files of nginx in {bench.fast} need {needed >> 30} GiB: going on WITHOUT it !!!\n",
          file=sys.stderr)
    return False


def measure(bench: Bench, origin: Origin, many: int, peers: list[str]) -> list[Figures]:
    """The rows `hit`, `memory` and `purge` without a disk."""
    few_pages, pages = Pages("1k", FEW), Pages("1k", many)
    edges: dict[str, tuple[Contender, Contender]] = {}
    with ExitStack() as stack:
        big, memory, purged, trouble = _dhal_grown(stack, bench, pages)
        pairs = {"dhal": big}
        for kind in peers:
            if have(kind, bench) and (kind != "nginx" or _nginx_has_room(bench, many)):
                pairs[kind] = _filled(stack, bench, kind, pages)
        for kind, big in pairs.items():
            small = _filled(stack, bench, kind, few_pages)
            edges[kind] = Contender(small, few_pages), Contender(big, pages)
        in_turn(origin, [one for pair in edges.values() for one in pair], bench.rounds, bench.seconds)
    hit: Figures = {"row": "hit", "few": FEW, "many": many, "goal": GOAL_HIT_RATIO, "trouble": trouble, "edges": {}}
    for kind, (small, big) in edges.items():
        hit["edges"][kind] = {"few": figures(small, None), "many": figures(big, small)}
    return [hit, memory, _purge_row(purged, durable=False)]


def durable_purges(bench: Bench, many: int) -> Figures:
    """The same purges where each must be durable before it is answered."""
    pages = Pages("1k", many)
    shape = Shape(memory_mib=MEMORY_MIB, disk_mib=DISK_MIB, files=bench.directory / "purge-files")
    with running(bench, "dhal durable", shape) as edge:
        return _purge_row([purges(edge, pages, stored) for stored in grown(edge, pages)], durable=True)


def _purge_row(steps: list[Figures], *, durable: bool) -> Figures:
    return {"row": "purge", "durable": durable, "goal": GOAL_PURGE_MS, "steps": steps}
