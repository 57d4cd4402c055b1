#!/usr/bin/env python3
"""Whether visitors notice that shops fail: two shops, the edge and open-loop load, in five runs.

calm: nothing happens, the reference. trouble: one shop is killed all the time, the other hangs once and is deployed
anew once. outage: all shops are away for half of the time. sessions: the same, where visitors with a session go past
the store. steady: requests that are never stored. Needs the release binaries `dhal`, `dhakacart-origin` and
`dhal-load`: `python3 benches/failover.py --bin target/release`.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from lib import summary
from lib.failover import Figure, Probe, Run, markdown, table
from lib.generator import SCENARIOS, Load
from lib.stack import Failed, Stack, wait_until

BUDGET_PERCENT = 20

# As an operator would write it who knows that his shop answers within a second.
CONFIG = f"""\
[upstreams.shop]
servers = ["127.0.0.1:{{shop1}}", "127.0.0.1:{{shop2}}"]
health_check = {{{{ path = "/healthz", interval = "500ms", timeout = "1s", healthy = 1, unhealthy = 2 }}}}
eject = {{{{}}}}
retry = {{{{ attempts = 2, budget_percent = {BUDGET_PERCENT}, wait = "2s" }}}}
timeouts = {{{{ response = "3s" }}}}
shop_window = "1h"
[cache.policies.pages]
bypass_cookies = ["session"]
[[routes]]
upstream = "shop"
cache = "{{cache}}"
"""

# Of each product, so that nobody finds a shelf empty.
STOCK = 10_000_000

# The shop that is killed, and the time from one kill to the next.
KILL_EVERY = 3.0
HANG = 5.0


def pause_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def first_line(said: bytes) -> str:
    return said.decode(errors="replace").strip().partition("\n")[0]


def nothing(_stack: Stack, _seconds: float, _run: Run) -> None:
    """What happens in a calm run."""


def kill_again_and_again(stack: Stack, until: float, run: Run) -> None:
    """One shop is killed and started again at once."""
    next_kill = time.monotonic()
    while next_kill < until:
        pause_until(next_kill)
        stack.end_shop("shop1", signal.SIGKILL)
        stack.spawn_shop("shop1")
        run.events.append("killed")
        next_kill += KILL_EVERY


def deploy(stack: Stack, shop: str) -> str:
    """What an operator does for a new version of a shop. Returns what went wrong."""
    drained = stack.order("drain", "shop", stack.address(shop), "--wait", "30s")
    if drained.returncode:
        return f"`dhal drain` ended with {drained.returncode}: {first_line(drained.stderr)}"
    stack.end_shop(shop, signal.SIGTERM)
    stack.start_shop(shop)
    taken_back = stack.order("undrain", "shop", stack.address(shop))
    if taken_back.returncode:
        return f"`dhal undrain` ended with {taken_back.returncode}: {first_line(taken_back.stderr)}"
    wait_until(lambda: stack.is_up(shop), f"the edge asks {shop} again")
    return ""


def trouble(stack: Stack, seconds: float, run: Run) -> None:
    """A shop that dies every three seconds beside one that hangs once and is deployed anew once."""
    start = time.monotonic()
    killer = threading.Thread(target=kill_again_and_again, args=(stack, start + seconds - 4, run))
    killer.start()
    try:
        pause_until(start + seconds * 0.2)
        stack.signal_shop("shop2", signal.SIGSTOP)
        time.sleep(HANG)
        stack.signal_shop("shop2", signal.SIGCONT)
        run.events.append("hung")
        pause_until(start + seconds * 0.55)
        wrong = deploy(stack, "shop2")
        run.events.append(wrong or "deployed")
    finally:
        killer.join()


def outage(stack: Stack, seconds: float, run: Run) -> None:
    """All that is stored becomes stale and all shops are killed, after a quarter; they are started after three."""
    start = time.monotonic()
    probe = Probe(stack.ports["http"])
    pause_until(start + seconds * 0.25)
    # Or else what was stored a moment ago would answer for a minute, whether the shops are there or not.
    purged = stack.order("purge", "--all", "--soft")
    if purged.returncode:
        raise Failed(f"`dhal purge` ended with {purged.returncode}: {first_line(purged.stderr)}")
    for shop in stack.shops:
        stack.end_shop(shop, signal.SIGKILL)
    pause_until(start + seconds * 0.5)
    run.checkout_during = probe.check_out()
    pause_until(start + seconds * 0.75)
    began = time.monotonic()
    for shop in stack.shops:
        stack.spawn_shop(shop)
    run.recovered_after = probe.first_success(began, stack.address("shop1"), stack.address("shop2"))


RUNS: dict[str, tuple[str, str, Callable[[Stack, float, Run], None], float]] = {
    # Scenario, policy, what happens, and the share of `--seconds` it takes.
    "calm": ("calm", "default", nothing, 1.0),
    "trouble": ("calm", "default", trouble, 1.0),
    "outage": ("outage", "default", outage, 1.0),
    # Who has a session goes past the store, until the shop window opens.
    "sessions": ("outage", "pages", outage, 1.0),
    "steady": ("steady", "default", nothing, 0.5),
}


def play(name: str, options: argparse.Namespace) -> Run:
    """A run on a stack of its own."""
    scenario, cache, happens, share = RUNS[name]
    seconds = options.seconds * share
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(options.bin.resolve(), Path(folder), CONFIG.replace("{cache}", cache), STOCK)
        load = None
        try:
            words = ["--seconds", str(seconds), "--scale", str(options.scale)]
            load = Load(stack, SCENARIOS / f"{scenario}.toml", words, options.verbose)
            load.wait_for_start()
            run = Run(name, before=stack.metrics(), budget_percent=BUDGET_PERCENT)
            end_watch = run.watch(stack.pids())
            # A second is over, and the end is to be seen in a calm edge's figures.
            happens(stack, seconds - 2, run)
            run.report, run.table = load.finish()
            end_watch()
            run.after = stack.metrics()
            acknowledged = set((Path(folder) / "orders").read_text().split())
            run.lost_orders = len(acknowledged - stack.orders())
            if options.svg_dir:
                options.svg_dir.mkdir(parents=True, exist_ok=True)
                (options.svg_dir / f"failover-{name}.svg").write_text((Path(folder) / "report.svg").read_text())
        except Failed:
            print(stack.edge_log(), file=sys.stderr)
            raise
        finally:
            if load:
                load.stop()
            stack.stop()
    return run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=Path, default=Path("target/release"), help="folder of the binaries")
    parser.add_argument("--seconds", type=float, default=60, help="length of a run; `trouble` needs 30")
    parser.add_argument("--scale", type=float, default=1, help="times the scenarios' rates")
    parser.add_argument("--runs", default=",".join(RUNS), help=f"of {', '.join(RUNS)}")
    parser.add_argument("--json", type=Path, help="write all that was found")
    parser.add_argument("--markdown", type=Path, help="write the table")
    parser.add_argument("--svg-dir", type=Path, help="draw each run into this folder")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a figure that is asserted is missed")
    parser.add_argument("--verbose", action="store_true", help="show what the load generator says")
    options = parser.parse_args()
    names = options.runs.split(",")
    if unknown := set(names) - set(RUNS):
        parser.error(f"no such run: {', '.join(sorted(unknown))}")
    if "trouble" in names and options.seconds < 30:
        parser.error("trouble needs 30 seconds")
    runs: dict[str, Run] = {}
    figures: list[Figure] = []
    for name in names:
        print(f"-- {name}", file=sys.stderr, flush=True)
        try:
            runs[name] = play(name, options)
        except Failed as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        if options.verbose:
            print(runs[name].table)
        figures += runs[name].figures(runs.get("calm"))
    print(table(figures))
    if options.markdown:
        options.markdown.write_text(markdown(figures))
    if options.json:
        found = {
            "date": summary.today(),
            "seconds": options.seconds,
            "figures": [figure.__dict__ for figure in figures],
            "runs": {name: run.summary() for name, run in runs.items()},
        }
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    missed = [figure for figure in figures if figure.asserted and figure.reached is False]
    for figure in missed:
        print(f"{figure.run}: {figure.what} is {figure.value}, wanted is {figure.wanted}", file=sys.stderr)
    return 1 if options.strict and missed else 0


if __name__ == "__main__":
    sys.exit(main())
