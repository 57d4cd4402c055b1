"""Many connections that made one request each and stay open, and clients that hardly read."""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lib import h2_client, tls_client
from lib.tls_client import WrongAnswer
from lib.works import Load

# Of so many connections one can be asked again; of the others only the socket is kept.
ASK_AGAIN_EVERY = 50
# How many connections are being opened at a time.
OPENERS = 4
# A reader's receive buffer, doubled by the kernel, is what it has taken without reading it.
RECEIVE_BUFFER_BYTES = 4096
SLOW_READ_BYTES = 1024

# Asks again on a connection.
Again = Callable[[], None]


class IdleConnections:
    """Connections of a kind."""

    def __init__(self, load: Load, port: int, certificate: Path, path: str, body_bytes: int) -> None:
        self.port, self.path, self.body_bytes = port, path, body_bytes
        self.open = {Load.IDLE_PLAIN: self._plain, Load.IDLE_TLS: self._tls, Load.IDLE_H2: self._h2}[load]
        if load is not Load.IDLE_PLAIN:
            module = h2_client if load is Load.IDLE_H2 else tls_client
            self.context = module.client_context(certificate)
        self.sockets: list[socket.socket] = []
        self.again: list[Again] = []

    def grow_to(self, count: int) -> None:
        """Opens connections until there are `count`; several at a time, so that client and server work at once."""
        with ThreadPoolExecutor(OPENERS) as openers:
            opened = [openers.submit(self._open, number) for number in range(len(self.sockets), count)]
            try:
                for one in opened:
                    one.result()
            finally:
                openers.shutdown(cancel_futures=True)

    def _open(self, number: int) -> None:
        self.sockets.append(self.open(number % ASK_AGAIN_EVERY == 0))

    def _plain(self, again: bool) -> socket.socket:
        stream = tls_client.connect_plain(self.port)
        self._request(stream, again)
        return stream

    def _tls(self, again: bool) -> socket.socket:
        stream = tls_client.connect(self.context, self.port)
        self._request(stream, again)
        # The socket alone keeps the connection open: the server cannot tell, and 15,000 cost little here.
        return stream if again else socket.socket(fileno=stream.detach())

    def _request(self, stream: socket.socket, again: bool) -> None:
        try:
            tls_client.request(stream, self.path, self.body_bytes)
        except BaseException:
            stream.close()
            raise
        if again:
            self.again.append(lambda: tls_client.request(stream, self.path, self.body_bytes))

    def _h2(self, again: bool) -> socket.socket:
        connection = h2_client.Connection(self.context, self.port)
        try:
            connection.request(1, self.path, self.body_bytes)
        except BaseException:
            connection.close()
            raise
        if not again:
            return connection.detach()
        self.again.append(lambda: connection.request(3, self.path, self.body_bytes))
        return connection.stream

    def ask_again(self) -> None:
        """A second request on some of the connections: they must still be open."""
        for ask in self.again:
            ask()

    def close(self) -> None:
        """Closes all of them."""
        for stream in self.sockets:
            stream.close()
        self.sockets.clear()
        self.again.clear()


class SlowReaders:
    """Clients that ask for a large body and read a KiB of it a second."""

    def __init__(self, port: int, path: str) -> None:
        self.port, self.path = port, path
        self.sockets: list[socket.socket] = []

    def grow_to(self, count: int) -> None:
        """More of them, until there are `count`."""
        new = [self._ask() for _ in range(len(self.sockets), count)]
        for stream in new:
            if not (answer := stream.recv(SLOW_READ_BYTES)).startswith(b"HTTP/1.1 200"):
                raise WrongAnswer(f"{answer[:40]!r}")

    def _ask(self) -> socket.socket:
        stream = socket.socket()
        self.sockets.append(stream)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        stream.settimeout(tls_client.TIMEOUT_SECONDS)
        stream.connect(("127.0.0.1", self.port))
        stream.sendall(f"GET {self.path} HTTP/1.1\r\nHost: {tls_client.HOST}\r\n\r\n".encode())
        return stream

    def read_for(self, seconds: int) -> None:
        """Each reads once a second."""
        for _ in range(seconds):
            time.sleep(1)
            for stream in self.sockets:
                if not stream.recv(SLOW_READ_BYTES):
                    raise WrongAnswer("the server closed a slow reader's connection")

    def close(self) -> None:
        """Closes all of them."""
        for stream in self.sockets:
            stream.close()
        self.sockets.clear()
