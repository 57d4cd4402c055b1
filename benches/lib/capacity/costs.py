"""CPU time of the edge for each kind of work, over TLS as visitors come, in rounds."""

import re
import ssl
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lib import cpu, servers, tls_client
from lib.load import H2_CONNECTIONS, H2_STREAMS, LoadFailed
from lib.servers import Origin, Server, Site
from lib.works import BODY_BYTES, Load, Work

# Of new connections in one round: enough that a clock's tick does not show, few enough for three rounds in seconds.
HANDSHAKES = 400
MISSES = 8_000
# Visitors who each ask for one thing now and then: nothing of theirs shares a read or a write.
CROWD_CONNECTIONS = 64
# Of a round, so many that the handshakes before them do not show. Not a time: h2load may wait for ever where a
# connection is made when it is over.
CROWD_REQUESTS = 30_000
PAGE_REQUESTS = 80_000
SETTLE_SECONDS = 0.1
# A core that did this much for others makes a round worth less.
FOREIGN_SHARE_MAX = 0.10
# The route that admits one request an hour, in `peers/dhal.toml`.
REFUSED_PATH = "/refused/1k"


@dataclass
class Cost:
    """A kind of work: µs of the edge's CPU for each unit, round by round."""

    key: str
    title: str
    rounds: list[float] = field(default_factory=list)
    disturbed: int = 0

    def figures(self) -> dict[str, object]:
        """As they stand in the JSON."""
        return {
            "title": self.title,
            "us": round(statistics.median(self.rounds), 2),
            "rounds": [round(value, 2) for value in self.rounds],
            "disturbed_rounds": self.disturbed,
        }


@contextmanager
def timed(pids: list[int], core: int | None, units: list[int], cost: Cost) -> Iterator[None]:
    """What the processes spend while this lasts, divided by the sum of `units`, is a round of the cost."""
    times, start = cpu.thread_times(pids), time.monotonic()
    ticks = cpu.core_ticks(core) if core is not None else (0, 0)
    yield
    time.sleep(SETTLE_SECONDS)
    wall = time.monotonic() - start
    spent = cpu.Spent.between(times, cpu.thread_times(pids)).nanoseconds
    cost.rounds.append(spent / sum(units) / 1e3)
    if core is not None:
        busy, stolen = (now - then for now, then in zip(cpu.core_ticks(core), ticks))
        others = (busy + stolen) / 100 / wall - spent / 1e9 / wall
        cost.disturbed += others > FOREIGN_SHARE_MAX


def _found(pattern: str, text: str) -> int:
    found = re.search(pattern, text, re.MULTILINE)
    if not found:
        raise LoadFailed(f"no {pattern!r} in:\n{text}")
    return int(found[1])


def h2load(port: int, path: str, wanted: str, requests: int | None = None,
           fields: list[str] | None = None, list_of: Path | None = None, crowd: bool = False) -> int:
    """Requests over HTTP/2 whose answers must all be of the class `wanted`, such as `4xx`; how many there were.

    They come as pages load, many at once on few connections, or one by one from a crowd.
    """
    url = f"https://{tls_client.HOST}:{port}"
    requests = requests or (CROWD_REQUESTS if crowd else PAGE_REQUESTS)
    # Each connection goes through the whole list.
    clients, streams = (1, 2 * H2_STREAMS) if list_of else (CROWD_CONNECTIONS, 1) if crowd else (
        H2_CONNECTIONS, H2_STREAMS)
    command = ["h2load", "-t1", f"-c{clients}", f"-m{streams}", f"--connect-to=127.0.0.1:{port}", f"-n{requests}",
               *(f"--header={one}" for one in fields or [])]
    command += [f"--input-file={list_of}", f"--base-uri={url}/"] if list_of else [url + path]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired as late:
        raise LoadFailed(f"{path}: h2load did not end") from late
    count = _found(rf"^status codes: .*?(\d+) {wanted}", done.stdout)
    if count != requests:
        raise LoadFailed(f"{path}: {count} of {requests} answers were {wanted}\n{done.stdout}")
    return count


def wrk(port: int, path: str, seconds: int) -> int:
    """Requests over HTTP/1.1 and TLS, all answered with 2xx."""
    url = f"https://{tls_client.HOST}:{port}{path}"
    done = subprocess.run(["wrk", "-t1", "-c32", f"-d{seconds}s", url], capture_output=True, text=True, timeout=60)
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise LoadFailed(f"{path}: {done.stdout}")
    return _found(r"^\s*(\d+) requests in", done.stdout)


