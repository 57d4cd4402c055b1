"""What a poll of the waiting room costs: over a connection that stays, and over a new one each time."""

import http.client
import subprocess
import sys
from pathlib import Path

from lib import servers, tls_client
from lib.capacity.costs import HANDSHAKES, Cost, h2load, timed
from lib.load import LoadFailed
from lib.servers import Site
from lib.works import Load, Work

ROOM_PATH = "/.dhal/rooms/sale"
COOKIE = "dhal_room_sale"


def _refusal(dhal: Path, file: Path) -> str | None:
    """Why this binary does not take the configuration; its first sentence."""
    done = subprocess.run([dhal, "check", "-c", file], capture_output=True, text=True, timeout=30)
    first = next(iter(done.stderr.strip().splitlines()), "refused")
    # Without the file's name, which is a temporary one.
    return None if done.returncode == 0 else first.rpartition("error: ")[2]


def _ask(site: Site, port: int, path: str, cookie: str = "") -> http.client.HTTPResponse:
    context = tls_client.client_context(site.certificate)
    client = http.client.HTTPSConnection(tls_client.HOST, port, timeout=5, context=context)
    client.sock = tls_client.connect(context, port)
    try:
        fields = {"Host": tls_client.HOST, "Accept": "text/html"} | ({"Cookie": cookie} if cookie else {})
        client.request("GET", path, headers=fields)
        answer = client.getresponse()
        answer.content_bytes = len(answer.read())  # type: ignore[attr-defined]
        return answer
    finally:
        client.close()


def _ticket(site: Site, port: int) -> tuple[str, int]:
    """A place in the queue behind the one visitor that is let in, and the size of the page that says so."""
    for _ in range(3):
        answer = _ask(site, port, "/1k")
        cookie = answer.headers.get("Set-Cookie", "").partition(";")[0]
        if answer.status == 503 and cookie.startswith(f"{COOKIE}="):
            return cookie, answer.content_bytes  # type: ignore[attr-defined]
    raise LoadFailed(f"nobody has to wait: the last answer was {answer.status}")


def _polls(site: Site, port: int, cookie: str, status: int) -> int:
    """One on each of many new connections, resumed like a browser's."""
    context = tls_client.client_context(site.certificate)
    session = None
    asked = f"GET {ROOM_PATH} HTTP/1.1\r\nHost: {tls_client.HOST}\r\nCookie: {cookie}\r\n\r\n".encode()
    for _ in range(HANDSHAKES):
        raw = tls_client.connect_plain(port)
        with context.wrap_socket(raw, server_hostname=tls_client.HOST, session=session) as stream:
            stream.sendall(asked)
            answer = stream.recv(65536)
            session = stream.session
        if not answer.startswith(f"HTTP/1.1 {status}".encode()):
            raise LoadFailed(f"a poll was answered {answer[:40]!r}")
    return HANDSHAKES


def measure(site: Site, rounds: int) -> tuple[list[Cost], dict[str, object]]:
    """The costs, none where the binary knows no waiting rooms, and the bytes of page and poll."""
    work = Work("room", "", Load.TLS_H2, "1k", ("dhal",))
    directory = site.directory / "room-check"
    directory.mkdir()
    place = servers.Place(site, directory, servers.free_port(), servers.free_port(), "room")
    if why := _refusal(site.dhal, place.configure("dhal.toml")):
        if "`waiting_rooms`" not in why:
            raise LoadFailed(f"the waiting room's configuration is refused: {why}")
        print(f"\n!!! LEFT OUT: polls of the waiting room, since this dhal has none ({why}) !!!\n", file=sys.stderr)
        return [], {"left_out": why}
    with servers.running("dhal-room", site, work) as server:
        port = server.place.tls_port
        cookie, page_bytes = _ticket(site, port)
        answer = _ask(site, port, ROOM_PATH, cookie)
        status = answer.status
        kept = Cost("poll-h2", "poll of the waiting room over a connection that stays, HTTP/2")
        new = Cost("poll-new", "poll over a new connection, resumed TLS 1.3 handshake, HTTP/1.1")
        for number in range(rounds + 1):
            for cost in (kept, new):
                units = [0]
                with timed(server.pids(), site.server_core, units, cost):
                    if cost is kept:
                        fields = [f"cookie: {cookie}"]
                        units[0] = h2load(port, ROOM_PATH, f"{status // 100}xx", fields=fields, crowd=True)
                    else:
                        units[0] = _polls(site, port, cookie, status)
                if number == 0:
                    cost.rounds.clear()
                    cost.disturbed = 0
    return [kept, new], {
        "page_bytes": page_bytes,
        "poll_bytes": answer.content_bytes,  # type: ignore[attr-defined]
    }
