#!/usr/bin/env python3
"""Counts the instructions of a hit's steps and compares them with `results/micro.json`; then times them.

METHOD.md tells how to read it. Exit 0 done, 1 a count rose by more than it may, 2 a tool is missing.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from lib import micro, summary

HERE = Path(__file__).parent
ROOT = HERE.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
TOOLS = Path(os.environ.get("DHAL_TOOLS", CACHE / "dhal-tools"))


def cargo_bench(name: str, arguments: list[str]) -> str:
    """What a harness says."""
    environment = os.environ | {"PATH": f"{TOOLS / 'bin'}:{os.environ['PATH']}"}
    command = ["cargo", "bench", "--quiet", "--locked", "-p", "dhal-micro", "--bench", name, "--", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def environment() -> summary.Figures:
    """What counts depend on: the compiler, and what the processor can do."""
    rustc = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {"date": summary.today(), "rustc": rustc.split()[1], "cpu": found[1] if found else "unknown"}


def main() -> int:
    """Counts, compares, times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accept", action="store_true", help="take the counts over into the file")
    parser.add_argument("--no-time", action="store_true", help="count only")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "micro.json", help="the accepted counts")
    arguments = parser.parse_args()
    if not shutil.which("valgrind"):
        print("valgrind is missing: see tools/deps.sh", file=sys.stderr)
        return 2
    known = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    accepted = known.get("instructions", {})
    now = environment()
    for name in ("rustc", "cpu"):
        if known and known[name] != now[name]:
            print(f"The accepted counts are of another {name}: {known[name]}, now {now[name]}.\n")
    counts = micro.parse(cargo_bench("instructions", ["--output-format=json"]))
    print(micro.shown(counts, accepted))
    wrong = micro.warnings(counts, accepted)
    for warning in wrong:
        print(f"\n!!! {warning} !!!")
    if arguments.accept:
        arguments.json.write_text(json.dumps(micro.figures(counts, now), indent=1, ensure_ascii=False) + "\n")
        print(f"\nAccepted into {arguments.json}.")
    if not arguments.no_time:
        print()
        print(cargo_bench("time", ["--noplot", "--warm-up-time", "1", "--measurement-time", "3"]))
    return 1 if wrong and not arguments.accept else 0


if __name__ == "__main__":
    sys.exit(main())
