#!/usr/bin/env python3
"""Measures Dhal's store: what hits, misses, memory, purges, restarts and collapsed requests cost, and how that grows
with what is stored. METHOD.md tells how, and how to read it."""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lib import readme, summary
from lib.load import LoadFailed
from lib.measure import raise_file_limit
from lib.servers import Origin, ServerFailed, free_port
from lib.store import collapse, disk, edges, hits, misses, report

HERE = Path(__file__).parent
TOOLS = ("nginx", "cc", "taskset")
ROWS = ("hit", "purge-disk", "disk-hit", "miss-1k", "miss-12k", "restart", "collapse")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dhal", type=Path, default=target / "release" / "dhal", help="Dhal's binary")
    parser.add_argument("--quick", action="store_true", help="ten thousand stored, 2 rounds of 0.5 s: to see it work")
    parser.add_argument("--rows", type=_names, help=f"only these, by comma: {', '.join(ROWS)}")
    parser.add_argument("--stored", type=int, help="responses in the large store (default 1,000,000)")
    parser.add_argument("--restart-stored", type=int, help="responses on disk before the restart (default 100,000)")
    parser.add_argument("--peers", default="nginx,haproxy", help="measured beside Dhal for hits; empty for none")
    parser.add_argument("--rounds", type=int, help="rounds a row (default 5)")
    parser.add_argument("--seconds", type=float, help="length of a round (default 2)")
    parser.add_argument("--fast", type=Path, default=Path("/dev/shm"), help="a tmpfs for the files of nginx and misses")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--json", type=Path, help="result file (default results/store.json, unless part is measured)")
    parser.add_argument("--markdown", type=Path, help="the README's table")
    parser.add_argument("--readme", type=Path, help="a README that gets the table in its place")
    arguments = parser.parse_args()
    quick = arguments.quick
    arguments.rounds = arguments.rounds or (2 if quick else 5)
    arguments.seconds = arguments.seconds or (0.5 if quick else 2.0)
    if not (quick or arguments.rows or arguments.stored):
        arguments.json = arguments.json or HERE / "results" / "store.json"
    arguments.stored = arguments.stored or (10_000 if quick else 1_000_000)
    arguments.restart_stored = arguments.restart_stored or (6_000 if quick else 100_000)
    arguments.rows = arguments.rows or list(ROWS)
    if arguments.stored <= hits.FEW:
        parser.error(f"--stored must be more than {hits.FEW}")
    return arguments


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in ROWS]:
        raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}; known are {', '.join(ROWS)}")
    return names


def measure(bench: edges.Bench, origin: Origin, arguments: argparse.Namespace) -> tuple[list[summary.Figures], bool]:
    """All rows, in the order of the table, and whether one failed as a whole."""
    peers = [kind for kind in arguments.peers.split(",") if kind]
    work: dict[str, Callable[[], list[summary.Figures]]] = {
        "hit": lambda: hits.measure(bench, origin, arguments.stored, peers),
        "purge-disk": lambda: [hits.durable_purges(bench, arguments.stored)],
        "disk-hit": lambda: [disk.hits(bench, origin)],
        "miss-1k": lambda: [misses.measure(bench, origin, "1k")],
        "miss-12k": lambda: [misses.measure(bench, origin, "12k")],
        "restart": lambda: [disk.restart(bench, arguments.restart_stored)],
        "collapse": lambda: [collapse.measure(bench)],
    }
    rows: list[summary.Figures] = []
    failed = False
    for name in arguments.rows:
        start = time.monotonic()
        try:
            rows += work[name]()
        except (LoadFailed, ServerFailed) as error:
            print(f"\n!!! {name} failed: {error} !!!\n", file=sys.stderr)
            failed = True
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return rows, failed


def main() -> int:
    """Exit 0 done, 1 an answer was missing or wrong, 2 a tool is missing."""
    arguments = parse_arguments()
    if absent := [tool for tool in (*TOOLS, str(arguments.dhal)) if not shutil.which(tool)]:
        print(f"needed and not found: {', '.join(absent)}; METHOD.md names the packages", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    raise_file_limit()
    os.sched_setaffinity(0, {arguments.load_core})

    with (
        tempfile.TemporaryDirectory(prefix="dhal-store-") as directory,
        tempfile.TemporaryDirectory(prefix="dhal-store-", dir=arguments.fast) as fast,
    ):
        bench = edges.Bench(
            directory=Path(directory),
            fast=Path(fast),
            dhal=arguments.dhal.resolve(),
            server_core=arguments.server_core,
            load_core=arguments.load_core,
            rounds=arguments.rounds,
            seconds=arguments.seconds,
            origin_port=free_port(),
        )
        bench.prepare()
        with edges.origin(bench) as origin:
            rows, failed = measure(bench, origin, arguments)
    figures = {
        "date": summary.today(),
        "environment": summary.environment(arguments.dhal),
        "settings": {"rounds": arguments.rounds, "seconds": arguments.seconds, "stored": arguments.stored},
        "rows": rows,
    }
    overview = report.overview(figures)
    print(overview)
    for file, text in ((arguments.json, json.dumps(figures, indent=1, ensure_ascii=False) + "\n"),
                       (arguments.markdown, overview)):
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    if arguments.readme:
        arguments.readme.write_text(readme.replaced(arguments.readme.read_text(), "bench-store", overview))
    return 1 if failed or any(report.troubles(row) for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
