"""A thousand visitors at once for one page of a slow shop: how many of them the shop meets."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from lib.store.edges import Bench, Edge, Shape, have, running
from lib.store.load import Pages, run
from lib.summary import Figures

VISITORS = 1000
DELAY_SECONDS = 0.5
# Ages are whole seconds: what is fresh for one has surely expired by then.
_EXPIRED_AFTER_SECONDS = 2.2
_BODY = b"x" * 1024


@dataclass(frozen=True)
class Case:
    """A page, and what the shop says about keeping it."""

    key: str
    title: str
    cache_control: str
    stored_before: bool


CASES = (
    Case("cold", "never asked for before", "max-age=86400", stored_before=False),
    Case("expired", "expired", "max-age=1", stored_before=True),
    Case("stale", "expired, stale-while-revalidate", "max-age=1, stale-while-revalidate=60", stored_before=True),
)


class SlowShop:
    """Answers after half a second, and counts; `/pass/` is answered at once, for those who wait for a start."""

    def __init__(self) -> None:
        self.requests = 0
        self.port = 0
        self.loop = asyncio.new_event_loop()
        self.listens = threading.Event()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                name = head.split(b" ", 2)[1].decode().strip("/")
                cache_control = next((case.cache_control for case in CASES if case.key == name), "no-store")
                if name != "pass":
                    self.requests += 1
                    await asyncio.sleep(DELAY_SECONDS)
                fields = f"Content-Type: image/webp\r\nContent-Length: {len(_BODY)}\r\nCache-Control: {cache_control}"
                writer.write(f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n".encode() + _BODY)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _listen(self) -> None:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, backlog=4096)
        self.port = server.sockets[0].getsockname()[1]
        self.listens.set()

    def run(self) -> None:
        """Until its loop is stopped."""
        self.loop.run_until_complete(self._listen())
        self.loop.run_forever()


@contextmanager
def slow_shop() -> Iterator[SlowShop]:
    """The shop, in a thread of its own."""
    shop = SlowShop()
    threading.Thread(target=shop.run, daemon=True).start()
    shop.listens.wait()
    yield shop
    shop.loop.call_soon_threadsafe(shop.loop.stop)


def _case(edge: Edge, shop: SlowShop, case: Case) -> Figures:
    target = f"/{case.key}/"
    if case.stored_before:
        edge.get(target)
        time.sleep(_EXPIRED_AFTER_SECONDS)
    before = shop.requests
    answers = run(edge, Pages(case.key, 0), requests=VISITORS, connections=VISITORS)
    # A fetch behind the visitors' backs is one, too.
    time.sleep(DELAY_SECONDS + 0.2)
    return {
        "to_origin": shop.requests - before,
        "median_ms": round(answers.p50 / 1000, 1),
        "worst_ms": round(answers.max / 1000, 1),
        "trouble": answers.trouble(len(_BODY)),
    }


def measure(bench: Bench) -> Figures:
    """The row: each server, each case."""
    edges: Figures = {}
    with slow_shop() as shop:
        for kind in ("dhal", "nginx"):
            if have(kind, bench):
                with running(replace(bench, origin_port=shop.port), f"{kind} collapse", Shape()) as edge:
                    edges[kind] = {case.key: _case(edge, shop, case) for case in CASES}
    return {"row": "collapse", "visitors": VISITORS, "edges": edges, "trouble": []}
