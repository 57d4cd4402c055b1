"""The disk tier: a hit from it beside one from memory, and a restart after the process was killed."""

import calendar
import re
import statistics
import time
from contextlib import ExitStack

from lib.servers import Origin, ServerFailed
from lib.store.edges import Admin, Bench, Edge, Shape, have, running
from lib.store.load import Contender, Pages, figures, fill, in_turn, run
from lib.summary import Figures

LARGE = Pages("100k", 100)
SAMPLE = 1000
GOAL_USABLE_SECONDS = 2.0
RESTARTS = 3
# Fewer than may wait for the disk, so that none is left out.
_FILL_STEP = 3000
_LATE_SECONDS = 60


def hits(bench: Bench, origin: Origin) -> Figures:
    """100 KiB from disk, from memory, and from nginx's cache; the files lie in the page cache."""
    shapes = {
        "dhal memory": Shape(),
        "dhal disk": Shape(max_object_kib=64, disk_mib=1024, files=bench.directory / "large-dhal"),
        "nginx": Shape(files=bench.directory / "large-nginx"),
    }
    with ExitStack() as stack:
        contenders = {}
        for name, shape in shapes.items():
            if have(name.split()[0], bench):
                edge = stack.enter_context(running(bench, name, shape))
                fill(edge, LARGE)
                contenders[name] = Contender(edge, LARGE)
        admin = contenders["dhal disk"].edge.admin()
        before = admin.metrics()["dhal_cache_disk_hits_total"]
        in_turn(origin, list(contenders.values()), bench.rounds, bench.seconds)
        from_disk = admin.metrics()["dhal_cache_disk_hits_total"] - before
        admin.close()
    baseline = contenders["dhal memory"]
    edges = {name: figures(contender, baseline) for name, contender in contenders.items()}
    trouble = []
    if from_disk < edges["dhal disk"]["requests"]:
        trouble.append(f"only {from_disk:.0f} answers came from the disk")
    return {"row": "disk-hit", "edges": edges, "trouble": trouble}


def _fill_to_disk(edge: Edge, pages: Pages) -> None:
    admin = edge.admin()
    for first in range(0, pages.count, _FILL_STEP):
        fill(edge, Pages(pages.body, min(_FILL_STEP, pages.count - first), first))
        _await_idle(admin)
    on_disk = admin.metrics()['dhal_cache_stored_responses{tier="disk"}']
    admin.close()
    if on_disk != pages.count:
        raise ServerFailed(f"{on_disk:.0f} of {pages.count} responses are on disk")


def _await_idle(admin: Admin) -> None:
    deadline = time.monotonic() + _LATE_SECONDS
    while admin.metrics()["dhal_cache_jobs_waiting"]:
        if time.monotonic() > deadline:
            raise ServerFailed("responses wait to be written to disk and are not")
        time.sleep(0.002)


def scan_line(output: str) -> tuple[float, int] | None:
    """When the process said that it has read its disk tier, in seconds since 1970, and how many objects it found."""
    found = re.search(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)Z.*disk tier read.*objects=(\d+)", output, re.MULTILINE)
    if not found:
        return None
    second = calendar.timegm(time.strptime(found[1], "%Y-%m-%dT%H:%M:%S"))
    return second + float(found[2]), int(found[3])


def _await_scan(edge: Edge) -> tuple[float, int]:
    deadline = time.monotonic() + _LATE_SECONDS
    while not (line := scan_line(edge.output())):
        if time.monotonic() > deadline:
            raise ServerFailed(f"the disk tier was not read\n{edge.output()[-2000:]}")
        time.sleep(0.05)
    return line


def _restart(bench: Bench, shape: Shape, pages: Pages) -> Figures:
    with running(bench, "dhal restart", shape) as edge:
        # A miss is stored and a hit the next time, so each sample is another one.
        misses: list[int] = []
        while not misses or misses[-1]:
            misses.append(SAMPLE - run(edge, pages, requests=SAMPLE).hits)
            if time.monotonic() > edge.started + _LATE_SECONDS:
                break
        usable = time.monotonic() - edge.started
        scanned, objects = _await_scan(edge)
        edge.process.kill()
        edge.process.wait()
    return {
        "first_answer_seconds": round(edge.first_answer, 3),
        "all_hits_seconds": round(usable, 3),
        "misses": misses,
        "scan_seconds": round(scanned - edge.started_at, 3),
        "objects": objects,
    }


def restart(bench: Bench, count: int) -> Figures:
    """Killed with so many responses on disk, and started again."""
    pages = Pages("1k", count)
    # Twice what they take: nothing may be evicted.
    room_mib = max(256, 2 * count * 4 // 1024)
    shape = Shape(memory_mib=1024, disk_mib=room_mib, files=bench.directory / "restart-files")
    with running(bench, "dhal filled", shape) as edge:
        _fill_to_disk(edge, pages)
        edge.process.kill()
        edge.process.wait()
    runs = [_restart(bench, shape, pages) for _ in range(RESTARTS)]
    trouble = [f"{run['objects']} of {count} objects were found" for run in runs if run["objects"] != count]
    trouble += [f"{run['misses'][0]} of the first {SAMPLE} pages were no hits" for run in runs if run["misses"][0]]
    names = ("first_answer_seconds", "all_hits_seconds", "scan_seconds")
    return {
        "row": "restart",
        "stored": count,
        "sample": SAMPLE,
        "goal": GOAL_USABLE_SECONDS,
        **{name: round(statistics.median(run[name] for run in runs), 3) for name in names},
        "runs": runs,
        "trouble": sorted(set(trouble)),
    }
