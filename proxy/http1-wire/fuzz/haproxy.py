#!/usr/bin/env python3
"""Whatever the edge accepts, HAProxy accepts with the same meaning.

    python3 haproxy.py --verdicts TARGET/debug/examples/verdicts [corpus/requests ...]

Takes messages from files, makes mutations of them (the same ones in every run), and sends those that
http1-wire accepts to a HAProxy of its own on the loopback, each on a connection of its own with a second
request behind it. The server behind HAProxy tells what arrived. Method, target, fields and content must be
what http1-wire read, and the second request must begin where http1-wire says that the first one ends.
"""

import argparse
import base64
import collections
import json
import pathlib
import random
import re
import shutil
import socket
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).parent
BEHIND = b"GET /behind HTTP/1.1\r\nHost: behind\r\n\r\n"

CONFIG = """
global
    nbthread 1
    tune.bufsize 65536
    # Trailer fields count too; the edge bounds them by bytes.
    tune.http.maxhdr 2000
defaults
    mode http
    option http-server-close
    timeout connect 5s
    timeout client 5s
    timeout server 5s
    timeout http-request 2s
frontend edge
    bind fd@{listener}
    default_backend shop
backend shop
    server shop 127.0.0.1:{shop}
"""

# Fields about the connection, which each hop sets for itself (RFC 9110 sections 7.6.1 and 10.1.4).
HOP_BY_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"}
FRAMING = {b"content-length", b"transfer-encoding"}


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--verdicts", required=True, help="the built example `verdicts` of http1-wire")
    options.add_argument("--count", type=int, default=20_000, help="accepted messages to send")
    options.add_argument("--seed", type=int, default=9112)
    options.add_argument("--show", type=int, default=1, help="examples of each difference")
    options.add_argument("corpus", nargs="*", type=pathlib.Path, help="folders of messages beside the seeds")
    options = options.parse_args()

    chosen = collect(options)
    tally = collections.Counter()
    examples = collections.defaultdict(list)
    with Shop() as shop, HAProxy(shop.port) as haproxy:
        for message, verdict in chosen:
            found = compare(haproxy, message, verdict)
            tally[found] += 1
            examples[found].append(message)
    bad = 0
    for found, count in tally.most_common():
        print(f"{count:8} {found}")
        if found.startswith("DIFFERS"):
            bad += count
            for message in sorted(examples[found], key=len)[: options.show]:
                print(f"         {message!r}")
    return 1 if bad else 0


# Messages.


