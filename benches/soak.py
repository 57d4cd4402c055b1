#!/usr/bin/env python3
"""Thirty seconds of load per protocol, while shops are killed and stopped and the edge is reloaded: with other
routes, limits, bounds and listeners, and with configurations that it has to refuse.

Nothing may fail: every answer is complete and 2xx. Prints one line a protocol and exits 1 otherwise.
Needs wrk, h2load and both binaries: `python3 benches/soak.py --bin target/release`.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lib import summary
from lib.servers import free_port
from lib.stack import Stack

CONFIG = """\
[upstreams.shop]
servers = ["127.0.0.1:{shop1}", "127.0.0.1:{shop2}"]
health_check = {{ path = "/healthz", interval = "500ms", timeout = "1s", healthy = 2, unhealthy = 2 }}
[[routes]]
upstream = "shop"
cache = "default"
[[routes]]
path = "/api/*"
upstream = "shop"
"""

# What reloads add to that, one after the other: `{extra}` is a listener that comes, changes and goes.
CHANGES = [
    '[[listeners]]\naddress = "127.0.0.1:{extra}"\n',
    '[[listeners]]\naddress = "127.0.0.1:{extra}"\ntls = true\n',
    '[[routes]]\npath = "/offers/*"\nupstream = "shop"\n',
    '[limits.many]\nrate = "1000000/s"\nburst = 1000000\n[[routes]]\npath = "/cart"\nupstream = "shop"\nlimits = ["many"]\n',
    '[cache]\nmemory = "64MiB"\n',
]
# What no edge may take up: a key that does not exist, and an address that is taken.
BROKEN = [
    '[[routes]]\npath = "/offers/*"\nupstream = "shpo"\n',
    '[[listeners]]\naddress = "127.0.0.1:{shop2}"\n',
]

# Stored pages, and pages that are never stored, so that the shops are asked all the time.
PATHS = ["/", "/products", "/api/products?per_page=5", "/cart", "/categories/phones", "/api/health"]


def load(protocol: str, stack: Stack, seconds: int) -> subprocess.Popen[str]:
    if protocol == "h1":
        script = stack.folder / "paths.lua"
        listed = ",".join(f'"{path}"' for path in PATHS)
        script.write_text(
            f"local paths = {{{listed}}}\nlocal i = 0\n"
            "request = function()\n  i = i % #paths + 1\n  return wrk.format('GET', paths[i])\nend\n"
        )
        url = f"http://127.0.0.1:{stack.ports['http']}"
        words = ["wrk", "-t1", "-c32", f"-d{seconds}s", "--timeout", "20s", "-s", str(script), url]
    else:
        urls = [f"https://127.0.0.1:{stack.ports['https']}{path}" for path in PATHS]
        words = ["h2load", "-t1", "-c8", "-m8", f"-D{seconds}", *urls]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def disturb(stack: Stack, seconds: int) -> int:
    """Kills a shop, reloads ten times and tries to twice in vain, brings the shop back, stops and starts the other.

    Returns how many reloads did not end as they should."""
    step = seconds / 30
    time.sleep(4 * step)
    stack.end_shop("shop1", signal.SIGKILL)
    wrong = 0
    for number in range(10):
        time.sleep(step)
        if number % 5 == 2:
            stack.configure(CONFIG + BROKEN[number // 5])
            wrong += stack.order("reload").returncode != 1
        stack.configure(CONFIG + CHANGES[number % len(CHANGES)])
        wrong += stack.order("reload").returncode != 0
    stack.configure(CONFIG)
    stack.start_shop("shop1")
    time.sleep(3 * step)
    stack.end_shop("shop2", signal.SIGTERM)
    time.sleep(3 * step)
    stack.start_shop("shop2")
    return wrong


def failures(protocol: str, output: str) -> tuple[int, int]:
    """Requests and failed requests, as the load generator counted them."""
    def number(pattern: str) -> int:
        found = re.search(pattern, output)
        return int(found.group(1)) if found else 0

    if protocol == "h1":
        errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
        failed = sum(map(int, errors.groups())) if errors else 0
        return number(r"(\d+) requests in"), failed + number(r"Non-2xx or 3xx responses: (\d+)")
    statuses = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    if not statuses:
        sys.exit(f"h2load's output is not understood:\n{output}")
    good, *bad = map(int, statuses.groups())
    return good + sum(bad), sum(bad) + number(r"(\d+) failed,") + number(r"(\d+) errored,")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=Path, default=Path("target/release"), help="folder of both binaries")
    parser.add_argument("--seconds", type=int, default=30, help="load per protocol")
    parser.add_argument("--json", type=Path, help="result file, which `make bench` shows")
    options = parser.parse_args()
    wrong = 0
    protocols = []
    with tempfile.TemporaryDirectory() as name:
        stack = Stack(options.bin.resolve(), Path(name), CONFIG)
        stack.ports["extra"] = free_port()
        try:
            for protocol in ("h1", "h2"):
                generator = load(protocol, stack, options.seconds)
                refused = disturb(stack, options.seconds)
                output, _ = generator.communicate(timeout=options.seconds + 60)
                total, failed = failures(protocol, output)
                print(f"{protocol}: {total} requests, {failed} failed, {refused} of 12 reloads went wrong")
                protocols.append(
                    {"protocol": protocol, "requests": total, "failed": failed, "refused_reloads": refused}
                )
                if failed or refused or not total:
                    wrong = 1
                    print(output)
        finally:
            stack.stop()
        if wrong:
            print(stack.edge_log())
    if options.json:
        found = {"date": summary.today(), "seconds": options.seconds, "protocols": protocols}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
