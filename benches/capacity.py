#!/usr/bin/env python3
"""What one connection, one request and one order cost the edge, and what follows for a sale's opening on a host.

METHOD.md tells how, docs/capacity.md what follows; its assumptions are in capacity.toml. Needs the release binaries `dhal`,
`dhakacart-origin` and `dhal-load`: `python3 benches/capacity.py --bin target/release`.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from pathlib import Path

from lib import readme, servers, summary, tls_client
from lib.capacity import connections, costs, page, room, shop
from lib.load import LoadFailed
from lib.measure import raise_file_limit
from lib.servers import ServerFailed, Site, free_port
from lib.stack import Failed
from lib.works import Load, Work

HERE = Path(__file__).parent
TOOLS = ("nginx", "wrk", "h2load", "openssl", "taskset")
# More rounds in which others had the core than this, and the figures are a draft.
DISTURBED_SHARE_MAX = 0.2
# Each is of twelve seconds.
SHOP_ROUNDS = 3


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=Path, default=target / "release", help="folder of the binaries")
    parser.add_argument("--quick", action="store_true", help="one round, few connections: only to see that all works")
    parser.add_argument("--rounds", type=int, help="rounds (default 5)")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--figures", type=Path, help="measure nothing: tables anew from this file and capacity.toml")
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--markdown", type=Path, help="where their tables go")
    parser.add_argument("--page", type=Path, help="a page that gets all tables in their places")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 5)
    return arguments


def handshake_bytes(site: Site) -> int:
    """What a full handshake sends to a client, tickets included."""
    work = Work("hit-h2-1k", "", Load.TLS_H2, "1k", ("dhal",))
    with servers.running("dhal", site, work) as server:
        context = tls_client.client_context(site.certificate)
        with tls_client.connect(context, server.place.tls_port) as stream:
            tls_client.request(stream, work.path, work.body_bytes)
            received, _sent = shop.transferred(stream)
    return received - work.body_bytes


def measure(arguments: argparse.Namespace) -> summary.Figures:
    """All figures; a few minutes."""
    dhal = (arguments.bin / "dhal").resolve()
    both = {arguments.server_core, arguments.load_core}
    with tempfile.TemporaryDirectory(prefix="dhal-capacity-") as directory:
        site = Site(Path(directory), free_port(), arguments.server_core, arguments.load_core, False, dhal)
        site.prepare({"1k", "12k"})
        start = time.monotonic()

        def told(what: str) -> None:
            print(f"{what}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)

        with servers.origin(site) as origin:
            os.sched_setaffinity(0, {arguments.load_core})
            found = costs.measure(site, origin, arguments.rounds)
            told("costs")
            polls, about_room = room.measure(site, arguments.rounds)
            told("waiting room")
            handshake = handshake_bytes(site)
            # No time is measured: the client may have the server's core as well.
            os.sched_setaffinity(0, both)
            held = connections.measure(site, origin, arguments.quick)
            told("connections")
        os.sched_setaffinity(0, {arguments.load_core})
        more, about_shop = shop.measure(arguments.bin.resolve(), min(arguments.rounds, SHOP_ROUNDS),
                                        2 if arguments.quick else 4, (arguments.server_core, arguments.load_core))
        told("shop")
    found += polls + more
    pinned = [cost for cost in found if cost not in more]
    disturbed = sum(cost.disturbed for cost in pinned) / sum(len(cost.rounds) for cost in pinned)
    return {
        "date": summary.today(),
        "environment": summary.environment(dhal),
        "rounds": arguments.rounds,
        "quiet": disturbed <= DISTURBED_SHARE_MAX and not arguments.quick,
        "disturbed_share": round(disturbed, 2),
        "costs": {cost.key: cost.figures() for cost in found},
        "connections": {one.key: one.figures() for one in held},
        "handshake_bytes": handshake,
        "room": about_room,
        "shop": about_shop,
    }


def main() -> int:
    """Exit 0 done, 1 an answer was missing or wrong, 2 a tool is missing."""
    arguments = parse_arguments()
    if arguments.figures:
        figures = json.loads(arguments.figures.read_text())
    else:
        needed = (*TOOLS, *(str(arguments.bin / name) for name in ("dhal", "dhakacart-origin", "dhal-load")))
        if absent := [tool for tool in needed if not shutil.which(tool)]:
            print(f"needed and not found: {', '.join(absent)}; METHOD.md names the packages", file=sys.stderr)
            return 2
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        raise_file_limit()
        try:
            figures = measure(arguments)
        except (LoadFailed, ServerFailed, Failed) as error:
            print(f"!!! {error} !!!", file=sys.stderr)
            return 1
    assumed = tomllib.loads((HERE / "capacity.toml").read_text())
    sections = page.sections(figures, assumed)
    print("\n".join(sections.values()))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(sections["capacity-measured"])
    if arguments.page:
        text = arguments.page.read_text()
        for name, section in sections.items():
            text = readme.replaced(text, name, section)
        arguments.page.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
