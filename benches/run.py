#!/usr/bin/env python3
"""Measures Dhal against nginx, HAProxy and Varnish on this machine. METHOD.md tells how, and how to read it."""

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

from lib import changes, chart, goals, readme, report, servers, summary
from lib.measure import measure, raise_file_limit
from lib.works import WORKS, Work

HERE = Path(__file__).parent
TOOLS = ("nginx", "wrk", "h2load", "openssl", "taskset")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dhal", type=Path, default=target / "release" / "dhal", help="Dhal's binary")
    parser.add_argument("--quick", action="store_true", help="2 rounds, fewer connections: to see that everything works")
    parser.add_argument("--rounds", type=int, help="rounds a row (default 6)")
    parser.add_argument("--seconds", type=int, help="length of a round (default 1)")
    parser.add_argument("--rows", type=_names([work.key for work in WORKS]), help="only these rows, by comma")
    parser.add_argument("--edges", type=_names(list(servers.KINDS)), help="only these servers, by comma")
    parser.add_argument("--log", action="store_true", help="access logs on, for all servers")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--json", type=Path, help="result file, compared with what it held before")
    parser.add_argument("--svg", type=Path, help="bar chart")
    parser.add_argument("--markdown", type=Path, help="the table of goals")
    parser.add_argument("--readme", type=Path, help="a README that gets the table and the chart in their place")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (2 if arguments.quick else 6)
    arguments.seconds = arguments.seconds or 1
    if not arguments.rows and not arguments.edges:
        # Each variant keeps a file of its own, so that like is compared with like; a part of the rows keeps none.
        stem = "latest" + ("-quick" if arguments.quick else "") + ("-log" if arguments.log else "")
        arguments.json = arguments.json or HERE / "results" / f"{stem}.json"
        arguments.svg = arguments.svg or HERE / "results" / f"{stem}.svg"
    return arguments


def _names(known: list[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}; known are {', '.join(known)}")
        return names

    return parse


def usable_edges(arguments: argparse.Namespace) -> list[str]:
    """The servers that were asked for and are there; says loudly which are not."""
    usable = []
    for edge in arguments.edges or list(servers.KINDS):
        if program := servers.missing(edge, arguments.dhal):
            print(f"\n!!! {program} is missing: going on WITHOUT {report.TITLES[edge]} !!!\n", file=sys.stderr)
        else:
            usable.append(edge)
    return usable


def edges_of(work: Work, usable: list[str], log: bool) -> list[str]:
    """The servers of a row; with access logs on there is no limit, which writes none, and nothing left to add."""
    if log and "dhal-observed" in work.edges:
        return []
    return [edge for edge in work.edges if servers.kind_of(edge) in usable and not (log and edge == "limit")]


def run(arguments: argparse.Namespace, previous: summary.Figures | None) -> summary.Figures:
    """Measures all rows, printing each as it is done."""
    usable = usable_edges(arguments)
    rows = []
    with tempfile.TemporaryDirectory(prefix="dhal-bench-") as directory:
        site = servers.Site(
            directory=Path(directory),
            origin_port=servers.free_port(),
            server_core=arguments.server_core,
            load_core=arguments.load_core,
            log=arguments.log,
            dhal=arguments.dhal,
        )
        works = [work for work in WORKS if not arguments.rows or work.key in arguments.rows]
        site.prepare({work.body for work in works})
        with servers.origin(site) as origin:
            for work in works:
                edges = edges_of(work, usable, arguments.log)
                if not edges:
                    continue
                start = time.monotonic()
                row = summary.row(work, measure(site, origin, work, edges, arguments.rounds, arguments.seconds))
                print(report.row_details(row, previous), flush=True)
                print(f"{work.key}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
                rows.append(row)
    return {
        "date": summary.today(),
        "environment": summary.environment(arguments.dhal),
        "settings": {"rounds": arguments.rounds, "seconds": arguments.seconds, "log": arguments.log},
        "rows": rows,
    }


def _read(file: Path | None) -> summary.Figures | None:
    return json.loads(file.read_text()) if file and file.exists() else None


def main() -> int:
    """Exit 0 done, 1 an answer was missing or wrong, 2 a tool is missing."""
    arguments = parse_arguments()
    if absent := [tool for tool in TOOLS if not shutil.which(tool)]:
        print(f"needed and not found: {', '.join(absent)}; METHOD.md names the packages", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    raise_file_limit()
    os.sched_setaffinity(0, {arguments.load_core})

    previous = _read(arguments.json)
    figures = run(arguments, previous)
    results = HERE / "results"
    table = goals.overview(figures, _read(results / "store.json"), _read(results / "soak.json"))
    print(table)
    print("Since the run before:\n")
    print("\n".join(f"- {sentence}" for sentence in changes.sentences(figures, previous)))
    outputs = (
        (arguments.json, json.dumps(figures, indent=1, ensure_ascii=False) + "\n"),
        (arguments.svg, chart.svg(figures)),
        (arguments.markdown, table),
    )
    for file, text in outputs:
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    if arguments.readme:
        picture = f"{table}\n![The same as a chart](benches/results/latest.svg)\n"
        arguments.readme.write_text(readme.replaced(arguments.readme.read_text(), "bench", picture))
    return 1 if summary.has_trouble(figures["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main())
