"""HTTP/1.1 that is polled: one request, an answer read for exactly as long as the caller can wait, a close that closes.

The SDK's own HTTP session waits in one place and by one limit. A turn has to watch its deadline, the stall limit, the
shopper's cancel and the next flush of text while it waits for the model, so here a read that gives nothing in time is
no failure: the connection stays usable. Giving up an unfinished answer closes its socket at once, so that the service
notices; a finished one leaves its connection to the next call.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import h11

from mangaassist.errors import Unavailable
from mangaassist.sockets import PORTS, Dialler, Idle, Origin, countdown, receive

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

STALE_WITHIN_S = 0.3  # a kept connection that dies this soon was dead before; later, the service may have charged
HEAD_LIMIT_BYTES = 32 * 1024  # of an answer's status line and headers
PIECE_BYTES = 64 * 1024  # read at once


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it goes out, signed; `Host` is added where it is missing."""

    method: str
    url: str
    headers: Mapping[str, str | bytes]
    body: bytes


class Connection:
    """A socket and the state of HTTP on it."""

    def __init__(self, origin: Origin, sock: socket.socket) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self.sock = sock
        self.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT_BYTES)

    def send(self, request: Request, left_s: Callable[[], float]) -> None:
        """Send all of a request; raises OSError."""
        parts = urlsplit(request.url)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        headers = [
            (name.encode(), value if isinstance(value, bytes) else value.encode())
            for name, value in request.headers.items()
        ]
        if all(name.lower() != b"host" for name, _ in headers):  # of botocore's two signers, one sets it
            headers.append((b"Host", _authority(self.origin).encode()))
        pieces = (
            self.http.send(h11.Request(method=request.method, target=target, headers=headers)),
            self.http.send(h11.Data(data=request.body)),
            self.http.send(h11.EndOfMessage()),
        )
        rest = memoryview(b"".join(piece for piece in pieces if piece))
        while rest:
            self.sock.settimeout(left_s())
            rest = rest[self.sock.send(rest) :]

    def receive(self, wait_s: float) -> bytes | None:
        """Read what is there, waiting at most `wait_s`: None when nothing is, b"" at the end; raises OSError."""
        return receive(self.sock, wait_s, PIECE_BYTES)

    def is_alive(self) -> bool:
        """Whether an idle connection is as we left it: open, and silent."""
        try:
            return self.receive(0) is None
        except OSError:
            return False

    def is_reusable(self) -> bool:
        """Whether the exchange on it ended cleanly and another may follow."""
        return self.http.our_state is h11.DONE and self.http.their_state is h11.DONE and not self.http.trailing_data[0]

    def close(self) -> None:
        """Close the socket, at once and whatever is still under way."""
        self.sock.close()


