"""The shop behind the edge, real binaries both: bytes of a page view, a visitor's first page, an order."""

import gzip
import http.client
import json
import os
import re
import socket
import struct
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from lib import cpu, tls_client
from lib.capacity.costs import Cost, timed
from lib.stack import Failed, Stack

CONFIG = """\
[upstreams.shop]
servers = ["127.0.0.1:{shop1}", "127.0.0.1:{shop2}"]
[cache.policies.pages]
compress = true
[[routes]]
upstream = "shop"
cache = "pages"
"""

# Of each product, so that nobody finds a shelf empty.
STOCK = 10_000_000
ORDERED_SHARE_MIN = 0.9
PATIENCE_SECONDS = 20
BROWSER = {
    "Host": tls_client.HOST,
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "User-Agent": "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile "
                  "Safari/537.36",
    "Accept-Language": "bn-BD,bn;q=0.9,en;q=0.8",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
}
@dataclass(frozen=True)
class Visit:
    """What visitors do, and how many come in a second."""

    steps: str
    per_second: int


# Those who buy a product do besides what those do who look at it, at the same rate: the difference is the order. So many
# come that an edge that is hardly awake, and what it does by itself, do not count.
VISITS = {
    "arrive": Visit('{ do = "home" }', 300),
    "look": Visit('{ do = "product" }', 120),
    "buy": Visit('{ do = "product" }, { do = "add" }, { do = "checkout" }', 120),
}
# Before each turn, so that all pages are stored when it begins; not measured.
WARM = Visit('{ do = "home" }', 1)


@dataclass
class View:
    """One page view of a browser: what went over the wire, TLS's part included, TCP's and IP's not."""

    title: str
    requests: int
    html_bytes: int
    received_bytes: int
    sent_bytes: int


def transferred(stream: socket.socket) -> tuple[int, int]:
    """Bytes received, and sent and acknowledged, by the kernel's own count (tcp_info(7))."""
    info = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 136)
    acked, received = struct.unpack_from("QQ", info, 120)
    return received, acked


def assets(html: str) -> list[str]:
    """What a browser loads for a page, each once: style sheets, icons, pictures, those below the fold included."""
    found = re.findall(r'<link rel="(?:stylesheet|icon)"[^>]*href="([^"]+)"|<(?:img|script)[^>]*src="([^"]+)"', html)
    return list(dict.fromkeys(link or image for link, image in found))


class Browser:
    """A connection over TLS, and what is in the browser's cache."""

    def __init__(self, stack: Stack) -> None:
        context = tls_client.client_context(stack.folder / "dev.pem")
        self.client = http.client.HTTPSConnection("127.0.0.1", stack.ports["https"], timeout=PATIENCE_SECONDS,
                                                  context=context)
        raw = tls_client.connect(context, stack.ports["https"])
        self.client.sock = raw
        self.known: set[str] = set()

    def get(self, path: str) -> http.client.HTTPResponse:
        """Asks, and throws the content away once it is read."""
        self.client.request("GET", path, headers=BROWSER)
        answer = self.client.getresponse()
        answer.content_bytes = len(answer.read())  # type: ignore[attr-defined]
        if answer.status != 200:
            raise Failed(f"{path}: status {answer.status}")
        return answer

    def view(self, title: str, path: str, wanted: list[str]) -> View:
        """Loads a page and what it needs of which nothing is here yet."""
        before = transferred(self.client.sock)
        new = [asset for asset in wanted if asset not in self.known]
        html = self.get(path).content_bytes  # type: ignore[attr-defined]
        for asset in new:
            self.get(asset)
        self.known.update(new)
        time.sleep(0.05)
        received, sent = (now - then for now, then in zip(transferred(self.client.sock), before))
        return View(title, 1 + len(new), html, received, sent)


def _page(stack: Stack, path: str) -> list[str]:
    """The assets of a page, as the shop writes it."""
    client = http.client.HTTPConnection("127.0.0.1", stack.ports["http"], timeout=PATIENCE_SECONDS)
    try:
        client.request("GET", path, headers={"Host": tls_client.HOST, "Accept-Encoding": "gzip;q=0, identity"})
        answer = client.getresponse()
        content = answer.read()
    finally:
        client.close()
    if answer.headers.get("Content-Encoding") == "gzip":
        content = gzip.decompress(content)
    return assets(content.decode())


