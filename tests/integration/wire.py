"""A server on real sockets that does what a test tells it, byte by byte: what HTTP libraries hide must be shown too."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from local.eventstream import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PATIENCE_S = 5.0  # for what must happen; a test that waits for it has failed


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrived, and on which connection, counted from 1."""

    connection: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.left = Event()  # the client closed while the script was waiting
        self.over = Event()  # nobody is on this end any more
        self._rest = b""

    def read_request(self) -> Asked | None:
        """Wait for a request; None when the client closes instead."""
        while b"\r\n\r\n" not in self._rest:
            if not self._more():
                return None
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(self._rest) < length:
            if not self._more():
                return None
        body, self._rest = self._rest[:length], self._rest[length:]
        method, target, _ = first.split(" ")
        return Asked(self.number, method, target, headers, body)

    def send(self, data: bytes) -> None:
        """Send, or notice that the client left."""
        try:
            self.sock.sendall(data)
        except OSError:
            self.left.set()

    def hang(self) -> None:
        """Say nothing until the client leaves."""
        while self._more():
            pass
        self.left.set()

    def close(self) -> None:
        """End the connection properly."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def reset(self) -> None:
        """End the connection with a reset, as a crashed server or a forgetful gateway does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _more(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except OSError:
            return False
        self._rest += data
        return bool(data)


type Script = Callable[[Peer, Asked], None]


class ScriptedServer:
    """Answers each request by the next of its scripts, the last one for all that follow."""

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.peers: list[Peer] = []
        self._scripts = list(scripts)
        self._tls = tls
        self._lock = Lock()
        self._threads: list[Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Its address as an endpoint; over TLS by the name that its certificate carries."""
        return f"https://localhost:{self.port}" if self._tls else f"http://127.0.0.1:{self.port}"

    def then(self, *scripts: Script) -> None:
        """Follow these scripts from the next request on."""
        with self._lock:
            self._scripts = list(scripts)

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self.peers:
            peer.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _start(self, work: Callable[[], None]) -> None:
        thread = Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._tls:
                    sock = self._tls.wrap_socket(sock, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            peer = Peer(sock, len(self.peers) + 1)
            self.peers.append(peer)
            self._start(lambda peer=peer: self._serve(peer))  # type: ignore[misc]

    def _serve(self, peer: Peer) -> None:
        while (asked := peer.read_request()) is not None:
            with self._lock:
                self.asked.append(asked)
                script = self._scripts[0] if len(self._scripts) == 1 else self._scripts.pop(0)
            script(peer, asked)
        peer.close()
        peer.over.set()


def head(status: str = "200 OK", *, framing: str = "Transfer-Encoding: chunked", **headers: str) -> bytes:
    """The head of an answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {CONTENT_TYPE}", framing]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*(line for line in lines if line), "", ""]).encode()


def chunk(data: bytes) -> bytes:
    """A piece of a chunked body; the empty one ends it."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def answer(pieces: Iterable[bytes]) -> Script:
    """A whole answer, each piece a chunk and a send of its own."""
    sent = [head(), *(chunk(piece) for piece in pieces if piece), chunk(b"")]

    def script(peer: Peer, _: Asked) -> None:
        for piece in sent:
            peer.send(piece)

    return script


def raw(data: bytes, *, then: Callable[[Peer], None] = lambda peer: None) -> Script:
    """These very bytes, then whatever `then` does."""

    def script(peer: Peer, _: Asked) -> None:
        peer.send(data)
        then(peer)

    return script


def certified(path: Path) -> Path:
    """Write a certificate for `localhost` that is its own authority, and its key, into one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, unlocked = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, unlocked)
    path.write_bytes(made.public_bytes(pem) + private)
    return path
