"""Visitors that count what happens to them: HTTP/1.1 on kept and on fresh connections, HTTP/2, WebSockets.

They do what a browser does and no more: who has read `Connection: close`, GOAWAY or the end of a connection opens
another one, and a stream beyond GOAWAY's last is asked again (RFC 9113 §6.8). Whatever else ends without an answer has
failed.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from lib import echo
from lib.echo import Ended
from lib.h2_streams import PATIENCE, AskAgain, Broken, H2Connection
from lib.tls_client import HOST

# Stored pages, and pages that are never stored, so that the shops are asked all the time.
PATHS = ("/", "/products", "/api/products?per_page=5", "/cart", "/categories/phones", "/api/health")
UPLOAD = b"x" * 2048
UPLOAD_EVERY = 8
STREAMS_AT_ONCE = 4
# Beyond it a server that says GOAWAY to everything would be asked for ever.
ASKED_AGAIN_MAX = 5
ECHO_EVERY = 0.2
ECHOES_OF_A_VISIT = 10
REASONS_KEPT = 20
# Connections begin one after the other, not all in the same moment.
BETWEEN_STARTS = 0.005
# From an answer to the next request, of those in a hurry and of those that rest: reloads and upgrades come in between.
HURRY, REST = 0.02, 3.0


@dataclass
class Tally:
    """What happened to visitors of one kind."""

    requests: int = 0
    connections: int = 0
    asked_again: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    # Seconds since the start of the run, and what failed.
    failures: list[tuple[float, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def failed(self) -> int:
        """How many requests."""
        return self.reasons.total()

    def took(self, seconds: float) -> None:
        """A request that was answered."""
        self.requests += 1
        self.times.append(seconds)

    def broke(self, moment: float, why: str) -> None:
        """A request that was not."""
        self.requests += 1
        self.reasons[why] += 1
        if len(self.failures) < REASONS_KEPT:
            self.failures.append((round(moment, 3), why))


@dataclass
class Sockets:
    """WebSockets that are to last as long as the run."""

    opened: int = 0
    echoes: int = 0
    # Seconds since the start of the run, and what was seen.
    closed: list[tuple[float, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Counts:
    """How many of each kind at once."""

    kept: int = 12
    kept_tls: int = 6
    resting: int = 20
    resting_h2: int = 10
    fresh: int = 4
    fresh_tls: int = 3
    h2: int = 6
    sockets: int = 200
    brief_sockets: int = 6


@dataclass
class Door:
    """Where visitors come in: the plain and the TLS port, and whom they believe."""

    http: int
    https: int
    h1: ssl.SSLContext
    h2: ssl.SSLContext

    async def connect(self, is_tls: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection, after its handshake."""
        made = asyncio.open_connection("127.0.0.1", self.https if is_tls else self.http,
                                       ssl=self.h1 if is_tls else None, server_hostname=HOST if is_tls else None)
        return await asyncio.wait_for(made, PATIENCE)


def request(path: str, upload: bytes | None, is_last: bool) -> bytes:
    """A GET, or a POST where there is something to upload."""
    first = f"{'GET' if upload is None else 'POST'} {path} HTTP/1.1\r\nHost: {HOST}\r\n"
    length = "" if upload is None else f"Content-Length: {len(upload)}\r\n"
    last = "Connection: close\r\n" if is_last else ""
    return (first + length + last + "\r\n").encode() + (upload or b"")


async def _body(reader: asyncio.StreamReader, fields: dict[bytes, bytes]) -> bytes:
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        body = bytearray()
        while size := int((await reader.readline()).partition(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:-2]
        while (await reader.readline()).strip():
            continue
        return bytes(body)
    if b"content-length" not in fields:
        raise Broken("an answer without a length")
    return await reader.readexactly(int(fields[b"content-length"]))


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, upload: bytes | None, is_last: bool = False
) -> bool:
    """One request with its complete answer; whether another one may follow on the connection."""
    writer.write(request(path, upload, is_last))
    first, fields = await echo.read_head(reader)
    body = await _body(reader, fields)
    if not first.startswith(b"HTTP/1.1 2"):
        raise Broken(f"{first[:40].decode(errors='replace')} for {path}")
    if upload is not None and not body.startswith(b"%d " % len(upload)):
        raise Broken(f"an upload that arrived as {body[:20]!r}")
    return b"close" not in fields.get(b"connection", b"").lower()


