"""Connections of our own: dialled within what is left of a limit, and kept for the next call while they are good.

What carries model calls (HTTP) and the answer cache (Redis) have this in common.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

IDLE_LIMIT_S = 50.0  # services close idle connections after a minute
IDLE_MOST = 16  # connections kept in all; a process rarely runs more turns at once
ADDRESSES_MOST = 3  # of a host's; each but the last gets half of the time that is left
LEAST_S = 0.001  # zero would mean not to wait at all
PORTS = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379}
TLS = ("https", "rediss")


@dataclass(frozen=True, slots=True)
class Origin:
    """Whom a connection leads to."""

    tls: bool
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """The origin of an address."""
        parts = urlsplit(url)
        return cls(tls=parts.scheme in TLS, host=parts.hostname or "", port=parts.port or PORTS.get(parts.scheme, 80))


class Kept(Protocol):
    """A connection that can be kept."""

    origin: Origin
    idle_since: float

    def is_alive(self) -> bool:
        """Whether it is as we left it: open, and silent."""
        ...

    def close(self) -> None:
        """Close it, at once."""
        ...


class Dialler:
    """Connects within what is left of a limit; one for all threads of a process."""

    def __init__(self, ca_bundle: str | None = None, protocols: Sequence[str] = ()) -> None:
        """Trust the certificates of `ca_bundle`, a file of PEM certificates, or the system's; offer these protocols."""
        self._ca_bundle = ca_bundle
        self._protocols = protocols
        self._lock = Lock()
        self._tls: ssl.SSLContext | None = None

    def warm_up(self) -> None:
        """Read the trusted certificates now, 20 ms that the first call need not wait for."""
        self._context()

    def dial(self, origin: Origin, left_s: Callable[[], float]) -> socket.socket:
        """A connected socket, TLS included; raises OSError. Resolving the host's name has the resolver's own limits."""
        sock = _connected(origin, left_s)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if origin.tls:
                sock.settimeout(max(LEAST_S, left_s()))
                sock = self._context().wrap_socket(sock, server_hostname=origin.host)
        except BaseException:
            sock.close()
            raise
        return sock

    def _context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                self._tls = ssl.create_default_context(cafile=self._ca_bundle)
                if self._protocols:
                    self._tls.set_alpn_protocols(list(self._protocols))
            return self._tls


class Idle[C: Kept]:
    """Connections between two calls, from and for any thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = Lock()
        self._kept: deque[C] = deque()

    def keep(self, connection: C) -> None:
        """Keep a connection whose call is finished; the one idle longest makes room."""
        connection.idle_since = self._monotonic()
        with self._lock:
            self._kept.append(connection)
            surplus = self._kept.popleft() if len(self._kept) > IDLE_MOST else None
        if surplus is not None:
            surplus.close()

    def take(self, origin: Origin) -> C | None:
        """The connection used last, if one is still good."""
        while True:
            with self._lock:
                found = next((kept for kept in reversed(self._kept) if kept.origin == origin), None)
                if found is None:
                    return None
                self._kept.remove(found)
            if self._monotonic() - found.idle_since <= IDLE_LIMIT_S and found.is_alive():
                return found
            found.close()

    def close(self) -> None:
        """Close them all."""
        with self._lock:
            kept = [*self._kept]
            self._kept.clear()
        for connection in kept:
            connection.close()


def countdown(limit_s: float, monotonic: Callable[[], float] = time.monotonic) -> Callable[[], float]:
    """How much is left of a time that begins now, never negative."""
    by = monotonic() + limit_s
    return lambda: max(0.0, by - monotonic())


def receive(sock: socket.socket, wait_s: float, most: int) -> bytes | None:
    """Read what is there, waiting at most `wait_s`: None when nothing is, b"" at the end; raises OSError."""
    sock.settimeout(wait_s)
    try:
        return sock.recv(most)
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None
    except TimeoutError as error:
        if error.errno is not None:  # the system's own verdict on a dead connection, not our time limit
            raise
        return None


def _connected(origin: Origin, left_s: Callable[[], float]) -> socket.socket:
    """Try a host's addresses in the resolver's order, so that one that is silent cannot take all of the time."""
    addresses = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)[:ADDRESSES_MOST]
    for place, (family, kind, protocol, _, address) in enumerate(addresses, start=1):
        is_last = place == len(addresses)
        sock = socket.socket(family, kind, protocol)
        sock.settimeout(left_s() if is_last else left_s() / 2)
        try:
            sock.connect(address)
        except OSError:
            sock.close()
            if is_last:
                raise
        else:
            return sock
    raise OSError("no address")
