"""A server that says of Redis's protocol what a test tells it, to show what a real one rarely does."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Self

import pytest

from mangaassist.errors import KnowledgeUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S = 5.0

type Line = Callable[[socket.socket], None]


class Actor:
    """Follows one line for each time that it is asked, the last one for all that follow; `asked` keeps what came."""

    def __init__(self, *lines: Line) -> None:
        self.asked: list[bytes] = []
        self._lines = list(lines)
        self._sockets: list[socket.socket] = []
        self._threads: list[Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _start(self, work: Callable[[], None]) -> None:
        self._threads.append(Thread(target=work, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._sockets.append(sock)
                self._start(lambda sock=sock: self._serve(sock))  # type: ignore[misc]

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError):
            while data := sock.recv(65536):
                self.asked.append(data)
                line = self._lines[0] if len(self._lines) == 1 else self._lines.pop(0)
                line(sock)


def says(*pieces: bytes, each_s: float = 0.0) -> Line:
    """These bytes, piece by piece."""

    def line(sock: socket.socket) -> None:
        for piece in pieces:
            time.sleep(each_s)
            sock.sendall(piece)

    return line


def leaves(sock: socket.socket) -> None:
    """Close instead of an answer."""
    sock.shutdown(socket.SHUT_RDWR)


def is_silent(sock: socket.socket) -> None:
    """Say nothing, and listen on."""


def bulk(data: bytes) -> bytes:
    """Bytes as a reply."""
    return b"$%d\r\n%s\r\n" % (len(data), data)


def why(call: Callable[[], object]) -> str:
    """The reason for which a call fails."""
    with pytest.raises(KnowledgeUnavailable) as caught:
        call()
    assert caught.value.part == "cache"
    return caught.value.why
