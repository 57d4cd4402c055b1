"""What a server used: CPU time and memory of all its processes and threads, as the kernel accounts them."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


def parse_schedstat(text: str) -> int:
    """Nanoseconds on a CPU: the first of schedstat's three fields."""
    return int(text.split()[0])


def parse_pss_kib(smaps_rollup: str) -> int:
    """Proportional set size in KiB: private memory, and a fair share of what is mapped by several processes."""
    found = re.search(r"^Pss:\s+(\d+) kB$", smaps_rollup, re.MULTILINE)
    if not found:
        raise ValueError("smaps_rollup without a Pss line")
    return int(found[1])


def parse_core_ticks(stat: str, core: int) -> tuple[int, int]:
    """Ticks a core was busy, and ticks the hypervisor gave to others, from /proc/stat."""
    found = re.search(rf"^cpu{core} (.+)$", stat, re.MULTILINE)
    if not found:
        raise ValueError(f"/proc/stat without core {core}")
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, found[1].split()[:8])
    return user + nice + system + irq + softirq, steal


def process_tree(pids: list[int]) -> list[int]:
    """The processes and all their descendants."""
    tree: list[int] = []
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        tree.append(pid)
        for children in PROC.glob(f"{pid}/task/*/children"):
            waiting += [int(child) for child in children.read_text().split()]
    return tree


def thread_times(pids: list[int]) -> dict[int, int]:
    """Nanoseconds of CPU of every live thread of the processes, by thread id."""
    return {
        int(file.parent.name): parse_schedstat(file.read_text())
        for pid in pids
        for file in PROC.glob(f"{pid}/task/*/schedstat")
    }


def memory_kib(pids: list[int]) -> int:
    """Memory of the processes together."""
    return sum(parse_pss_kib((PROC / str(pid) / "smaps_rollup").read_text()) for pid in pids)


@dataclass(frozen=True)
class Spent:
    """CPU time spent between two readings."""

    nanoseconds: int
    threads_lost: int

    @classmethod
    def between(cls, before: dict[int, int], after: dict[int, int]) -> "Spent":
        """A thread that ended takes its time with it, so the number of those is told."""
        used = sum(time - before.get(thread, 0) for thread, time in after.items())
        return cls(used, len(before.keys() - after.keys()))


def core_ticks(core: int) -> tuple[int, int]:
    """Busy and stolen ticks of a core until now."""
    return parse_core_ticks((PROC / "stat").read_text(), core)


def process_seconds(pid: int) -> float:
    """CPU time of a process: what schedstat says of its threads, and of those that have ended."""
    # The clock of another process, as clock_getcpuclockid makes it: its id inverted, and "scheduled time".
    return time.clock_gettime((~pid << 3) | 2)


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", (PROC / str(pid) / "status").read_text(), re.MULTILINE)
    if not found:
        raise ValueError("a process without VmRSS")
    return int(found[1]) * 1024


def available_bytes() -> int:
    """Memory that the machine could give without swapping."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", (PROC / "meminfo").read_text(), re.MULTILINE)
    if not found:
        raise ValueError("/proc/meminfo without MemAvailable")
    return int(found[1]) * 1024
