"""Bedrock without a model: every ConverseStream call gets the same answer of 50 tokens, made beforehand.

It runs in a process of its own, so that its CPU is not counted as anybody's, and speaks raw HTTP, so that it is never
what is waited for. The model id chooses how the answer comes: `at-once`, or `token-by-token`, each a packet of its own.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from local import eventstream

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKENS = 50
AT_ONCE, TOKEN_BY_TOKEN = "at-once", "token-by-token"
TOKEN_S = 0.001
HEAD = (
    b"HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT\r\nContent-Type: application/vnd.amazon.eventstream\r\n"
    b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n"
    b"x-amzn-RequestId: 4f1c1a3e-6f0e-4d5c-9c59-0b8a3c1f2d10\r\n\r\n"
)


def events() -> list[bytes]:
    """The answer, one event each."""
    deltas = [
        {"contentBlockIndex": 0, "delta": {"text": text}, "p": "abcdefghijkl"}
        for text in ("鬼滅", "の刃", "が", "お好き", "なら。", " Then", " try", " this", " one", ".") * (TOKENS // 10)
    ]
    usage = {"inputTokens": 61, "outputTokens": TOKENS, "totalTokens": 61 + TOKENS}
    return [
        eventstream.event("messageStart", {"role": "assistant", "p": "abcdefgh"}),
        *(eventstream.event("contentBlockDelta", delta) for delta in deltas),
        eventstream.event("contentBlockStop", {"contentBlockIndex": 0, "p": "abcd"}),
        eventstream.event("messageStop", {"stopReason": "end_turn", "p": "abcdefghij"}),
        eventstream.event("metadata", {"usage": usage, "metrics": {"latencyMs": 412}, "p": "abcdefghijklmn"}),
    ]


def chunk(data: bytes) -> bytes:
    """A piece of a chunked body; the empty one ends it."""
    return b"%x\r\n%s\r\n" % (len(data), data)


PIECES = [HEAD, *map(chunk, events()), chunk(b"")]
WHOLE = b"".join(PIECES)


class Peer(asyncio.Protocol):
    """A connection: reads requests by their length and answers each."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a stream is expected")
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end]
            length = end + 4 + _content_length(head)
            if len(self._received) < length:
                return
            self._received = self._received[length:]
            if TOKEN_BY_TOKEN.encode() in head:
                self._speak(0)
            else:
                self._transport.write(WHOLE)

    def _speak(self, place: int) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(PIECES[place])
        if place + 1 < len(PIECES):
            asyncio.get_running_loop().call_later(TOKEN_S, self._speak, place + 1)


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


async def serve() -> None:
    """Serve on a free port, say which on standard output, and end with the standard input."""
    server = await asyncio.get_running_loop().create_server(Peer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


@contextmanager
def running() -> Iterator[str]:
    """The address of a fake Bedrock that runs meanwhile."""
    command = [sys.executable, "-m", "bench.fake_bedrock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the fake Bedrock has no pipes")
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


if __name__ == "__main__":
    asyncio.run(serve())