def collect(options):
    """Accepted messages, each once: half of them the given ones, the others mutations of these."""
    rng = random.Random(options.seed)
    seeds = read_folder(HERE / "seeds/requests")
    texts = [text for folder in options.corpus for text in read_folder(folder)]
    rng.shuffle(texts)
    texts = seeds + texts[: options.count // 2]
    dictionary = read_dictionary(HERE / "dictionary")
    chosen, seen, made = [], set(), 0
    batch = texts
    while len(chosen) < options.count and made < 500 * options.count:
        made += len(batch)
        for message, verdict in zip(batch, verdicts(options.verdicts, batch)):
            if verdict["status"] == 200:
                message = message[: verdict["end"]]
                if message not in seen and len(chosen) < options.count:
                    seen.add(message)
                    chosen.append((message, verdict))
        pools = seeds, texts, [message for message, _ in chosen] or seeds
        batch = [mutate(rng, rng.choice(rng.choice(pools)), seeds, dictionary) for _ in range(20_000)]
    print(f"{made} messages made, {len(chosen)} accepted and sent")
    return chosen


def read_folder(folder):
    return [file.read_bytes() for file in sorted(folder.iterdir())]


def verdicts(program, messages):
    stream = b"".join(struct.pack(">I", len(message)) + message for message in messages)
    result = subprocess.run([program], input=stream, stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in result.stdout.splitlines()]


def read_dictionary(path):
    words = []
    for line in path.read_text().splitlines():
        if line.startswith('"'):
            words.append(line[1:-1].encode().decode("unicode_escape").encode("latin-1"))
    return words


def mutate(rng, message, seeds, dictionary):
    text = bytearray(message)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        at = rng.randrange(len(text) + 1)
        kind = rng.randrange(7)
        if kind == 0 and at < len(text):
            text[at] = rng.randrange(256)
        elif kind == 1:
            text[at:at] = bytes([rng.choice(b" \t\r\n:,;/0159afAF#@\\\"'[]()<>{}|^`~!%$&*+-._=?\x7f\x80\xff")])
        elif kind == 2:
            text[at:at] = rng.choice(dictionary)
        elif kind == 3:
            del text[at : at + rng.choice((1, 1, 2, 4, 16))]
        elif kind == 4:
            lines = bytes(text).split(b"\r\n")
            i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[i : i + rng.randrange(2)] = [lines[j]]
            text = bytearray(b"\r\n".join(lines))
        elif kind == 5:
            lines = bytes(text).split(b"\r\n")
            others = rng.choice(seeds).split(b"\r\n")
            lines.insert(rng.randrange(1, len(lines) + 1), rng.choice(others))
            text = bytearray(b"\r\n".join(lines))
        else:
            text[at : at + rng.randrange(3)] = str(rng.choice((0, 1, 2, 5, 7, 10, 16, 255))).encode()
    return bytes(text[:8192])


# Comparison.


def compare(haproxy, message, verdict):
    """A line that says what came out; one that begins with DIFFERS is a finding."""
    # Where the connection closes behind it, HAProxy does not look at a second request.
    behind = b"" if verdict["close"] else BEHIND
    statuses, arrived = haproxy.ask(message + behind, 2 if behind else 1)
    if not arrived:
        status = statuses[0] if statuses else "nothing"
        why = stricter(verdict)
        if why and statuses:
            return f"refused by HAProxy with {status}: {why}"
        return f"DIFFERS: HAProxy answers {status}"
    difference = first_difference(message, verdict, arrived[0])
    if difference:
        return f"DIFFERS: {difference}"
    if not behind:
        return "same, closes"
    if len(arrived) < 2:
        return "DIFFERS: no second request arrives"
    line = arrived[1][0].split(b"\r\n")[0]
    return "same" if line == b"GET /behind HTTP/1.1" else f"DIFFERS: the second request is {line!r}"


def stricter(verdict):
    """Why HAProxy may refuse what the edge accepts: its own rules beyond the grammar."""
    connection, upgrade, keys = [], [], []
    lists = {b"connection": connection, b"upgrade": upgrade, b"sec-websocket-key": keys}
    for name, value in verdict["fields"]:
        lists.get(raw(name).lower(), []).append(raw(value))
    asks = b"upgrade" in b",".join(connection).lower() and b"websocket" in b",".join(upgrade).lower()
    if asks and (not keys or any(len(key) != 24 for key in keys)):
        # To the edge the handshake is the shop's business: nothing is a tunnel before the shop says 101.
        return "a WebSocket handshake without its key (RFC 6455 section 4.1)"
    return None


def first_difference(message, verdict, arrived):
    head, content = arrived
    request_line, *lines = head.split(b"\r\n")[:-2]
    method, target, version = request_line.split(b" ")
    if method != raw(verdict["method"]):
        return f"method {method!r}"
    if origin_form(target) != raw(verdict["target"]) and method != b"CONNECT":
        return f"target {target!r}"
    theirs = [tuple(line.split(b": ", 1)) if b": " in line else (line[:-1], b"") for line in lines]
    theirs = [(name.lower(), value) for name, value in theirs]
    ours = [(raw(name).lower(), raw(value)) for name, value in verdict["fields"]]
    for fields in (theirs, ours):
        fields[:] = [field for field in fields if field[0] not in HOP_BY_HOP | FRAMING]
    if not target.startswith(b"/"):
        # HAProxy writes the authority of such a target into Host, without a port that says nothing.
        theirs, ours = normalised(theirs), normalised(ours)
    if theirs != ours:
        return "other fields"
    body = message[verdict["head"] : verdict["end"]]
    wanted = body if verdict["framing"] != "chunked" else chunks(body)
    return None if content == wanted else "other content"


def normalised(fields):
    """Host in lower case and without a scheme's port (RFC 9110 section 4.2.3)."""
    return [
        (name, re.sub(rb":(80|443)$", b"", value.lower()) if name == b"host" else value)
        for name, value in fields
    ]


def origin_form(target):
    return re.sub(rb"(?i)^https?://[^/]*", b"", target)


def raw(text):
    return text.encode("latin-1")


def chunks(body):
    content = b""
    while True:
        line, _, rest = body.partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        if not size:
            return content
        content, body = content + rest[:size], rest[size + 2 :]


# The peers.


class HAProxy:
    def __init__(self, shop):
        self.shop = shop

    def __enter__(self):
        program = shutil.which("haproxy") or "/usr/sbin/haproxy"
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = listener.getsockname()[1]
        self.folder = tempfile.TemporaryDirectory()
        config = pathlib.Path(self.folder.name, "haproxy.cfg")
        config.write_text(CONFIG.format(listener=listener.fileno(), shop=self.shop))
        self.process = subprocess.Popen(
            [program, "-db", "-f", str(config)],
            pass_fds=[listener.fileno()],
            stderr=subprocess.DEVNULL,
        )
        listener.close()
        deadline = time.monotonic() + 10
        while not self.ask(BEHIND, 1)[1]:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("HAProxy does not start")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()

    def ask(self, message, answers):
        """Status codes of up to so many answers, and what arrived at the shop for each."""
        statuses, arrived = [], []
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=4) as connection:
            try:
                connection.sendall(message)
                while len(statuses) < answers:
                    while b"\r\n\r\n" not in received:
                        received += (data := connection.recv(65536))
                        if not data:
                            return statuses, arrived
                    head, _, received = received.partition(b"\r\n\r\n")
                    status = int(head.split(b" ")[1])
                    if status == 100:
                        continue
                    statuses.append(status)
                    seen = re.search(rb"(?im)^x-seen: ([^.\r]+)\.([^.\r]*)\r?$", head)
                    if not seen:
                        return statuses, arrived
                    arrived.append(tuple(base64.b64decode(part) for part in seen.groups()))
            except (ConnectionError, TimeoutError):
                pass
        return statuses, arrived


class Shop:
    """Reads what HAProxy writes, which is well formed, and answers 404, which makes no tunnel, with a copy."""

    def __enter__(self):
        self.server = Server(("127.0.0.1", 0), Answer)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64


class Answer(socketserver.StreamRequestHandler):
    timeout = 10

    def handle(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return
            head += line
        fields = head.lower()
        length = re.search(rb"\r\ncontent-length: *(\d+)\r\n", fields)
        if re.search(rb"\r\ntransfer-encoding: *chunked\r\n", fields):
            content = self.chunked()
        else:
            content = self.rfile.read(int(length[1])) if length else b""
        seen = base64.b64encode(head) + b"." + base64.b64encode(content)
        self.wfile.write(
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\nX-Seen: " + seen + b"\r\n\r\n"
        )

    def chunked(self):
        content = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline() != b"\r\n":
            pass
        return content


if __name__ == "__main__":
    sys.exit(main())