def told(error: BaseException) -> str:
    """A failure in a few words, the same for the same."""
    match error:
        case Broken():
            return str(error)
        case asyncio.IncompleteReadError():
            return "cut off within the answer" if error.partial else "closed without an answer"
        case TimeoutError():
            return f"nothing within {PATIENCE:.0f} s"
        case _:
            return f"{type(error).__name__}: {error}"[:80]


FAILURES = (Broken, OSError, EOFError, TimeoutError, ValueError, Ended)


class Visitors(threading.Thread):
    """All of them, in a thread of their own, from `start` to `finish`."""

    def __init__(self, door: Door, counts: Counts) -> None:
        super().__init__(daemon=True)
        self.door, self.counts = door, counts
        self.tallies: dict[str, Tally] = {}
        self.sockets = Sockets()
        self.began = time.monotonic()
        self.stopping = threading.Event()
        self.connected = threading.Event()
        self.wrong: BaseException | None = None

    def run(self) -> None:
        try:
            asyncio.run(self._all())
        except BaseException as error:
            self.wrong = error
            self.connected.set()

    def finish(self) -> None:
        """Has everybody end what he is at and leave."""
        self.stopping.set()
        self.join(2 * PATIENCE)
        if self.wrong:
            raise self.wrong
        if self.is_alive():
            raise TimeoutError("visitors do not leave")

    def moment(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.began

    async def _all(self) -> None:
        counts, tasks = self.counts, []
        kinds: list[tuple[str, int, Callable[[Tally], Awaitable[None]]]] = [
            ("HTTP/1.1, kept connections", counts.kept, lambda tally: self._kept(tally, False, HURRY)),
            ("HTTP/1.1 over TLS, kept connections", counts.kept_tls, lambda tally: self._kept(tally, True, HURRY)),
            ("HTTP/1.1, kept connections that rest", counts.resting, lambda tally: self._kept(tally, False, REST)),
            ("HTTP/1.1, a connection each", counts.fresh, lambda tally: self._fresh(tally, False)),
            ("HTTP/1.1 over TLS, a handshake each", counts.fresh_tls, lambda tally: self._fresh(tally, True)),
            ("HTTP/2 over TLS", counts.h2, lambda tally: self._h2(tally, HURRY)),
            ("HTTP/2 over TLS, connections that rest", counts.resting_h2, lambda tally: self._h2(tally, REST)),
            ("WebSockets of two seconds", counts.brief_sockets, self._brief_socket),
        ]
        for number in range(counts.sockets):
            tasks.append(asyncio.ensure_future(self._socket(is_tls=number % 2 == 1)))
            await asyncio.sleep(BETWEEN_STARTS)
        for name, count, visit in kinds:
            tally = self.tallies[name] = Tally()
            for _ in range(count):
                tasks.append(asyncio.ensure_future(visit(tally)))
                await asyncio.sleep(BETWEEN_STARTS)
        self.connected.set()
        await asyncio.gather(*tasks)

    async def _kept(self, tally: Tally, is_tls: bool, pause: float) -> None:
        """One request after the other, on the same connection for as long as the server keeps it."""
        streams = None
        number = 0
        while not self.stopping.is_set():
            number += 1
            is_upload = number % UPLOAD_EVERY == 0
            began = time.monotonic()
            try:
                # An end that has arrived is no failure: nothing was asked.
                if streams is None or streams[0].at_eof():
                    if streams:
                        streams[1].close()
                    streams = await self.door.connect(is_tls)
                    tally.connections += 1
                path, upload = ("/take", UPLOAD) if is_upload else (PATHS[number % len(PATHS)], None)
                stays = await asyncio.wait_for(exchange(*streams, path, upload), PATIENCE)
                tally.took(time.monotonic() - began)
            except FAILURES as error:
                tally.broke(self.moment(), told(error))
                stays = False
            if not stays and streams:
                streams[1].close()
                streams = None
            await asyncio.sleep(pause)
        if streams:
            streams[1].close()

    async def _fresh(self, tally: Tally, is_tls: bool) -> None:
        """A connection for each request."""
        number = 0
        while not self.stopping.is_set():
            number += 1
            began = time.monotonic()
            writer = None
            try:
                reader, writer = await self.door.connect(is_tls)
                tally.connections += 1
                path = PATHS[number % len(PATHS)]
                await asyncio.wait_for(exchange(reader, writer, path, None, number % 2 == 0), PATIENCE)
                tally.took(time.monotonic() - began)
            except FAILURES as error:
                tally.broke(self.moment(), told(error))
            if writer:
                writer.close()
            await asyncio.sleep(0.03)

    async def _h2(self, tally: Tally, pause: float) -> None:
        """Some streams at once, again and again."""
        connection: H2Connection | None = None
        loop = asyncio.get_running_loop()
        number = 0

        async def one(path: str) -> None:
            nonlocal connection
            began = time.monotonic()
            try:
                for _ in range(ASKED_AGAIN_MAX):
                    async with opening:
                        if connection is None or not connection.is_open():
                            made = loop.create_connection(
                                H2Connection, "127.0.0.1", self.door.https, ssl=self.door.h2, server_hostname=HOST)
                            if connection:
                                leaving.append(connection)
                            connection = None
                            _, connection = await asyncio.wait_for(made, PATIENCE)
                            tally.connections += 1
                    try:
                        await connection.get(path)
                        tally.took(time.monotonic() - began)
                        return
                    except AskAgain:
                        tally.asked_again += 1
                raise Broken(f"refused {ASKED_AGAIN_MAX} times")
            except FAILURES as error:
                tally.broke(self.moment(), told(error))

        opening = asyncio.Lock()
        leaving: list[H2Connection] = []
        while not self.stopping.is_set():
            paths = [PATHS[(number + place) % len(PATHS)] for place in range(STREAMS_AT_ONCE)]
            number += STREAMS_AT_ONCE
            await asyncio.gather(*map(one, paths))
            for left in leaving:
                left.transport.close()
            leaving.clear()
            await asyncio.sleep(pause)
        if connection:
            connection.transport.close()

    async def _open_socket(self, is_tls: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await self.door.connect(is_tls)
        key = base64.b64encode(os.urandom(16))
        writer.write(b"GET /ws HTTP/1.1\r\nHost: " + HOST.encode() + b"\r\nUpgrade: websocket\r\n"
                     b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n")
        try:
            first, fields = await asyncio.wait_for(echo.read_head(reader), PATIENCE)
            if not first.startswith(b"HTTP/1.1 101") or fields.get(b"sec-websocket-accept") != echo.accept_key(key):
                raise Broken(f"no WebSocket: {first[:40].decode(errors='replace')}")
        except BaseException:
            writer.close()
            raise
        return reader, writer

    @staticmethod
    async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        said = b"message %d" % number
        writer.write(echo.frame(echo.TEXT, said, is_masked=True))
        opcode, heard = await asyncio.wait_for(echo.read_frame(reader), PATIENCE)
        if (opcode, heard) != (echo.TEXT, said):
            raise Ended(f"{heard[:40]!r} instead of {said!r}")

    async def _socket(self, is_tls: bool) -> None:
        """One WebSocket for the whole run."""
        try:
            reader, writer = await self._open_socket(is_tls)
        except FAILURES as error:
            self.sockets.closed.append((self.moment(), f"never opened: {told(error)}"))
            return
        self.sockets.opened += 1
        number = 0
        try:
            while not self.stopping.is_set():
                number += 1
                began = time.monotonic()
                await self._echo(reader, writer, number)
                self.sockets.times.append(time.monotonic() - began)
                self.sockets.echoes += 1
                await asyncio.sleep(ECHO_EVERY)
            await self._leave(reader, writer)
        except FAILURES as error:
            self.sockets.closed.append((self.moment(), told(error)))
        finally:
            writer.close()

    @staticmethod
    async def _leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The closing handshake."""
        writer.write(echo.frame(echo.CLOSE, (1000).to_bytes(2, "big"), is_masked=True))
        opcode, _ = await asyncio.wait_for(echo.read_frame(reader), PATIENCE)
        if opcode != echo.CLOSE:
            raise Ended(f"opcode {opcode} instead of a close")

    async def _brief_socket(self, tally: Tally) -> None:
        """A WebSocket after the other, each with its opening, some messages, and the closing handshake."""
        visit = 0
        while not self.stopping.is_set():
            visit += 1
            began = time.monotonic()
            writer = None
            try:
                reader, writer = await self._open_socket(is_tls=visit % 2 == 1)
                tally.connections += 1
                opened = time.monotonic() - began
                for number in range(ECHOES_OF_A_VISIT):
                    await self._echo(reader, writer, number)
                    await asyncio.sleep(ECHO_EVERY)
                await self._leave(reader, writer)
                tally.took(opened)
            except FAILURES as error:
                tally.broke(self.moment(), told(error))
            if writer:
                writer.close()


def listening(port: int) -> bool:
    """Whether somebody accepts there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
