#!/usr/bin/env python3
"""The sale day, played against Dhal, nginx, and a shop that stands alone.

calibrate: what the shop can do, straight and behind a store. opening: five times the visitors of that. slowloris: ten
thousand slow connections beside visitors. one-bad-client and reload-storm: what their names say. Needs nginx and the
release binaries `dhal`, `dhakacart-origin` and `dhal-load`: `python3 benches/sale.py --bin target/release`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from lib import sale, sale_config, summary
from lib.generator import SCENARIOS, Load
from lib.peers import BareStack, DhalStack, NginxStack, memory_bytes
from lib.sale import Best, Report, Table
from lib.stack import Failed, Stack

# The shop makes so many dynamic answers a second, on any machine: workers by the time that each takes for one.
WORKERS, DELAY_MS = 8, 100
CAPACITY = WORKERS * 1000 // DELAY_MS
SHOP_WORDS = ("--workers", str(WORKERS), "--delay", str(DELAY_MS))
# Of each product, so that nobody finds a shelf empty.
STOCK = 10_000_000
# Dynamic answers that a visitor of the opening takes, without a store and behind one: where the steps begin.
ANSWERS_EACH = {"straight": 8.6, "stored": 3.0}
STEPS = (0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2)
STEPS_QUICK = (0.7, 0.85, 0.95, 1.05)
TIMES = 5
# A rate that was right for a step may be too much for a minute: so many lower ones are tried.
CONFIRMATIONS = 4
LOWER = 0.95
STORM_SCALE = 0.5
PARTS = ("opening", "slowloris", "one-bad-client", "reload-storm")


@dataclass(frozen=True)
class Lengths:
    """Seconds."""

    step: int
    confirm: int
    plateau: int
    drain: int
    slow: int
    other: int


# All runs of a day, with what starts and warms the stacks: about 20 minutes.
FULL = Lengths(step=10, confirm=50, plateau=80, drain=20, slow=40, other=30)
QUICK = Lengths(step=7, confirm=20, plateau=35, drain=10, slow=40, other=30)

CALM, RISE = 10, 15


class Day:
    """All runs of a day."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.lengths = QUICK if options.quick else FULL
        self.without = frozenset(filter(None, options.without.split(",")))
        self.edges = options.edges.split(",")
        self.table = Table()
        self.runs: dict[str, Report] = {}
        self.best: Best | None = None

    @contextmanager
    def stack(self, edge: str, bare_dhal: bool = False) -> Iterator[Stack]:
        """A shop and an edge, both new. `bare_dhal` is a store and nothing besides."""
        without = frozenset(sale_config.PARTS) if bare_dhal else self.without
        with tempfile.TemporaryDirectory() as name:
            folder, binaries = Path(name), self.options.bin.resolve()
            kind: type[Stack]
            if edge in ("dhal", "dhal-without-rooms"):
                without |= {"rooms"} if edge == "dhal-without-rooms" else set()
                kind, config = DhalStack, sale_config.dhal(None if bare_dhal else self.best, without)
            elif edge == "nginx":
                assert self.best
                kind, config = NginxStack, sale_config.nginx(CAPACITY, self.best)
            else:
                kind, config = BareStack, ""
            stack = kind(binaries, folder, config, STOCK, ("shop1",), SHOP_WORDS)
            try:
                yield stack
            except Failed:
                if stack.edge:
                    print(stack.edge_log(), file=sys.stderr)
                raise
            finally:
                stack.stop()

    def play(self, stack: Stack, scenario: str, words: list[str], name: str, is_drawn: bool = True) -> Report:
        """A run of the generator; its picture may be kept."""
        print(f"-- {name}", file=sys.stderr, flush=True)
        file = SCENARIOS / f"{scenario}.toml"
        if isinstance(stack, BareStack):
            file = stack.folder / f"{scenario}.toml"
            file.write_text(plain_only((SCENARIOS / f"{scenario}.toml").read_text()))
        load = Load(stack, file, words, self.options.verbose, name)
        try:
            report, table = load.finish()
            if self.options.verbose:
                print(table)
                if stack.edge:
                    print(stack.edge_log())
            self.runs[name] = report
            if self.options.svg_dir and is_drawn:
                self.options.svg_dir.mkdir(parents=True, exist_ok=True)
                (self.options.svg_dir / f"sale-{name}.svg").write_text(load.svg.read_text())
            return report
        finally:
            load.stop()

    def calibrate(self) -> Best:
        """What the shop can do: the most checkouts a second at which answers come in time."""
        found = {"straight": self.most("none", "straight"), "stored": self.most("dhal", "stored")}
        for way, best in found.items():
            self.table.add("calibrate", "none" if way == "straight" else "dhal",
                           "the shop's most: visitors, checkouts a second, p99",
                           f"{best.rate:.1f}, {best.checkouts:.1f}, {best.p99_ms:.0f} ms"
                           + ("" if way == "straight" else " (with a store only)"))
        # A store takes work from the shop, so that it sells more. What protects it is measured by that.
        return max(found.values(), key=lambda best: best.checkouts)

    def most(self, edge: str, way: str) -> Best:
        """By rising steps, and then for longer at the best of them."""
        estimate = CAPACITY / ANSWERS_EACH[way]
        rates = [estimate * step for step in (STEPS_QUICK if self.options.quick else STEPS)]
        step, confirm = self.lengths.step, self.lengths.confirm
        with self.stack(edge, bare_dhal=True) as stack:
            phases = ",".join(f"{step}x{rate:.3f}" for rate in rates)
            report = self.play(stack, "sale-opening", ["--phases", phases], f"steps-{way}", False)
        found = sale.best_step(report, rates, step)
        rate = found.rate if found else rates[0]
        for attempt in range(CONFIRMATIONS):
            with self.stack(edge, bare_dhal=True) as stack:
                phases = f"{CALM + confirm}x{rate:.3f}"
                report = self.play(stack, "sale-opening", ["--phases", phases], f"best-{way}-{attempt + 1}", False)
            best = sale.measured(report, rate, CALM, CALM + confirm)
            if best:
                return best
            rate *= LOWER
        raise Failed(f"the shop cannot serve {rate:.1f} visitors a second: is the machine busy?")

    def opening(self, edge: str) -> None:
        """The hour strikes."""
        assert self.best
        before, after = self.best.rate * 0.5, self.best.rate * TIMES
        plateau = (CALM + RISE, CALM + RISE + self.lengths.plateau)
        phases = [f"{CALM}x{before:.3f}", f"{RISE}x{before:.3f}-{after:.3f}", f"{self.lengths.plateau}x{after:.3f}",
                  f"{self.lengths.drain}x0"]
        with self.stack(edge) as stack:
            report = self.play(stack, "sale-opening", ["--phases", ",".join(phases)], f"opening-{edge}")
        sale.opening(self.table, edge, report, self.best, plateau)

    def slowloris(self, edge: str) -> None:
        """The same visitors without attackers, and then with them."""
        seconds = self.lengths.slow
        with self.stack(edge) as stack:
            words = ["--phases", f"{seconds / 2:.0f}x20", "--calm"]
            calm = self.play(stack, "slowloris", words, f"slowloris-calm-{edge}", False)
            with watched_memory(stack) as memory:
                report = self.play(stack, "slowloris", ["--phases", f"{seconds}x20"], f"slowloris-{edge}")
            sale.beside_slowloris(self.table, edge, calm, report, (memory[0], max(memory), memory[-1]))

    def one_bad_client(self, edge: str) -> None:
        with self.stack(edge) as stack:
            words = ["--seconds", str(self.lengths.other)]
            report = self.play(stack, "one-bad-client", words, f"one-bad-client-{edge}")
        sale.beside_bad_client(self.table, edge, report)

    def reload_storm(self, edge: str) -> None:
        with self.stack(edge) as stack:
            words = ["--seconds", str(self.lengths.other), "--scale", str(STORM_SCALE)]
            report = self.play(stack, "reload-storm", words, f"reload-storm-{edge}")
        sale.storm(self.table, edge, report, (20, self.lengths.other))


