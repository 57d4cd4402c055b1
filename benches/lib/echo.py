"""A small server behind the edge: WebSockets (RFC 6455) that say again what they hear, and answers to plain requests.

In a process of its own: `python3 benches/lib/echo.py PORT`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import sys

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE = 1, 8
FIN, MASKED = 0x80, 0x80
# A length beyond it takes more octets, which nobody here needs.
PAYLOAD_MAX = 125


class Ended(Exception):
    """The peer is gone, or says what no peer may say."""


def accept_key(key: bytes) -> bytes:
    """`Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`."""
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


def frame(opcode: int, payload: bytes, is_masked: bool) -> bytes:
    """One frame; clients mask theirs."""
    if len(payload) > PAYLOAD_MAX:
        raise ValueError(f"too long for one octet of length: {len(payload)}")
    head = bytes((FIN | opcode, (MASKED if is_masked else 0) | len(payload)))
    if not is_masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(octet ^ mask[place % 4] for place, octet in enumerate(payload))


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Opcode and unmasked payload of the next frame."""
    try:
        first, second = await reader.readexactly(2)
        if second & 0x7F > PAYLOAD_MAX or not first & FIN:
            raise Ended(f"a frame that begins with {first:#x} {second:#x}")
        mask = await reader.readexactly(4) if second & MASKED else b"\0\0\0\0"
        payload = await reader.readexactly(second & 0x7F)
    except (asyncio.IncompleteReadError, OSError) as error:
        raise Ended(f"closed without a word: {type(error).__name__}") from error
    return first & 0x0F, bytes(octet ^ mask[place % 4] for place, octet in enumerate(payload))


async def read_head(reader: asyncio.StreamReader) -> tuple[bytes, dict[bytes, bytes]]:
    """First line, and fields with names in small letters."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head[:-4].split(b"\r\n")
    fields = {}
    for line in lines:
        name, _, value = line.partition(b":")
        fields[name.strip().lower()] = value.strip()
    return first, fields


async def _tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: bytes) -> None:
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 b"Sec-WebSocket-Accept: " + accept_key(key) + b"\r\n\r\n")
    while True:
        opcode, payload = await read_frame(reader)
        writer.write(frame(opcode, payload, is_masked=False))
        if opcode == CLOSE:
            await writer.drain()
            return


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            first, fields = await read_head(reader)
            if fields.get(b"upgrade", b"").lower() == b"websocket":
                await _tunnel(reader, writer, fields[b"sec-websocket-key"])
                return
            body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
            text = b"%d %s\n" % (len(body), first)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\n"
                         b"Content-Length: %d\r\n\r\n%s" % (len(text), text))
    except (Ended, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, KeyError):
        return
    finally:
        writer.close()


async def _main(port: int) -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
