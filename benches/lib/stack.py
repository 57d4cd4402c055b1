"""Shops over one database and the edge in front of them: the real binaries, started, killed and looked at."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from lib.servers import free_port

# What all stacks have. `{dir}` and the ports' names are filled in.
BASE = """\
[server]
threads = 1
[admin]
address = "unix:{dir}/admin.sock"
[[listeners]]
address = "127.0.0.1:{http}"
[[listeners]]
address = "127.0.0.1:{https}"
tls = true
[[certificates]]
cert = "{dir}/dev.pem"
key = "{dir}/dev.key"
"""

SHOPS = ("shop1", "shop2")
START_SECONDS = 60


class Failed(Exception):
    """The stack does not do what it must before anything can be measured."""


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = START_SECONDS, pause: float = 0.05) -> None:
    """Looks until it is so; whoever waits in vain learns for what."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds:.0f} s")
        time.sleep(pause)


def answers(url: str) -> bool:
    """Whether it answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("admin", timeout=5)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def parse_metrics(text: str) -> dict[str, float]:
    """Prometheus' text format: series to value."""
    found = {}
    for line in text.splitlines():
        series, _, value = line.rpartition(" ")
        if series and not line.startswith("#"):
            found[series] = float(value)
    return found


def summed(metrics: dict[str, float], name: str) -> float | None:
    """The sum over all labels; nothing if this edge does not count it."""
    values = [value for series, value in metrics.items() if re.split(r"[{ ]", series, maxsplit=1)[0] == name]
    return sum(values) if values else None


class Stack:
    """Shops and the edge."""

    def __init__(
        self, binaries: Path, folder: Path, config: str, stock: int | None = None, shops: tuple[str, ...] = SHOPS,
        shop_words: tuple[str, ...] = (),
    ) -> None:
        """`config` is what follows `BASE`; `stock` is how many there are of each product, if not the seed's."""
        self.binaries, self.folder = binaries, folder
        self.shop_names, self.shop_words = shops, shop_words
        self.ports = {name: free_port() for name in ("http", "https", *shops)}
        self.shops: dict[str, subprocess.Popen[bytes]] = {}
        self.edge: subprocess.Popen[bytes] | None = None
        self.configure(config)
        try:
            self._start(stock)
        except BaseException:
            self.stop()
            raise

    def _start(self, stock: int | None) -> None:
        made = self.dhal("dev-cert", "--out", str(self.folder))
        if made.returncode:
            raise Failed(made.stderr.decode())
        for name in self.shop_names:
            self.start_shop(name)
        if stock is not None:
            with sqlite3.connect(self.database, timeout=30) as database:
                database.execute("UPDATE products SET stock = ?", [stock])
            database.close()
        command = self.edge_command()
        if not command:
            return
        with (self.folder / "edge.log").open("wb") as log:
            self.edge = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)
        wait_until(lambda: self.edge_ended() or answers(f"{self.plain_url}/healthz"), "the edge answers")
        if self.edge_ended():
            raise Failed(f"the edge does not start:\n{self.edge_log()}")

    def configure(self, config: str) -> None:
        """Writes the edge's configuration."""
        (self.folder / "dhal.toml").write_text((BASE + config).format(dir=self.folder, **self.ports))

    def edge_command(self) -> list[str | Path]:
        """What starts the edge; nothing where there is none."""
        return [self.binaries / "dhal", "run", "-c", self.folder / "dhal.toml"]

    def load_words(self) -> list[str | Path]:
        """Where the load generator finds the edge."""
        ports = self.ports
        return ["--http", f"127.0.0.1:{ports['http']}", "--https", f"127.0.0.1:{ports['https']}",
                "--ca", self.folder / "dev.pem"]

    @property
    def plain_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['http']}"

    @property
    def database(self) -> Path:
        return self.folder / "shop.sqlite"

    def edge_ended(self) -> bool:
        return self.edge is not None and self.edge.poll() is not None

    def edge_log(self) -> str:
        """The last of what the edge said."""
        return (self.folder / "edge.log").read_text(errors="replace")[-4000:]

    def dhal(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Runs one of the edge's commands."""
        return subprocess.run([self.binaries / "dhal", *words], check=False, capture_output=True)

    def order(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """The same for the running edge."""
        return self.dhal(*words, "-c", str(self.folder / "dhal.toml"))

    def metrics(self) -> dict[str, float]:
        """What the edge counts."""
        client = UnixConnection(self.folder / "admin.sock")
        try:
            client.request("GET", "/metrics")
            return parse_metrics(client.getresponse().read().decode())
        finally:
            client.close()

    def address(self, shop: str) -> str:
        return f"127.0.0.1:{self.ports[shop]}"

    def is_up(self, shop: str) -> bool:
        """Whether the edge asks this shop."""
        return self.metrics().get(f'dhal_upstream_up{{server="{self.address(shop)}",upstream="shop"}}') == 1

    def spawn_shop(self, name: str) -> None:
        """Starts a shop and does not wait for it."""
        self.shops[name] = subprocess.Popen(
            [self.binaries / "dhakacart-origin", "--listen", self.address(name), "--name", name,
             "--database", self.database, *self.shop_words],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )

    def start_shop(self, name: str) -> None:
        """Starts a shop; returns when it answers."""
        self.spawn_shop(name)
        wait_until(lambda: answers(f"http://{self.address(name)}/healthz"), f"{name} answers", pause=0.02)

    def signal_shop(self, name: str, number: signal.Signals) -> None:
        self.shops[name].send_signal(number)

    def end_shop(self, name: str, how: signal.Signals) -> None:
        """Ends a shop and waits until it is gone."""
        self.shops[name].send_signal(how)
        self.shops[name].wait(timeout=20)

    def pids(self) -> dict[str, int]:
        """All that runs."""
        edge = {"edge": self.edge.pid} if self.edge else {}
        return edge | {name: process.pid for name, process in self.shops.items()}

    def orders(self) -> set[str]:
        """The numbers of all orders on the disk."""
        database = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)
        try:
            return {number for (number,) in database.execute("SELECT id FROM orders")}
        finally:
            database.close()

    def stop(self) -> None:
        """Ends all that runs, those that hang as well."""
        for process in filter(None, (self.edge, *self.shops.values())):
            if process.poll() is None:
                # One that was stopped hears nothing else before.
                os.kill(process.pid, signal.SIGCONT)
                process.terminate()
                try:
                    process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
