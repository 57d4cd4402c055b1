"""The servers under test and their origin: configured from `peers/`, pinned to a core, started, asked, and stopped."""

import http.client
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lib import cpu, tls_client
from lib.works import BODY_BYTES, Work

PEERS = Path(__file__).parent.parent / "peers"
START_SECONDS = 15
STOP_SECONDS = 10
# Of the variant with many routes; the one that is asked for comes last.
ROUTES = 1000


class ServerFailed(Exception):
    """A server did not start, or does not answer as it must."""


def render(template: str, values: dict[str, str], variants: set[str]) -> str:
    """Fills in @NAME@, and keeps a part between `# when X` and `# end` only if X is among the variants."""
    kept: list[str] = []
    keep = True
    for line in template.splitlines():
        mark = line.strip()
        if mark.startswith("# when "):
            keep = mark.removeprefix("# when ") in variants
        elif mark == "# end":
            keep = True
        elif keep:
            kept.append(line)
    return re.sub(r"@([A-Z_]+)@", lambda name: values[name[1]], "\n".join(kept) + "\n")


def free_port() -> int:
    """A loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True)
class Site:
    """What all servers of a run share."""

    directory: Path
    origin_port: int
    server_core: int
    load_core: int
    log: bool
    dhal: Path

    @property
    def certificate(self) -> Path:
        return self.directory / "cert.pem"

    @property
    def key(self) -> Path:
        return self.directory / "key.pem"

    def body(self, name: str) -> Path:
        """The file the origin serves under that name."""
        return self.directory / "site" / name

    def prepare(self, bodies: set[str]) -> None:
        """Generates the bodies and an ECDSA P-256 certificate."""
        self.body("").mkdir()
        for name in sorted(bodies):
            size = BODY_BYTES[name]
            line = f"<p>{name}: a product page of {size} bytes</p>\n"
            self.body(name).write_text((line * (size // len(line) + 1))[:size])
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", str(self.key), "-out", str(self.certificate)],
            check=True, capture_output=True,
        )


@dataclass(frozen=True)
class Place:
    """Where one server runs."""

    site: Site
    directory: Path
    plain_port: int
    tls_port: int
    # What this server has that others of its kind lack.
    variant: str = ""

    def variants(self) -> set[str]:
        """The variants of the configuration that apply."""
        root = {"root"} if os.geteuid() == 0 else set()
        return {"log" if self.site.log else "plain", self.variant} | root

    def cores(self) -> list[int]:
        """Where it may run: threads are only compared where there is a core for each."""
        both = self.variant in ("one", "two")
        return [self.site.server_core, self.site.load_core] if both else [self.site.server_core]

    def configure(self, template: str) -> Path:
        """Writes a configuration from its template."""
        values = {
            "DIR": self.directory,
            "PORT": self.plain_port,
            "TLS_PORT": self.tls_port,
            "ADMIN_PORT": free_port(),
            "THREADS": 2 if self.variant == "two" else 1,
            "MORE_ROUTES": "".join(
                f'[[routes]]\npath = "/department-{number}/*"\nupstream = "origin"\ncache = "default"\n\n'
                for number in range(1, ROUTES - 1)
            ),
            "ORIGIN": self.site.origin_port,
            "CERT": self.site.certificate,
            "KEY": self.site.key,
            "CERT_AND_KEY": self.directory / "cert-and-key.pem",
        }
        text = render(
            (PEERS / template).read_text(),
            {name: str(value) for name, value in values.items()},
            self.variants(),
        )
        file = self.directory / template
        file.write_text(text)
        return file


Command = list[str]


def _nginx(place: Place, _work: Work) -> list[Command]:
    return [["nginx", "-c", str(place.configure("nginx.conf")), "-e", str(place.directory / "error.log")]]


def _haproxy(place: Place, _work: Work) -> list[Command]:
    both = place.site.certificate.read_text() + place.site.key.read_text()
    (place.directory / "cert-and-key.pem").write_text(both)
    return [["haproxy", "-db", "-f", str(place.configure("haproxy.cfg"))]]


def _varnish(place: Place, _work: Work) -> list[Command]:
    place.configure("varnish.vcl")
    lines = place.configure("varnish.args").read_text().splitlines()
    arguments = [word for line in lines if not line.startswith("#") for word in line.split()]
    commands = [["varnishd", *arguments]]
    if place.site.log:
        name, log = str(place.directory / "varnish"), str(place.directory / "access.log")
        commands.append(["varnishncsa", "-n", name, "-w", log, "-t", str(START_SECONDS)])
    return commands


def _dhal(place: Place, _work: Work) -> list[Command]:
    return [[str(place.site.dhal), "run", "-c", str(place.configure("dhal.toml"))]]


def _limit(place: Place, work: Work) -> list[Command]:
    program = place.directory / "bare"
    subprocess.run(["cc", "-O2", "-o", str(program), str(PEERS / "bare.c")], check=True)
    return [[str(program), str(place.plain_port), str(place.site.body(work.body))]]


KINDS: dict[str, Callable[[Place, Work], list[Command]]] = {
    "nginx": _nginx,
    "dhal": _dhal,
    "haproxy": _haproxy,
    "varnish": _varnish,
    "limit": _limit,
}


def kind_of(edge: str) -> str:
    """The kind of a server: its name is `kind` or `kind-variant`."""
    return edge.partition("-")[0]


def missing(kind: str, dhal: Path) -> str | None:
    """The program a kind of server needs and this machine lacks."""
    program = {"dhal": str(dhal), "varnish": "varnishd", "limit": "cc"}.get(kind, kind)
    return None if shutil.which(program) else program


@dataclass
class Server:
    """A running server."""

    name: str
    place: Place
    processes: list[subprocess.Popen[bytes]]

    def pids(self) -> list[int]:
        """All its processes, children included."""
        return cpu.process_tree([process.pid for process in self.processes])

    def logged_bytes(self) -> int | None:
        """How long its access log is, if it is to write one."""
        if not self.place.site.log and self.place.variant != "observed":
            return None
        # HAProxy writes to its standard output, which is a file here.
        file = self.place.directory / ("output" if self.name == "haproxy" else "access.log")
        return file.stat().st_size if file.exists() else 0

    def check(self, work: Work, expect_hit: bool) -> str | None:
        """Asks once as a client would; returns what is wrong with the answer."""
        try:
            status, fields, body = self._get(work)
        except (OSError, http.client.HTTPException) as error:
            return f"no answer: {error}"
        if status != 200:
            return f"status {status}"
        if body != self.place.site.body(work.body).read_bytes():
            return f"wrong body of {len(body)} bytes"
        cache_status = fields.get("Cache-Status", "")
        if expect_hit and kind_of(self.name) == "dhal" and not cache_status.startswith("dhal; hit"):
            return f"no hit: Cache-Status is {cache_status!r}"
        return None

    def _get(self, work: Work) -> tuple[int, http.client.HTTPMessage, bytes]:
        client: http.client.HTTPConnection
        if work.load.is_plain:
            client = http.client.HTTPConnection("127.0.0.1", self.place.plain_port, timeout=5)
        else:
            context = tls_client.client_context(self.place.site.certificate)
            client = http.client.HTTPSConnection("localhost", self.place.tls_port, timeout=5, context=context)
        try:
            # The authority of all our own clients, since it is part of a cache's key.
            client.request("GET", work.path, headers={"Host": tls_client.HOST})
            answer = client.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            client.close()

    def tls(self) -> str:
        """Version and cipher a client gets, to see that all servers do the same work."""
        with tls_client.connect(tls_client.client_context(self.place.site.certificate), self.place.tls_port) as stream:
            name, version, _bits = stream.cipher() or ("none", "none", 0)
            return f"{version} {name}"


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in reversed(processes):
        process.terminate()
    for process in processes:
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def launched(commands: list[Command], cores: list[int], output: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes pinned to cores, stopped at the end."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        with output.open("wb") as file:
            for command in commands:
                pinned = ["taskset", "-c", ",".join(map(str, cores)), *command]
                processes.append(subprocess.Popen(pinned, stdin=subprocess.DEVNULL, stdout=file, stderr=file))
        yield processes
    finally:
        _stop(processes)


@contextmanager
def running(edge: str, site: Site, work: Work) -> Iterator[Server]:
    """A server that answers the work's request, from its cache if it may be cached."""
    with ExitStack() as stack:
        directory = site.directory / edge
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        kind, _, variant = edge.partition("-")
        place = Place(site, directory, free_port(), free_port(), variant)
        output = directory / "output"
        processes = stack.enter_context(launched(KINDS[kind](place, work), place.cores(), output))
        server = Server(edge, place, processes)
        deadline = time.monotonic() + START_SECONDS
        while wrong := server.check(work, expect_hit=False):
            ended = [process for process in processes if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                raise ServerFailed(f"{edge} does not serve ({wrong})\nits last words:\n{output.read_text()[-2000:]}")
            time.sleep(0.05)
        yield server


class Origin:
    """The origin behind the servers."""

    def __init__(self, port: int) -> None:
        self.port = port

    def requests(self) -> int:
        """How many requests reached it until now, this one included."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        client.request("GET", "/origin-status")
        status = client.getresponse().read().decode()
        client.close()
        return int(status.splitlines()[2].split()[2])


@contextmanager
def origin(site: Site) -> Iterator[Origin]:
    """The origin, on the core of the load generator."""
    place = Place(site, site.directory, 0, 0)
    command = ["nginx", "-c", str(place.configure("origin.conf")), "-e", str(site.directory / "error.log")]
    with launched([command], [site.load_core], site.directory / "output"):
        started = Origin(site.origin_port)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                started.requests()
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise ServerFailed(f"the origin does not start: {error}") from error
                time.sleep(0.05)
        yield started