def connections(certificate: Path, port: int, path: str, body: int, count: int, resume: bool) -> int:
    """New connections with one request each; with `resume`, each begins with the session of the one before."""
    context = tls_client.client_context(certificate)
    session: ssl.SSLSession | None = None
    resumed = 0
    for _ in range(count):
        raw = tls_client.connect_plain(port)
        with context.wrap_socket(raw, server_hostname=tls_client.HOST, session=session) as stream:
            resumed += stream.session_reused is True
            tls_client.request(stream, path, body)
            session = stream.session if resume else None
    # The first one had nothing to begin with.
    wanted = count - 1 if resume else 0
    if resumed != wanted:
        raise LoadFailed(f"{resumed} of {count} handshakes were resumed, not {wanted}")
    return count


def _misses(place: servers.Place, number: int) -> int:
    """Each a page that nobody has asked for."""
    file = place.directory / "misses"
    file.write_text("".join(f"/1k?{number}-{page}\n" for page in range(MISSES)))
    return h2load(place.tls_port, "misses", "2xx", requests=MISSES, list_of=file)


def _kinds(server: Server) -> dict[str, tuple[str, Callable[[int], int], int | None]]:
    """What each is called, what puts it on the server (given the round's number) and how many of its requests the
    origin must have seen, as a share in percent; None where it does not matter."""
    place = server.place
    port, certificate = place.tls_port, place.site.certificate
    one = BODY_BYTES["1k"]

    def of_handshakes(resume: bool) -> Callable[[int], int]:
        return lambda _: connections(certificate, port, "/1k", one, HANDSHAKES, resume)

    def of_h2(path: str, wanted: str = "2xx", crowd: bool = False) -> Callable[[int], int]:
        return lambda _: h2load(port, path, wanted, crowd=crowd)

    def of_wrk(path: str) -> Callable[[int], int]:
        return lambda _: wrk(port, path, 1)

    return {
        "handshake-full": ("new connection, full TLS 1.3 handshake (X25519), one hit of 1 KiB over HTTP/1.1",
                           of_handshakes(False), 0),
        "handshake-resumed": ("new connection, resumed TLS 1.3 handshake, one hit of 1 KiB over HTTP/1.1",
                              of_handshakes(True), 0),
        "hit-tls-1k": ("hit of 1 KiB, HTTP/1.1 over TLS", of_wrk("/1k"), 0),
        "hit-tls-12k": ("hit of 12 KiB, HTTP/1.1 over TLS", of_wrk("/12k"), 0),
        "hit-h2-1k": ("hit of 1 KiB, HTTP/2, many at once", of_h2("/1k"), 0),
        "hit-h2-12k": ("hit of 12 KiB, HTTP/2, many at once", of_h2("/12k"), 0),
        "hit-h2-crowd": ("hit of 1 KiB, HTTP/2, one by one", of_h2("/1k", crowd=True), 0),
        "miss-h2-1k": ("miss of 1 KiB that is stored, HTTP/2, many at once", lambda number: _misses(place, number), 100),
        "pass-h2-12k": ("pass-through of 12 KiB, HTTP/2, one by one", of_h2("/pass/12k", crowd=True), 100),
        "refused-h2": ("request refused by a limit (429), HTTP/2, one by one", of_h2(REFUSED_PATH, "4xx", crowd=True), 0),
    }


def measure(site: Site, origin: Origin, rounds: int) -> list[Cost]:
    """All kinds in turn, so that what disturbs one disturbs all."""
    work = Work("hit-h2-1k", "", Load.TLS_H2, "1k", ("dhal",))
    with servers.running("dhal-refusing", site, work) as server:
        kinds = _kinds(server)
        costs = {key: Cost(key, title) for key, (title, _, _) in kinds.items()}
        pids = server.pids()
        for number in range(rounds + 1):
            for key, (_, run, share) in kinds.items():
                asked = origin.requests()
                cost, units = costs[key], [0]
                with timed(pids, site.server_core, units, cost):
                    units[0] = run(number)
                seen = origin.requests() - asked
                if seen < units[0] * (share or 0) // 100 or (share == 0 and seen > 8):
                    raise LoadFailed(f"{key}: the origin saw {seen} of {units[0]} requests")
                if number == 0:
                    # The first turn warms up, and fills the store.
                    cost.rounds.clear()
                    cost.disturbed = 0
        if wrong := server.check(work, expect_hit=True):
            raise LoadFailed(wrong)
    return list(costs.values())
