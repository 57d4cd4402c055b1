import socket
import sys
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from lib import crowd, h2_client, memory
from lib.h2_client import Frame
from lib.tls_client import WrongAnswer
from lib.works import Load


class Slope(unittest.TestCase):
    def test_what_was_there_before_is_not_in_it(self) -> None:
        self.assertAlmostEqual(memory.slope([(1000, 22_000), (5000, 70_000), (10_000, 130_000)]), 12.0)


class Frames(unittest.TestCase):
    def test_there_and_back(self) -> None:
        frames = [h2_client.get(1, "/1k"), Frame(h2_client.DATA, 0, 1, b"x" * 300)]
        wire = bytearray(b"".join(frame.encoded() for frame in frames))
        self.assertEqual(list(h2_client.take_frames(wire)), frames)
        self.assertEqual(wire, b"")

    def test_half_a_frame_waits(self) -> None:
        wire = bytearray(h2_client.get(1, "/1k").encoded()[:-1])
        self.assertEqual(list(h2_client.take_frames(wire)), [])
        self.assertTrue(wire)

    def test_a_request_by_the_static_table(self) -> None:
        # :method GET, :scheme https, :path and :authority as literals (RFC 7541 section 6.2.2, appendix A).
        self.assertEqual(h2_client.get(1, "/1k").payload, b"\x82\x87\x04\x03/1k\x01\x09localhost")

    def test_the_status(self) -> None:
        h2_client.expect_200(Frame(h2_client.HEADERS, 0, 1, b"\x88\x61"))
        h2_client.expect_200(Frame(h2_client.HEADERS, 0, 1, b"\x20\x88\x61"))
        with self.assertRaises(WrongAnswer):
            h2_client.expect_200(Frame(h2_client.HEADERS, 0, 1, b"\x8e\x61"))


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    connections: set[tuple[str, int]] = set()

    def do_GET(self) -> None:
        self.connections.add(self.client_address)
        if self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x" * 65536)
            except OSError:
                return
        content = b"x" * 1000
        self.send_response(404 if self.path == "/none" else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


class Crowds(unittest.TestCase):
    def setUp(self) -> None:
        Answering.connections = set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def tearDown(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def idle(self, path: str) -> crowd.IdleConnections:
        return crowd.IdleConnections(Load.IDLE_PLAIN, self.server.server_port, Path("no certificate"), path, 1000)

    def test_they_grow_and_stay_open(self) -> None:
        idle = self.idle("/")
        idle.grow_to(20)
        idle.grow_to(60)
        self.assertEqual((len(idle.sockets), len(idle.again)), (60, 2))
        idle.ask_again()
        self.assertEqual(len(Answering.connections), 60)
        idle.close()

    def test_a_wrong_answer_is_told(self) -> None:
        idle = self.idle("/none")
        with self.assertRaises(WrongAnswer):
            idle.grow_to(5)
        idle.close()

    def test_slow_readers_leave_the_rest_where_it_is(self) -> None:
        readers = crowd.SlowReaders(self.server.server_port, "/endless")
        readers.grow_to(2)
        self.assertEqual(len(Answering.connections), 2)
        start = time.monotonic()
        readers.read_for(1)
        self.assertGreaterEqual(time.monotonic() - start, 1)
        sizes = [stream.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) for stream in readers.sockets]
        self.assertEqual(sizes, [2 * crowd.RECEIVE_BUFFER_BYTES] * 2)
        readers.close()


if __name__ == "__main__":
    unittest.main()