class Exchange:
    """A request that was sent, and its answer as it comes; made by `Transport.send`."""

    def __init__(self, transport: Transport, request: Request, connection: Connection, *, reused: bool) -> None:
        self.status = 0  # until the head has arrived
        self._headers: Sequence[tuple[bytes, bytes]] = ()
        self._transport = transport
        self._request = request
        self._connection: Connection | None = connection
        self._stale_left_s = transport.countdown(STALE_WITHIN_S if reused else 0)
        self._complete = False

    def header(self, name: str) -> str:
        """A header of the answer by its lower-case name, or "" while or if there is none."""
        wanted = name.encode()
        return next((value.decode("latin-1") for key, value in self._headers if key == wanted), "")

    def countdown(self, limit_s: float) -> Callable[[], float]:
        """How much is left of a time that begins now, by the transport's clock."""
        return self._transport.countdown(limit_s)

    def read(self, wait_s: float) -> bytes | None:
        """Give more of the body, waiting at most `wait_s`: b"" when nothing came in time, None at the end.

        Raises Unavailable: `unavailable` before the answer's head, `cut` after it, `garbled` for what is not HTTP.
        """
        left_s = self._transport.countdown(wait_s)
        while not (body := self._parse()):
            if self._complete:
                return None
            if not self._receive(left_s):
                return b""
            if not left_s():  # a flood without a body must not hold the caller either
                return self._parse()
        return body

    def close(self) -> None:
        """Leave: a finished exchange's connection is kept, an unfinished one's closed. Safe to call twice."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._complete and connection.is_reusable():
            self._transport.keep(connection)
        else:
            connection.close()

    def _open_connection(self) -> Connection:
        if self._connection is None:
            raise ValueError("the exchange is closed")
        return self._connection

    def _parse(self) -> bytes:
        """Take from the bytes received what they hold of the body."""
        http = self._open_connection().http
        body: list[bytes] = []
        while not self._complete:
            try:
                event = http.next_event()
            except h11.RemoteProtocolError as error:
                if body:  # h11 repeats its verdict when asked again
                    break
                raise self._broken(http, error) from None  # its sentence repeats what came
            match event:
                case h11.Data():
                    body.append(event.data)
                case h11.Response():
                    self.status, self._headers = event.status_code, event.headers
                case h11.EndOfMessage():
                    self._complete = True
                case h11.InformationalResponse():
                    pass
                case _:
                    break
        return b"".join(body)

    def _broken(self, http: h11.Connection, error: h11.RemoteProtocolError) -> Unavailable:
        if not http.trailing_data[1]:  # the other side still speaks, but not HTTP
            return Unavailable("garbled", f"http {error.error_status_hint}")
        return Unavailable("cut" if self.status else "unavailable", "connection closed")

    def _receive(self, left_s: Callable[[], float]) -> bool:
        """Wait for bytes and hand them to the parser; False when none came in time."""
        connection = self._open_connection()
        try:
            data = connection.receive(left_s())
        except OSError as error:
            if not self._is_stale():
                raise Unavailable("cut" if self.status else "unavailable", type(error).__name__) from error
            data = b""
        if data is None:
            return False
        if not data and self._is_stale():
            connection.close()
            self._connection = self._transport.connect(self._request, left_s)
        else:
            connection.http.receive_data(data)
        self._stale_left_s = _no_time
        return True

    def _is_stale(self) -> bool:
        """Whether a connection that just died was dead before it was used: then the call has not failed."""
        return self._stale_left_s() > 0


class Transport:
    """Sends requests and keeps finished connections; one for all turns of a process, from any thread."""

    def __init__(self, ca_bundle: str | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Trust the certificates of `ca_bundle`, a file of PEM certificates, or the system's."""
        self._monotonic = monotonic
        self._dialler = Dialler(ca_bundle, ["http/1.1"])
        self._idle: Idle[Connection] = Idle(monotonic)

    def warm_up(self) -> None:
        """Read the trusted certificates now, 20 ms that the first call need not wait for."""
        self._dialler.warm_up()

    def send(self, request: Request, limit_s: float) -> Exchange:
        """Connect if need be and send, within `limit_s`, without waiting for the answer.

        Resolving the host's name has the resolver's own limits. Raises Unavailable.
        """
        left_s = self.countdown(limit_s)
        while (kept := self._idle.take(Origin.of(request.url))) is not None:
            try:
                kept.send(request, left_s)
            except OSError:  # it died while idle
                kept.close()
            else:
                return Exchange(self, request, kept, reused=True)
        return Exchange(self, request, self.connect(request, left_s), reused=False)

    def connect(self, request: Request, left_s: Callable[[], float]) -> Connection:
        """Send on a new connection; raises Unavailable."""
        origin = Origin.of(request.url)
        try:
            connection = Connection(origin, self._dialler.dial(origin, left_s))
            try:
                connection.send(request, left_s)
            except BaseException:
                connection.close()
                raise
        except OSError as error:
            raise Unavailable("unavailable", type(error).__name__) from error
        return connection

    def countdown(self, limit_s: float) -> Callable[[], float]:
        """How much is left of a time that begins now, never negative."""
        return countdown(limit_s, self._monotonic)

    def keep(self, connection: Connection) -> None:
        """Keep a connection whose exchange is finished; the one idle longest makes room."""
        connection.http.start_next_cycle()
        self._idle.keep(connection)

    def close(self) -> None:
        """Close the idle connections; those of running calls are theirs to close."""
        self._idle.close()


def _authority(origin: Origin) -> str:
    """The `Host` header, which signatures cover: without the scheme's own port."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return host if origin.port == PORTS["https" if origin.tls else "http"] else f"{host}:{origin.port}"


def _no_time() -> float:
    return 0.0
