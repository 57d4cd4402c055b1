"""As much HTTP/2 (RFC 9113) as idle connections and stalled streams take: requests out, frames in."""

import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lib import tls_client
from lib.tls_client import WrongAnswer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
REFUSED_STREAM = 7
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
INITIAL_WINDOW_SIZE = 4
FRAME_HEAD_BYTES = 9
READ_BYTES = 65536


@dataclass(frozen=True)
class Frame:
    """One frame."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    def encoded(self) -> bytes:
        """As it goes over the wire."""
        return b"".join((len(self.payload).to_bytes(3, "big"), bytes((self.kind, self.flags)),
                         self.stream.to_bytes(4, "big"), self.payload))


def take_frames(received: bytearray) -> Iterator[Frame]:
    """The complete frames at the front, which are removed."""
    while len(received) >= FRAME_HEAD_BYTES:
        end = FRAME_HEAD_BYTES + int.from_bytes(received[:3], "big")
        if len(received) < end:
            return
        stream = int.from_bytes(received[5:FRAME_HEAD_BYTES], "big") & 0x7FFFFFFF
        frame = Frame(received[3], received[4], stream, bytes(received[FRAME_HEAD_BYTES:end]))
        del received[:end]
        yield frame


def _literal(text: str) -> bytes:
    octets = text.encode()
    if len(octets) > 126:
        raise ValueError(f"too long for one octet of length: {text}")
    return bytes((len(octets),)) + octets


def get(stream: int, path: str) -> Frame:
    """A GET in one frame, its fields by RFC 7541's static table, nothing indexed or compressed."""
    fields = b"\x82\x87\x04" + _literal(path) + b"\x01" + _literal(tls_client.HOST)
    return Frame(HEADERS, END_STREAM | END_HEADERS, stream, fields)


def client_context(certificate: Path) -> ssl.SSLContext:
    """Verifies the server, and speaks TLS 1.3 and HTTP/2 only."""
    context = tls_client.client_context(certificate)
    context.set_alpn_protocols(["h2"])
    return context


class Connection:
    """A connection after its preface; `window` is what each stream may send, 64 KiB where it is not given."""

    def __init__(self, context: ssl.SSLContext, port: int, window: int | None = None) -> None:
        self.stream = tls_client.connect(context, port)
        if self.stream.selected_alpn_protocol() != "h2":
            self.stream.close()
            raise WrongAnswer("the server does not speak h2")
        self.received = bytearray()
        setting = b"" if window is None else INITIAL_WINDOW_SIZE.to_bytes(2, "big") + window.to_bytes(4, "big")
        self.stream.sendall(PREFACE + Frame(SETTINGS, 0, 0, setting).encoded())

    def send(self, *frames: Frame) -> None:
        """All frames in one write."""
        self.stream.sendall(b"".join(frame.encoded() for frame in frames))

    def frames(self, deadline: float | None = None) -> Iterator[Frame]:
        """What comes, as it comes. Settings and pings are answered, the end of the connection is an error."""
        while True:
            if deadline:
                # Nothing at all would mean "without a limit".
                self.stream.settimeout(max(0.001, deadline - time.monotonic()))
            for frame in take_frames(self.received):
                if frame.kind == RST_STREAM:
                    raise WrongAnswer(f"the server reset a stream, error {int.from_bytes(frame.payload, 'big')}")
                if frame.kind in (SETTINGS, PING) and not frame.flags & ACK:
                    self.send(Frame(frame.kind, ACK, 0, frame.payload if frame.kind == PING else b""))
                if frame.kind == GOAWAY:
                    raise WrongAnswer(f"the server said GOAWAY, error {int.from_bytes(frame.payload[4:8], 'big')}")
                yield frame
            part = self.stream.recv(READ_BYTES)
            if not part:
                raise WrongAnswer("the server closed the connection")
            self.received += part

    def request(self, stream: int, path: str, body_bytes: int) -> None:
        """One GET, whose answer must be a 200 with a body of that length."""
        self.send(get(stream, path))
        body = 0
        for frame in self.frames():
            if frame.stream != stream:
                continue
            if frame.kind == HEADERS:
                expect_200(frame)
            body += len(frame.payload) if frame.kind == DATA else 0
            if frame.flags & END_STREAM and frame.kind in (DATA, HEADERS):
                break
        if body != body_bytes:
            raise WrongAnswer(f"a body of {body} bytes")

    def stall(self, requests: int, path: str) -> None:
        """Sends requests that nothing will be read of but their heads."""
        self.send(*(get(2 * number + 1, path) for number in range(requests)))

    def heads(self, wanted: int, deadline: float) -> int:
        """How many heads of answers come until the deadline, and no more than wanted."""
        seen = 0
        try:
            for frame in self.frames(deadline):
                if frame.kind == HEADERS:
                    expect_200(frame)
                    seen += 1
                    if seen == wanted:
                        break
        except TimeoutError:
            pass
        return seen

    def detach(self) -> socket.socket:
        """The bare socket, which keeps the connection open and nothing of TLS or HTTP/2 in memory."""
        return socket.socket(fileno=self.stream.detach())

    def close(self) -> None:
        """Closes the connection without a word."""
        self.stream.close()


def expect_200(headers: Frame) -> None:
    """The first field must be the static table's `:status: 200`, after changes of the dynamic table's size."""
    fields = headers.payload
    while fields and fields[0] & 0xE0 == 0x20:
        fields = fields[1:]
    if fields[:1] != b"\x88":
        raise WrongAnswer(f"an answer that does not begin with 200: {fields[:8]!r}")
