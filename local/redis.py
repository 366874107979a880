"""The answer cache's server, an emulator: the few commands of Redis that the application sends, on the real wire.

It is there when the functions are told `ANSWER_CACHE=redis` and nobody names a server; expiry follows the twin's clock.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from local.faults import CACHE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from local.faults import Fault, Faults

REFUSALS = {  # in Redis's own words
    "throttle": "ERR max number of clients reached",
    "unavailable": "LOADING Redis is loading the dataset in memory",
    "denied": "NOPERM this user has no permissions to run this command",
    "error_event": "ERR internal error",
}
GARBAGE = b"<html>this is not what Redis answers</html>\r\n"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"

type Word = bytes
type Reply = int | str | bytes | list[bytes] | None


class Refused(Exception):
    """A command cannot be done; the text is Redis's."""


class Keys:
    """What is kept: hashes and strings with their ends."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._values: dict[Word, Any] = {}
        self._ends: dict[Word, float] = {}

    def do(self, command: Sequence[Word]) -> Reply:
        """Do a command; raises Refused."""
        name, *words = command
        work: dict[bytes, Callable[..., Reply]] = {
            b"PING": lambda: "PONG",
            b"HGETALL": self._hgetall,
            b"HKEYS": lambda key: list(self._hash(key)),
            b"HSET": self._hset,
            b"HDEL": self._hdel,
            b"EXPIRE": self._expire,
            b"TTL": self._ttl,
            b"SET": self._set,
            b"DEL": self._delete,
            b"FLUSHALL": self._flush,
        }
        known = work.get(name.upper())
        if known is None:
            raise Refused(f"ERR unknown command '{name.decode('ascii', 'replace')}'")
        for key in [key for key, end in self._ends.items() if end <= self._now_s()]:
            self._delete(key)
        try:
            return known(*words)
        except (TypeError, ValueError) as error:
            raise Refused("ERR wrong number of arguments, or no number") from error

    def _hash(self, key: Word) -> dict[Word, Word]:
        found = self._values.get(key, {})
        if not isinstance(found, dict):
            raise Refused(WRONG_TYPE)
        return found

    def _hgetall(self, key: Word) -> Reply:
        return [word for pair in self._hash(key).items() for word in pair]

    def _hset(self, key: Word, name: Word, value: Word, *pairs: Word) -> Reply:
        fields = {name: value} | dict(zip(pairs[::2], pairs[1::2], strict=True))
        known = self._hash(key)
        added = len(fields.keys() - known.keys())
        self._values[key] = known | fields
        return added

    def _hdel(self, key: Word, *names: Word) -> Reply:
        known = self._hash(key)
        gone = [name for name in names if known.pop(name, None) is not None]
        if not known:
            self._delete(key)
        return len(gone)

    def _expire(self, key: Word, seconds: Word) -> Reply:
        end = self._now_s() + int(seconds)
        if key not in self._values:
            return 0
        self._ends[key] = end
        return 1

    def _ttl(self, key: Word) -> Reply:
        if key not in self._values:
            return -2
        return round(self._ends[key] - self._now_s()) if key in self._ends else -1

    def _set(self, key: Word, value: Word, condition: Word, unit: Word, time: Word) -> Reply:
        if (condition, unit) != (b"NX", b"PX"):
            raise Refused("ERR syntax error")
        if key in self._values:
            return None
        self._values[key], self._ends[key] = value, self._now_s() + int(time) / 1000
        return "OK"

    def _delete(self, key: Word) -> Reply:
        self._ends.pop(key, None)
        return int(self._values.pop(key, None) is not None)

    def _flush(self) -> Reply:
        self._values.clear()
        self._ends.clear()
        return "OK"


class Redis:
    """The server."""

    def __init__(self, faults: Faults, now_s: Callable[[], float]) -> None:
        self._faults = faults
        self._keys = Keys(now_s)
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[Any]] = set()

    async def begin(self, host: str) -> str:
        """Listen on a free port, and say at which address."""
        self._server = await asyncio.start_server(self._serve, host, 0)
        return f"redis://{host}:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Listen no longer, and hang up."""
        if self._server is not None:
            self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (talk := asyncio.current_task()) is not None:
            self._talks.add(talk)
            talk.add_done_callback(self._talks.discard)
        try:
            while (command := await _read(reader)) is not None:
                fault = self._faults.take(CACHE, operation=command[0].decode("ascii", "replace").upper())
                if not await self._answer(command, fault, reader, writer):
                    break
                await writer.drain()
        except (OSError, ValueError, asyncio.IncompleteReadError):
            pass  # the client left, or does not speak Redis
        finally:
            writer.close()

    async def _answer(
        self, command: list[Word], fault: Fault | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer a command as scripted; whether the connection goes on."""
        kind = fault.fault if fault else ""
        if kind in REFUSALS:
            writer.write(b"-%s\r\n" % REFUSALS[kind].encode())
            return True
        if kind == "garbage":
            writer.write(GARBAGE)
            return True
        if kind == "slow" and fault:
            await asyncio.sleep((fault.first_token_ms or 0) / 1000)
        if kind in ("", "slow"):
            writer.write(self._done(command))
            return True
        if kind == "stall":
            writer.write(self._done(command)[:-1])
        if kind in ("hang", "stall"):
            await reader.read()  # until the client leaves
        return False

    def _done(self, command: list[Word]) -> bytes:
        try:
            return packed(self._keys.do(command))
        except Refused as refusal:
            return b"-%s\r\n" % str(refusal).encode()


def packed(reply: Reply) -> bytes:
    """A reply as Redis writes it."""
    match reply:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % reply
        case str():
            return b"+%s\r\n" % reply.encode()
        case bytes():
            return b"$%d\r\n%s\r\n" % (len(reply), reply)
        case _:
            return b"*%d\r\n" % len(reply) + b"".join(map(packed, reply))


async def _read(reader: asyncio.StreamReader) -> list[Word] | None:
    """The next command, None at the end; raises ValueError for what is none."""
    head = await reader.readline()
    if not head:
        return None
    if head[:1] != b"*":
        raise ValueError(head)
    words = []
    for _ in range(int(head[1:])):
        length = await reader.readline()
        if length[:1] != b"$":
            raise ValueError(length)
        words.append((await reader.readexactly(int(length[1:]) + 2))[:-2])
    return words
