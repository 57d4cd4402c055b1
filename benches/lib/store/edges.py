"""The servers of the store's rows: Dhal, nginx and HAProxy with a store of a size and place of the row's choice."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lib import cpu
from lib.servers import PEERS, Origin, ServerFailed, free_port, launched, render

HOST = "shop.example"
# HAProxy touches all memory of its cache first, which takes seconds.
START_SECONDS = 60
KIB = 1024
BODY_BYTES = {"1k": KIB, "12k": 12 * KIB, "100k": 100 * KIB, "pass": KIB}
# Kept for a day, so that nothing expires while it is measured.
_ORIGIN_BODIES = ("12k", "100k")


@dataclass(frozen=True)
class Bench:
    """What all rows share."""

    directory: Path
    fast: Path
    dhal: Path
    server_core: int
    load_core: int
    rounds: int
    seconds: float
    origin_port: int

    @property
    def urls(self) -> Path:
        """The load generator."""
        return self.directory / "urls"

    def prepare(self) -> None:
        """Compiles the load generator and writes the bodies."""
        subprocess.run(["cc", "-O2", "-o", str(self.urls), str(PEERS / "urls.c")], check=True)
        bodies = self.directory / "bodies"
        bodies.mkdir()
        for name in _ORIGIN_BODIES:
            (bodies / name).write_bytes(b"x" * BODY_BYTES[name])

    def render(self, template: str, directory: Path, values: dict[str, str], variants: set[str]) -> Path:
        """Writes a configuration from its template."""
        known = {"DIR": str(directory), "ORIGIN": str(self.origin_port), "KIB": "x" * KIB}
        root = {"root"} if os.geteuid() == 0 else set()
        file = directory / template
        file.write_text(render((PEERS / "store" / template).read_text(), known | values, variants | root))
        return file


@dataclass(frozen=True)
class Shape:
    """How a store is set up."""

    # Of all that is stored; for nginx of its files.
    memory_mib: int = 512
    max_object_kib: int = 8 * 1024
    # Dhal's tier on disk; 0 is none.
    disk_mib: int = 0
    # Where nginx and Dhal's disk tier keep their files; the folder is theirs and may outlive them.
    files: Path | None = None


@dataclass
class Edge:
    """A running server."""

    name: str
    bench: Bench
    directory: Path
    port: int
    process: subprocess.Popen[bytes]
    # By the clock that only goes forward, and in seconds since 1970.
    started: float = field(default_factory=time.monotonic)
    started_at: float = field(default_factory=time.time)
    # Seconds from its start.
    first_answer: float = 0.0

    def cpu_seconds(self) -> float:
        """CPU time of all its processes."""
        return sum(cpu.process_seconds(pid) for pid in cpu.process_tree([self.process.pid]))

    def get(self, target: str) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own; the names of fields come in lower case."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            client.request("GET", target, headers={"Host": HOST})
            answer = client.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            client.close()

    def is_hit(self, target: str) -> bool:
        """Whether Dhal answers from its store, by its own word."""
        status, fields, _body = self.get(target)
        return status == 200 and fields.get("cache-status", "").startswith("dhal; hit")

    def admin(self) -> "Admin":
        """Dhal's admin endpoint."""
        return Admin(self.directory / "admin.sock")

    def output(self) -> str:
        """What it has said."""
        return (self.directory / "output").read_text(errors="replace")


class Admin(http.client.HTTPConnection):
    """A connection to Dhal's admin endpoint."""

    def __init__(self, path: Path) -> None:
        super().__init__("admin", timeout=60)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))

    def ask(self, method: str, target: str, body: str | None = None) -> str:
        """The content of an answer that must be a 200."""
        self.request(method, target, body)
        answer = self.getresponse()
        content = answer.read().decode()
        if answer.status != 200:
            raise ServerFailed(f"{method} {target} is answered with {answer.status}: {content[:200]}")
        return content

    def metrics(self) -> dict[str, float]:
        """All metrics of the store, by name and labels."""
        return parse_metrics(self.ask("GET", "/metrics"))

    def purge_tag(self, tag: str) -> float:
        """Purges and returns the seconds it took."""
        body = json.dumps({"tags": [tag]})
        start = time.perf_counter()
        self.ask("POST", "/purge", body)
        return time.perf_counter() - start


