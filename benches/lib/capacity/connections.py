"""Memory and descriptors of a connection that waits: the edge's own, and the kernel's."""

import re
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from lib import cpu, servers, tls_client
from lib.crowd import IdleConnections
from lib.load import LoadFailed
from lib.servers import Origin, Site
from lib.works import Load, Work

POINTS = (500, 1500, 3000)
POINTS_QUICK = (100, 300, 500)
SETTLE_SECONDS = 0.3
KINDS = {
    "plain": ("plain HTTP/1.1", Load.IDLE_PLAIN),
    "tls": ("HTTP/1.1 over TLS", Load.IDLE_TLS),
    "h2": ("HTTP/2 over TLS", Load.IDLE_H2),
}


@dataclass
class Held:
    """What one connection holds after a request."""

    key: str
    title: str
    edge_kib: float
    kernel_kib: float
    descriptors: float

    def figures(self) -> dict[str, object]:
        """As they stand in the JSON."""
        return {
            "title": self.title,
            "edge_kib": round(self.edge_kib, 2),
            "kernel_kib": round(self.kernel_kib, 2),
            "descriptors": round(self.descriptors, 2),
        }


def slab_kib(meminfo: str) -> int:
    """What the kernel keeps in its tables of objects, sockets among them."""
    found = re.search(r"^Slab:\s+(\d+) kB$", meminfo, re.MULTILINE)
    if not found:
        raise ValueError("/proc/meminfo without Slab")
    return int(found[1])


def _descriptors(pids: list[int]) -> int:
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids)


def slope(points: list[tuple[int, float]]) -> float:
    """Of the straight line through the points, by least squares."""
    return statistics.linear_regression(*zip(*points)).slope


def measure(site: Site, origin: Origin, quick: bool) -> list[Held]:
    """Each on a server just started: memory freed by earlier work would hide what this takes."""
    del origin
    found = []
    for key, (title, load) in KINDS.items():
        work = Work(f"idle-{key}", "", load, "1k", ("dhal",))
        with servers.running("dhal", site, work) as server:
            port = server.place.plain_port if load.is_plain else server.place.tls_port
            idle = IdleConnections(load, port, site.certificate, work.path, work.body_bytes)
            memory, kernel, open_files = [], [], []
            try:
                for count in POINTS_QUICK if quick else POINTS:
                    idle.grow_to(count)
                    time.sleep(SETTLE_SECONDS)
                    memory.append((count, float(cpu.memory_kib(server.pids()))))
                    kernel.append((count, float(slab_kib(Path("/proc/meminfo").read_text()))))
                    open_files.append((count, float(_descriptors(server.pids()))))
                idle.ask_again()
            except (OSError, tls_client.WrongAnswer) as error:
                raise LoadFailed(f"idle {key} connections: {error}") from error
            finally:
                idle.close()
        # Both ends of a connection are on this machine.
        found.append(Held(key, title, slope(memory), slope(kernel) / 2, slope(open_files)))
    return found
