#!/usr/bin/env python3
"""Two minutes in which everything is changed and nobody may notice.

Visitors by HTTP/1.1, HTTP/2 and TLS and two hundred WebSockets, while a hundred reloads change routes, limits,
listeners, upstreams and certificates, the program is upgraded five times, certificates are replaced on disk, and twenty
configurations with a mistake are refused. The same beside it with nginx. Needs both binaries, nginx and openssl:
`python3 benches/change.py --bin target/release`.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

from lib import change, summary
from lib.change import Action, Done, Outcome, Plan
from lib.change_edge import EDGES, Edge
from lib.failover import processor_time
from lib.stack import Failed
from lib.visitors import Counts, Visitors

ROTATED = ("main", "more/more")
READY_SECONDS = 60


def perform(edge: Edge, action: Action, visitors: Visitors) -> Done:
    """One action; what goes wrong is part of the result."""
    began, said = visitors.moment(), ""
    took: float | None = None
    try:
        if action.kind == "reload":
            turn = action.number // change.ROTATED_BY_RELOAD_EVERY
            rotated = ROTATED[turn % 2] if change.is_rotated(action.number) else None
            wrong = edge.change(action.number + 1, rotated)
            took = edge.reload_seconds
        elif action.kind == "broken":
            mistake = edge.mistakes[action.number % len(edge.mistakes)]
            wrong, said = edge.try_mistake(mistake)
        elif action.kind == "upgrade":
            wrong, took = edge.upgrade()
        else:
            wrong = edge.rotate(ROTATED[action.number % 2])
    except Failed as error:
        wrong = str(error)
    return Done(action.kind, action.number, began, visitors.moment() - began if took is None else took, wrong, said)


def play(kind: type[Edge], binaries: Path, plan: Plan, counts: Counts) -> Outcome:
    """A run of one edge."""
    with tempfile.TemporaryDirectory() as name:
        edge = kind(binaries, Path(name))
        try:
            visitors = Visitors(edge.door(), counts)
            visitors.start()
            if not visitors.connected.wait(READY_SECONDS):
                raise Failed("visitors do not come in")
            busy, whole = processor_time()
            started = visitors.moment()
            done: list[Done] = []
            for action in change.schedule(plan):
                time.sleep(max(0.0, started + action.at - visitors.moment()))
                if visitors.wrong:
                    break
                done.append(perform(edge, action, visitors))
                if done[-1].wrong:
                    print(f"{edge.name}: {action.kind} {action.number}: {done[-1].wrong}", file=sys.stderr, flush=True)
            time.sleep(max(0.0, started + plan.seconds - visitors.moment()))
            seconds = visitors.moment() - started
            busy, whole = (now - then for now, then in zip(processor_time(), (busy, whole)))
            visitors.finish()
            outcome = Outcome(edge.name, plan, done, visitors.tallies, visitors.sockets, seconds)
            outcome.busy = busy / max(whole, 1.0)
            outcome.left_over = edge.left_over()
            if change.missed(outcome):
                print(edge.edge_log(), *change.trouble(outcome), sep="\n", file=sys.stderr, flush=True)
            return outcome
        finally:
            edge.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=Path, default=Path("target/release"), help="folder of the binaries")
    parser.add_argument("--quick", action="store_true", help="20 seconds, with fewer reloads and upgrades")
    parser.add_argument("--edges", default=",".join(EDGES), help=f"of {', '.join(EDGES)}")
    parser.add_argument("--sockets", type=int, default=Counts.sockets, help="WebSockets that last as long as the run")
    parser.add_argument("--json", type=Path, help="write all that was found")
    parser.add_argument("--markdown", type=Path, help="write the table")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if Dhal misses a goal")
    options = parser.parse_args()
    names = options.edges.split(",")
    if unknown := set(names) - set(EDGES):
        parser.error(f"no such edge: {', '.join(sorted(unknown))}")
    if "nginx" in names and not shutil.which("nginx"):
        print("nginx is not installed and left out", file=sys.stderr)
        names.remove("nginx")
    plan = change.QUICK if options.quick else change.FULL
    outcomes = []
    for name in names:
        print(f"-- {name}", file=sys.stderr, flush=True)
        try:
            outcomes.append(play(EDGES[name], options.bin.resolve(), plan, Counts(sockets=options.sockets)))
        except Failed as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
    build = options.bin.resolve().name
    lengths = ", ".join(f"{outcome.edge} {outcome.seconds:.0f} s" for outcome in outcomes)
    busy = ", ".join(f"{outcome.busy:.0%}" for outcome in outcomes)
    note = (
        f"Run of {summary.today()}, {build} build of Dhal, {platform.machine()}: {lengths}; {plan.reloads} reloads, "
        f"{plan.broken} broken ones, {plan.upgrades} upgrades, {plan.rotations} certificates replaced on disk only. "
        f"The machine was {busy} busy."
    )
    table = change.markdown(outcomes, note)
    print(table)
    if options.markdown:
        options.markdown.write_text(table)
    if options.json:
        found = {"date": summary.today(), "build": build, "plan": plan.__dict__,
                 "edges": [change.as_data(outcome) for outcome in outcomes]}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    missed = [one for outcome in outcomes if outcome.edge == "dhal" for one in change.missed(outcome)]
    for one in missed:
        print(f"dhal: {one.what} is {one.value}, wanted is {one.wanted}", file=sys.stderr)
    return 1 if options.strict and missed else 0


if __name__ == "__main__":
    sys.exit(main())
