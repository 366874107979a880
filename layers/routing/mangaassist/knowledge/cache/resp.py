"""Redis's protocol as the answer cache needs it: commands about one key, asked together within one limit.

The official client keeps a limit for each read and each attempt, not for a call: its cluster waits twice for a node
that hangs, sleeps when one is down, and makes three connections before its first reply; its import takes a quarter of a
second of every cold start. Here a call is one connection and one limit, and nothing is tried twice; a cluster's
redirection is followed once, so any node will do to begin with.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mangaassist.errors import KnowledgeUnavailable
from mangaassist.sockets import LEAST_S, Dialler, Idle, Origin, countdown, receive

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

PART = "cache"
ANSWER_LIMIT_BYTES = 4 * 1024 * 1024
LINE_LIMIT_BYTES = 4 * 1024
PIECE_BYTES = 64 * 1024  # read at once

type Command = tuple[str | bytes | int, ...]
type Login = Callable[[], tuple[str, str]]  # user and password of one new connection
type Reply = str | int | bytes | Refusal | list[Reply] | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the server says instead of doing a command: its word for the reason, and what follows it."""

    why: str
    rest: str


class Connection:
    """One connection: commands go out together, and their replies come in that order."""

    def __init__(self, origin: Origin, sock: socket.socket) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self._sock = sock
        self._rest = bytearray()

    def ask(self, commands: Sequence[Command], left_s: Callable[[], float]) -> list[Reply]:
        """The replies; raises OSError, also when time is over, and ValueError for what is no reply."""
        self._sock.settimeout(max(LEAST_S, left_s()))
        self._sock.sendall(b"".join(map(_packed, commands)))
        budget = ANSWER_LIMIT_BYTES
        replies = []
        for _ in commands:
            reply, budget = self._reply(left_s, budget)
            replies.append(reply)
        return replies

    def is_alive(self) -> bool:
        """Whether an idle connection is as we left it: open, and silent."""
        try:
            return not self._rest and receive(self._sock, 0, PIECE_BYTES) is None
        except OSError:
            return False

    def close(self) -> None:
        """Close the socket, at once and whatever is still under way."""
        self._sock.close()

    def _reply(self, left_s: Callable[[], float], budget: int, *, within_list: bool = False) -> tuple[Reply, int]:
        """One reply, and what is left of the bytes that may come."""
        line = self._line(left_s)
        budget -= len(line)
        kind, told = line[:1], line[1:]
        match kind:
            case b"+":
                return told.decode(), budget
            case b"-":
                why, _, rest = told.decode("utf-8", "replace").partition(" ")
                return Refusal(why, rest), budget
            case b":":
                return int(told), budget
            case b"$" if (length := int(told)) >= 0:
                return self._exactly(length, left_s, budget), budget - length
            case b"*" if (length := int(told)) >= 0 and not within_list:
                found: list[Reply] = []
                for _ in range(length):
                    reply, budget = self._reply(left_s, budget, within_list=True)
                    found.append(reply)
                return found, budget
            case b"$" | b"*" if told == b"-1":
                return None, budget
        raise ValueError("no reply of Redis")

    def _line(self, left_s: Callable[[], float]) -> bytes:
        while (end := self._rest.find(b"\r\n")) < 0:
            if len(self._rest) > LINE_LIMIT_BYTES:
                raise ValueError("a line without an end")
            self._more(left_s)
        line = bytes(self._rest[:end])
        del self._rest[: end + 2]
        return line

    def _exactly(self, length: int, left_s: Callable[[], float], budget: int) -> bytes:
        if length > budget:
            raise ValueError("the answer is too long")
        while len(self._rest) < length + 2:
            self._more(left_s)
        found = bytes(self._rest[:length])
        del self._rest[: length + 2]
        return found

    def _more(self, left_s: Callable[[], float]) -> None:
        if not left_s():
            raise TimeoutError
        data = receive(self._sock, left_s(), PIECE_BYTES)
        if data is None:
            raise TimeoutError
        if not data:
            raise ConnectionResetError
        self._rest += data


class Server:
    """A Redis or Valkey server, or a cluster's nodes, at `redis://host:port` (`rediss://` over TLS); for all threads.

    With a `login` every new connection is logged in first.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        ca_bundle: str | None = None,
        login: Login | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._origin = Origin.of(endpoint)
        self._login = login
        self._monotonic = monotonic
        self._dialler = Dialler(ca_bundle)
        self._idle: Idle[Connection] = Idle(monotonic)

    def warm_up(self) -> None:
        """Read the trusted certificates now; connections cannot be made before a start that may be snapshotted."""
        if self._origin.tls:
            self._dialler.warm_up()

    def countdown(self, limit_s: float) -> Callable[[], float]:
        """How much is left of a time that begins now."""
        return countdown(limit_s, self._monotonic)

    def ask(self, *commands: Command, limit_s: float) -> list[Reply]:
        """The replies to commands about one key; raises KnowledgeUnavailable, also when one of them is refused."""
        left_s = self.countdown(limit_s)
        try:
            replies = self._ask(self._origin, commands, left_s)
            match replies[0]:
                case Refusal("MOVED", rest):  # "3999 host:port", an empty host being the one that says so
                    host, _, port = rest.partition(" ")[2].rpartition(":")
                    node = Origin(self._origin.tls, host or self._origin.host, int(port))
                    replies = self._ask(node, commands, left_s)
        except OSError as error:
            raise KnowledgeUnavailable(PART, "late" if _is_late(error) else type(error).__name__) from error
        except ValueError as error:
            raise KnowledgeUnavailable(PART, "garbled") from error
        return _granted(replies)

    def close(self) -> None:
        """Close the idle connections."""
        self._idle.close()

    def _ask(self, origin: Origin, commands: Sequence[Command], left_s: Callable[[], float]) -> list[Reply]:
        connection = self._idle.take(origin) or self._connected(origin, left_s)
        try:
            replies = connection.ask(commands, left_s)
        except BaseException:
            connection.close()
            raise
        self._idle.keep(connection)
        return replies

    def _connected(self, origin: Origin, left_s: Callable[[], float]) -> Connection:
        login = self._login() if self._login else None
        connection = Connection(origin, self._dialler.dial(origin, left_s))
        try:
            if login:
                _granted(connection.ask([("AUTH", *login)], left_s))
        except BaseException:
            connection.close()
            raise
        return connection


def _granted(replies: list[Reply]) -> list[Reply]:
    """The replies, if none is a refusal: of that only the first word goes on, as the rest may repeat a command."""
    for reply in replies:
        if isinstance(reply, Refusal):
            raise KnowledgeUnavailable(PART, reply.why if reply.why.isalnum() and len(reply.why) <= 40 else "refused")
    return replies


def _packed(command: Command) -> bytes:
    words = [word if isinstance(word, bytes) else str(word).encode("utf-8", "replace") for word in command]
    return b"*%d\r\n%s" % (len(words), b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))


def _is_late(error: OSError) -> bool:
    """Whether it was our limit that ended a call, rather than the system's verdict on a connection."""
    return isinstance(error, BlockingIOError) or (isinstance(error, TimeoutError) and error.errno is None)
