"""What a poll of the waiting room costs: over a connection that stays, and over a new one each time.

A poll is what a browser does at the room's page: it asks for the same page again, with its ticket, and gets 503, the page
and a ticket signed anew.
"""

import re
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from lib import servers, tls_client
from lib.capacity.costs import HANDSHAKES, Cost, h2load, timed
from lib.capacity.shop import BROWSER, transferred
from lib.load import LoadFailed
from lib.servers import Site
from lib.works import Load, Work

PATH = "/1k"
STATUS = 503
COOKIE = "dhal_room_sale"
# Of which the bytes are the median: some carry TLS's tickets, and places have one digit or two.
POLLS_WEIGHED = 9
SETTLE_SECONDS = 0.05


def _refusal(dhal: Path, file: Path) -> str | None:
    """Why this binary does not take the configuration; its first sentence."""
    done = subprocess.run([dhal, "check", "-c", file], capture_output=True, text=True, timeout=30)
    first = next(iter(done.stderr.strip().splitlines()), "refused")
    # Without the file's name, which is a temporary one.
    return None if done.returncode == 0 else first.rpartition("error: ")[2]


@dataclass(frozen=True)
class Answer:
    """Of the edge to a browser."""

    status: int
    cookie: str
    content_bytes: int


def _ask(stream: socket.socket, cookie: str = "") -> Answer:
    """Asks for the page as a browser does, and reads the whole answer."""
    fields = BROWSER | ({"Cookie": cookie} if cookie else {})
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    stream.sendall(f"GET {PATH} HTTP/1.1\r\n{head}\r\n".encode())
    answer, wanted = bytearray(), None
    while wanted is None or len(answer) < wanted:
        part = stream.recv(65536)
        if not part:
            raise LoadFailed(f"a poll's answer broke off after {len(answer)} bytes")
        answer += part
        if wanted is None and (end := answer.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"\r\ncontent-length: *(\d+)", answer[:end], re.IGNORECASE)
            if not length:
                raise LoadFailed(f"a poll's answer has no length: {bytes(answer[:end])!r}")
            wanted = end + 4 + int(length[1])
    head_text = answer.partition(b"\r\n\r\n")[0].decode("latin-1")
    set_cookie = re.search(rf"^set-cookie: *({COOKIE}=[^;\r]*)", head_text, re.IGNORECASE | re.MULTILINE)
    content = len(answer) - len(head_text) - 4
    return Answer(int(head_text.split()[1]), set_cookie[1] if set_cookie else "", content)


def _is_poll(answer: Answer) -> bool:
    return answer.status == STATUS and bool(answer.cookie)


def _ticket(site: Site, port: int) -> tuple[str, int]:
    """A place in the queue behind the one visitor that is let in, and the size of the page that says so."""
    context = tls_client.client_context(site.certificate)
    # Who is let in counts when the cookie comes back.
    with tls_client.connect(context, port) as stream:
        first = _ask(stream)
        _ask(stream, first.cookie)
    for _ in range(3):
        with tls_client.connect(context, port) as stream:
            answer = _ask(stream)
            if _is_poll(answer):
                # So does who waits.
                answer = _ask(stream, answer.cookie)
        if _is_poll(answer):
            return answer.cookie, answer.content_bytes
    raise LoadFailed(f"nobody has to wait: the last answer was {answer.status}")


def _poll_bytes(site: Site, port: int, cookie: str) -> int:
    """What one poll receives over a connection that stays: head, ticket, page and TLS; without TCP and IP."""
    received = []
    with tls_client.connect(tls_client.client_context(site.certificate), port) as stream:
        for _ in range(POLLS_WEIGHED + 1):
            before, _sent = transferred(stream)
            if not _is_poll(answer := _ask(stream, cookie)):
                raise LoadFailed(f"a poll was answered {answer}")
            time.sleep(SETTLE_SECONDS)
            received.append(transferred(stream)[0] - before)
    # The first one has the tickets of the handshake beside it.
    return round(statistics.median(received[1:]))


def _polls(site: Site, port: int, cookie: str) -> int:
    """One on each of many new connections, resumed like a browser's."""
    context = tls_client.client_context(site.certificate)
    session = None
    for _ in range(HANDSHAKES):
        raw = tls_client.connect_plain(port)
        with context.wrap_socket(raw, server_hostname=tls_client.HOST, session=session) as stream:
            answer = _ask(stream, cookie)
            session = stream.session
        if not _is_poll(answer):
            raise LoadFailed(f"a poll was answered {answer}")
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
        poll_bytes = _poll_bytes(site, port, cookie)
        fields = [f"{name}: {value}" for name, value in BROWSER.items() if name != "Host"] + [f"cookie: {cookie}"]
        kept = Cost("poll-h2", "poll of the waiting room over a connection that stays, HTTP/2")
        new = Cost("poll-new", "poll over a new connection, resumed TLS 1.3 handshake, HTTP/1.1")
        for number in range(rounds + 1):
            for cost in (kept, new):
                units = [0]
                with timed(server.pids(), site.server_core, units, cost):
                    if cost is kept:
                        units[0] = h2load(port, PATH, f"{STATUS // 100}xx", fields=fields, crowd=True)
                    else:
                        units[0] = _polls(site, port, cookie)
                if number == 0:
                    cost.rounds.clear()
                    cost.disturbed = 0
    return [kept, new], {"page_bytes": page_bytes, "poll_bytes": poll_bytes}