@contextmanager
def watched_memory(stack: Stack) -> Iterator[list[int]]:
    """What the edge holds, second by second: the first before, the last after a moment's rest."""
    readings = [memory_bytes(stack)]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1):
            readings.append(memory_bytes(stack))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield readings
    finally:
        over.set()
        watcher.join()
    time.sleep(2)
    readings.append(memory_bytes(stack))


def plain_only(scenario: str) -> str:
    """A scenario whose visitors speak HTTP/1.1 without TLS, as the shop itself does; it has no store to fill first."""
    scenario = re.sub(r"^warm = .*\n", "", scenario, flags=re.MULTILINE)
    return re.sub(r"\[protocols\]\n(?:[^\[\n]+\n)+", "[protocols]\nhttp1 = 1\n", scenario)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=Path, default=Path("target/release"), help="folder of the binaries")
    parser.add_argument("--quick", action="store_true", help="a third of the time, with more noise")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--edges", default=",".join(sale.EDGES), help=f"of {', '.join(sale.EDGES)}")
    parser.add_argument("--without", default="", help=f"parts of Dhal left out, of {', '.join(sale_config.PARTS)}")
    parser.add_argument("--best", help="visitors and checkouts a second, and visitors inside, instead of calibrating")
    parser.add_argument("--json", type=Path, help="write all that was found")
    parser.add_argument("--markdown", type=Path, help="write the table")
    parser.add_argument("--svg-dir", type=Path, help="draw each run into this folder, and the opening's side by side")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where Dhal misses a goal")
    parser.add_argument("--verbose", action="store_true", help="show what the load generator says")
    options = parser.parse_args()
    for given, known in (
        (options.parts, PARTS), (options.edges, sale.EDGES), (options.without, sale_config.PARTS)
    ):
        if unknown := set(filter(None, given.split(","))) - set(known):
            parser.error(f"not known: {', '.join(sorted(unknown))}")
    parts = options.parts.split(",")
    day = Day(options)
    try:
        if options.best:
            rate, checkouts, inside = map(float, options.best.split(","))
            day.best = Best(rate, checkouts, 0.0, inside)
        else:
            day.best = day.calibrate()
        for part in parts:
            for edge in day.edges:
                # Alone a shop has nothing to shed connections or clients with, and a room is for the opening.
                if edge in ("dhal", "nginx") or part == "opening":
                    getattr(day, part.replace("-", "_"))(edge)
    except Failed as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    print(day.table.text())
    write(day, options)
    missed = day.table.missed()
    for row in missed:
        print(f"{row.part}: {row.what} is {row.values.get('dhal')}, wanted is {row.wanted}", file=sys.stderr)
    return 1 if options.strict and missed else 0


def write(day: Day, options: argparse.Namespace) -> None:
    """The files that were asked for."""
    assert day.best
    openings = {edge: day.runs[f"opening-{edge}"] for edge in day.edges if f"opening-{edge}" in day.runs}
    if options.svg_dir and openings:
        (options.svg_dir / "sale.svg").write_text(sale.svg(openings, day.best))
    if options.markdown:
        without = f" Dhal without {options.without}." if options.without else ""
        head = (
            f"Played on {summary.today()}{', the quick version' if options.quick else ''}: a shop that makes "
            f"{CAPACITY} dynamic answers a second, {TIMES} times the visitors that it can serve.{without}\n\n"
        )
        options.markdown.write_text(head + day.table.markdown())
    if options.json:
        found = {
            "date": summary.today(), "quick": options.quick, "without": sorted(day.without), "best": asdict(day.best),
            "capacity": CAPACITY, "rows": day.table.plain(),
            "runs": {name: {key: value for key, value in run.items() if key != "per_second"}
                     for name, run in day.runs.items()},
        }
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
