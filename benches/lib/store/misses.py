"""What a miss costs that is stored: every request asks for a page that nobody has asked for."""

from contextlib import ExitStack

from lib.servers import Origin
from lib.store.edges import Bench, Shape, have, running
from lib.store.load import Contender, Pages, figures, in_turn
from lib.summary import Figures

# More than a run can ask for.
NUMBERS = 9_999_999
SHAPES = {
    "nginx": Shape(),
    "dhal memory": Shape(),
    "dhal disk": Shape(disk_mib=512),
}


def measure(bench: Bench, origin: Origin, body: str) -> Figures:
    """A row: nginx with its files in a tmpfs, Dhal with its memory, and Dhal with files in the same tmpfs as well."""
    with ExitStack() as stack:
        contenders = {
            name: Contender(stack.enter_context(running(bench, name, shape)), Pages(body, NUMBERS), hits=False)
            for name, shape in SHAPES.items()
            if have(name.split()[0], bench)
        }
        in_turn(origin, list(contenders.values()), bench.rounds, bench.seconds)
        admin = contenders["dhal disk"].edge.admin()
        metrics = admin.metrics()
        admin.close()
        asked = contenders["dhal disk"].pages.first
    baseline = contenders.get("nginx")
    return {
        "row": f"miss-{body}",
        "body": body,
        "edges": {name: figures(contender, baseline) for name, contender in contenders.items()},
        # What the disk's thread could not keep up with lives in memory only.
        "left_share": round(metrics["dhal_cache_jobs_left"] / asked, 3),
        "disk_errors": metrics["dhal_cache_disk_errors"],
        "trouble": [],
    }