def parse_metrics(text: str) -> dict[str, float]:
    """`name{labels} value` lines."""
    return {name: float(value) for name, value in re.findall(r"^(\w+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)}


def _dhal(bench: Bench, directory: Path, values: dict[str, str], shape: Shape) -> list[str]:
    variants = {"disk"} if shape.disk_mib else set()
    return [str(bench.dhal), "run", "-c", str(bench.render("dhal.toml", directory, values, variants))]


def _nginx(bench: Bench, directory: Path, values: dict[str, str], shape: Shape) -> list[str]:
    values |= {"DISK": f"{shape.disk_mib or shape.memory_mib}m"}
    return ["nginx", "-c", str(bench.render("nginx.conf", directory, values, set())), "-e", f"{directory}/error.log"]


def _haproxy(bench: Bench, directory: Path, values: dict[str, str], shape: Shape) -> list[str]:
    values |= {"MEGABYTES": str(min(shape.memory_mib, 4095))}
    return ["haproxy", "-db", "-f", str(bench.render("haproxy.cfg", directory, values, set()))]


KINDS: dict[str, Callable[[Bench, Path, dict[str, str], Shape], list[str]]] = {
    "dhal": _dhal,
    "nginx": _nginx,
    "haproxy": _haproxy,
}


def have(kind: str, bench: Bench) -> bool:
    """Whether this machine has it."""
    return bool(shutil.which(str(bench.dhal) if kind == "dhal" else kind))


@contextmanager
def running(bench: Bench, name: str, shape: Shape) -> Iterator[Edge]:
    """A server that answers; its kind is the first word of its name."""
    directory = bench.directory / name.replace(" ", "-")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    files = shape.files or bench.fast / name.replace(" ", "-")
    port = free_port()
    values = {
        "PORT": str(port),
        "FILES": str(files),
        "MEMORY": f"{shape.memory_mib}MiB",
        "MAX_OBJECT": f"{shape.max_object_kib}KiB",
        "DISK": f"{shape.disk_mib}MiB",
    }
    with ExitStack() as stack:
        if not shape.files:
            # One by one, a million files take Python longer than this.
            stack.callback(subprocess.run, ["rm", "-rf", str(files)], check=True)
        command = KINDS[name.split()[0]](bench, directory, values, shape)
        [process] = stack.enter_context(launched([command], [bench.server_core], directory / "output"))
        edge = Edge(name, bench, directory, port, process)
        edge.first_answer = _await_answer(edge)
        yield edge


def _await_answer(edge: Edge) -> float:
    """Waits until the server answers anything; returns the seconds since its start."""
    while True:
        try:
            status, _fields, _body = edge.get("/pass/")
            if status == 200:
                return time.monotonic() - edge.started
        except (OSError, http.client.HTTPException):
            pass
        if edge.process.poll() is not None or time.monotonic() > edge.started + START_SECONDS:
            raise ServerFailed(f"{edge.name} does not serve\nits last words:\n{edge.output()[-2000:]}")
        time.sleep(0.001)


@contextmanager
def origin(bench: Bench) -> Iterator[Origin]:
    """The origin, on the core of the load generator."""
    configuration = bench.render("origin.conf", bench.directory, {}, set())
    command = ["nginx", "-c", str(configuration), "-e", str(bench.directory / "error.log")]
    with launched([command], [bench.load_core], bench.directory / "output"):
        started = Origin(bench.origin_port)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                started.requests()
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise ServerFailed(f"the origin does not start: {error}") from error
                time.sleep(0.01)
        yield started