def _wait_until_compressed(browser: Browser, path: str) -> None:
    """The compressed form is made after the first answer."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not browser.get(path).headers.get("Content-Encoding"):
        if time.monotonic() > deadline:
            raise Failed(f"{path} is never answered compressed")
        time.sleep(0.1)


def views(stack: Stack) -> list[View]:
    """The first page of a visitor who has nothing, and the second."""
    home = _page(stack, "/")
    client = http.client.HTTPConnection("127.0.0.1", stack.ports["http"], timeout=PATIENCE_SECONDS)
    client.request("GET", "/", headers={"Host": tls_client.HOST})
    product = re.search(r'href="(/products/[^"]+)"', client.getresponse().read().decode())
    client.close()
    if not product:
        raise Failed("the shop's first page names no product")
    shown = _page(stack, product[1])
    warm = Browser(stack)
    for path in ("/", product[1]):
        _wait_until_compressed(warm, path)
    for asset in home + shown:
        warm.get(asset)
    browser = Browser(stack)
    return [browser.view("first page view (home)", "/", home),
            browser.view("second page view (a product)", product[1], shown)]


def _load(stack: Stack, name: str, visit: Visit, seconds: int) -> dict[str, int]:
    scenario = stack.folder / f"{name}.toml"
    warm = '["pages"]' if visit is WARM else "[]"
    scenario.write_text(
        f'name = "{name}"\nabout = "{name}"\ntimeout = "10s"\nwarm = {warm}\n[protocols]\nh2 = 1\n'
        f"[[phases]]\nseconds = 3600\nrate = {visit.per_second}\n"
        f'[[visitors]]\nname = "{name}"\nshare = 1\nthink = "20ms"\nsteps = [{visit.steps}]\n'
    )
    done = subprocess.run(
        [stack.binaries / "dhal-load", "--scenario", scenario, "--seconds", str(seconds), "--quiet",
         "--https", f"127.0.0.1:{stack.ports['https']}", "--ca", stack.folder / "dev.pem",
         "--json", stack.folder / f"{name}.json"],
        capture_output=True, text=True, timeout=seconds + 60,
    )
    if done.returncode:
        raise Failed(f"the load generator failed: {done.stderr[-500:]}")
    report = json.loads((stack.folder / f"{name}.json").read_text())
    failed = report["safe"]["failed"] + report["changing"]["failed"]
    # The last ones to come are on their way when the run ends.
    if failed or (name == "buy" and report["orders"] < ORDERED_SHARE_MIN * report["visitors"]):
        raise Failed(f"{failed} requests failed, {report['orders']} of {report['visitors']} visitors ordered")
    visitors = report["orders"] if name == "buy" else report["visitors"]
    return {"visitors": visitors, "requests": report["safe"]["requests"] + report["changing"]["requests"]}


def _visits(stack: Stack, rounds: int, seconds: int) -> tuple[dict[str, list[Cost]], dict[str, float]]:
    """CPU of edge and shops for a visitor who looks and one who buys, and how many requests each made."""
    pids = stack.pids()
    shops = [pid for name, pid in pids.items() if name != "edge"]
    costs = {name: [Cost(f"{name}-edge", ""), Cost(f"{name}-shop", "")] for name in VISITS}
    requests = {}
    for number in range(rounds + 1):
        _load(stack, "warm", WARM, 1)
        for name, visit in VISITS.items():
            edge, shop = costs[name]
            units = [0]
            with timed([pids["edge"]], None, units, edge), timed(shops, None, units, shop):
                done = _load(stack, name, visit, seconds)
                units[0] = done["visitors"]
            requests[name] = done["requests"] / done["visitors"]
            if number == 0:
                edge.rounds.clear()
                shop.rounds.clear()
    return costs, requests


def _pin(pids: list[int], core: int) -> None:
    """Holds all threads of processes to a core."""
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {core})


def measure(binaries: Path, rounds: int, seconds: int, cores: tuple[int, int]) -> tuple[list[Cost], dict[str, object]]:
    """Costs, and all else that the real shop tells; the edge has the first core, everybody else the second."""
    with tempfile.TemporaryDirectory(prefix="dhal-capacity-") as folder:
        stack = Stack(binaries, Path(folder), CONFIG, STOCK)
        try:
            pids = stack.pids()
            _pin([pids["edge"]], cores[0])
            _pin([pid for name, pid in pids.items() if name != "edge"], cores[1])
            seen = views(stack)
            costs, requests = _visits(stack, rounds, seconds)
            memory = {name: round(cpu.memory_kib([pid]) / 1024, 1) for name, pid in pids.items()}
        finally:
            stack.stop()
    arrive_edge, _ = costs["arrive"]
    look_edge, look_shop = costs["look"]
    buy_edge, buy_shop = costs["buy"]
    first = Cost("first-page", "visitor's first page: new HTTP/2 connection, full handshake (X25519MLKEM768), one hit",
                 arrive_edge.rounds)
    more = requests["buy"] - requests["look"]
    order = Cost("order-edge", f"order through the edge: {more:.0f} requests in person, HTTP/2",
                 [buy - look for buy, look in zip(buy_edge.rounds, look_edge.rounds)])
    shop = Cost("order-shop", "the same order in the shop itself",
                [buy - look for buy, look in zip(buy_shop.rounds, look_shop.rounds)])
    told = {"views": [asdict(view) for view in seen], "order_requests": more, "memory_mib": memory}
    return [first, order, shop], told
