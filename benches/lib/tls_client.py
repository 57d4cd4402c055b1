"""A small HTTP/1.1 client, plain and over TLS 1.3, for what no load generator does.

It never offers a session, so every TLS connection is a full handshake.
"""

import socket
import ssl
import time
from pathlib import Path

HOST = "localhost"
TIMEOUT_SECONDS = 10
HANDSHAKES_MAX = 2000


class WrongAnswer(Exception):
    """The server answered something else than 200 with the expected length."""


def client_context(certificate: Path) -> ssl.SSLContext:
    """Verifies the server, and speaks TLS 1.3 only."""
    context = ssl.create_default_context(cafile=str(certificate))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def connect_plain(port: int) -> socket.socket:
    """A new connection."""
    raw = socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return raw


def connect(context: ssl.SSLContext, port: int) -> ssl.SSLSocket:
    """A new connection after its handshake."""
    raw = connect_plain(port)
    try:
        return context.wrap_socket(raw, server_hostname=HOST)
    except BaseException:
        raw.close()
        raise


def request(stream: socket.socket, path: str, body_bytes: int) -> None:
    """One GET whose answer must be a 200 with a body of the given length; leaves the connection open."""
    stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    answer = bytearray()
    while (end_of_head := answer.find(b"\r\n\r\n")) < 0 or len(answer) < end_of_head + 4 + body_bytes:
        part = stream.recv(65536)
        if not part:
            raise WrongAnswer(f"closed after {len(answer)} bytes")
        answer += part
    if not answer.startswith(b"HTTP/1.1 200") or len(answer) != end_of_head + 4 + body_bytes:
        raise WrongAnswer(f"{bytes(answer[:40])!r}, {len(answer)} bytes")


def handshakes(context: ssl.SSLContext, port: int, path: str, body_bytes: int, seconds: float) -> list[float]:
    """One request on each of many new connections, one after the other: how long each took, in seconds."""
    times: list[float] = []
    end = time.monotonic() + seconds
    while (start := time.monotonic()) < end and len(times) < HANDSHAKES_MAX:
        with connect(context, port) as stream:
            request(stream, path, body_bytes)
        times.append(time.monotonic() - start)
    return times
