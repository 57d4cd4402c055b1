"""An HTTP/2 connection (RFC 9113) that tells failed streams from those that GOAWAY gives back."""

from __future__ import annotations

import asyncio

from lib import h2_client

# Seconds that an answer may take.
PATIENCE = 20.0


class Broken(Exception):
    """A request that failed, and how."""


class AskAgain(Exception):
    """A stream that the server has said it did not look at."""


class H2Connection(asyncio.Protocol):
    """An HTTP/2 connection whose streams are awaited."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.next_stream = 1
        self.waiting: dict[int, asyncio.Future[None]] = {}
        # The last stream that the server looks at, once it has said GOAWAY.
        self.last: int | None = None
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        window = h2_client.INITIAL_WINDOW_SIZE.to_bytes(2, "big") + (1 << 20).to_bytes(4, "big")
        settings = h2_client.Frame(h2_client.SETTINGS, 0, 0, window)
        transport.write(h2_client.PREFACE + settings.encoded())

    def is_open(self) -> bool:
        """Whether another stream may begin."""
        return self.last is None and not self.is_lost

    async def get(self, path: str) -> None:
        """A GET until the end of its answer."""
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        future = asyncio.get_running_loop().create_future()
        self.waiting[stream] = future
        self.transport.write(h2_client.get(stream, path).encoded())
        try:
            await asyncio.wait_for(future, PATIENCE)
        finally:
            self.waiting.pop(stream, None)

    def data_received(self, data: bytes) -> None:
        self.received += data
        for frame in h2_client.take_frames(self.received):
            self._take(frame)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        for stream in list(self.waiting):
            self._end(stream, Broken("a connection that ended before the answer"))

    def _take(self, frame: h2_client.Frame) -> None:
        kind, stream = frame.kind, frame.stream
        if kind in (h2_client.SETTINGS, h2_client.PING) and not frame.flags & h2_client.ACK:
            payload = frame.payload if kind == h2_client.PING else b""
            self.transport.write(h2_client.Frame(kind, h2_client.ACK, 0, payload).encoded())
        elif kind == h2_client.GOAWAY:
            self._goaway(int.from_bytes(frame.payload[:4], "big"), int.from_bytes(frame.payload[4:8], "big"))
        elif kind == h2_client.RST_STREAM:
            code = int.from_bytes(frame.payload, "big")
            self._end(stream, AskAgain() if code == h2_client.REFUSED_STREAM else Broken(f"a stream reset by {code}"))
        elif kind == h2_client.HEADERS and stream in self.waiting:
            try:
                h2_client.expect_200(frame)
            except h2_client.WrongAnswer as error:
                self._end(stream, Broken(str(error)))
        elif kind == h2_client.DATA and frame.payload:
            room = len(frame.payload).to_bytes(4, "big")
            self.transport.write(h2_client.Frame(h2_client.WINDOW_UPDATE, 0, 0, room).encoded())
        if kind in (h2_client.HEADERS, h2_client.DATA) and frame.flags & h2_client.END_STREAM:
            self._end(stream, None)

    def _goaway(self, last: int, code: int) -> None:
        self.last = last
        for stream in list(self.waiting):
            if code:
                self._end(stream, Broken(f"GOAWAY with error {code}"))
            elif stream > last:
                self._end(stream, AskAgain())

    def _end(self, stream: int, why: Exception | None) -> None:
        future = self.waiting.get(stream)
        if future is None or future.done():
            return
        if why is None:
            future.set_result(None)
        else:
            future.set_exception(why)
