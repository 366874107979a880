"""Shoppers as the application meets them: a WebSocket each, over which they ask at their instants and read the answers.

What a shopper sees of a turn is counted from the instant at which it was to be asked, not from the one at which the
question got away: who has to wait for a connection or for the answer before has waited.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Origin, Subprotocol

from local.chat import Turn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from websockets.asyncio.client import ClientConnection

    from load.schedule import Planned

CONNECT_AHEAD_S = 1.5  # before the first question, as who opens the page and then types
CONNECT_LIMIT_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 3.0  # between tries to connect
SILENCE_S = 6.0  # after which a client asks for what it may have missed
OPTIONS: dict[str, Any] = {"compression": None, "open_timeout": CONNECT_LIMIT_S, "ping_interval": None}
PATIENCE_S = 45.0  # past which a turn without its last frame is lost: a turn that died is told so after 31 s


class Tokens(Protocol):
    """Where shoppers get their tokens."""

    async def of(self, user: str) -> str:
        """A token; raises OSError when there is none to be had."""
        ...


@dataclass
class Asked:
    """One question and what came of it; milliseconds since it was to be asked."""

    planned: Planned
    late_ms: float = 0.0  # how long the question waited to get away
    first_text_ms: float | None = None
    total_ms: float | None = None  # None: no last frame ever came
    posts: int = 0  # of this turn, those that came twice among them
    reconnects: int = 0
    sent_again: int = 0  # after a silence: the place is asked what became of it
    turn: Turn = field(default_factory=lambda: Turn("", None))

    @property
    def lost(self) -> bool:
        """Whether the turn has neither an end nor an error."""
        return not self.turn.is_over

    @property
    def outcome(self) -> str:
        """`finish` of its end, `error: CODE`, or `lost`."""
        if self.turn.end is not None:
            return str(self.turn.end["finish"])
        if self.turn.error is not None:
            return f"error: {self.turn.error.get('code', 'gateway')}"
        return "lost"

    @property
    def target(self) -> str:
        """Who gave the answer."""
        return str(self.turn.end["target"]) if self.turn.end else ""


class Line:
    """A shopper's connection, made anew when it breaks."""

    def __init__(self, url: str, tokens: Tokens, user: str, origin: str | None = None) -> None:
        """`origin` is the page that a browser would name; without one the service looks at the token alone."""
        self._url = url
        self._origin = Origin(origin) if origin else None
        self._tokens = tokens
        self._user = user
        self._connection: ClientConnection | None = None
        self.refused: Counter[str] = Counter()  # tries to connect, by what came of them

    async def open(self, until: float) -> None:
        """Connect, again and again up to a monotonic instant; raises TimeoutError."""
        pause_s = FIRST_PAUSE_S
        async with asyncio.timeout_at(until):
            while self._connection is None:
                try:
                    offered = [Subprotocol("mangaassist"), Subprotocol(await self._tokens.of(self._user))]
                    self._connection = await connect(self._url, subprotocols=offered, origin=self._origin, **OPTIONS)
                except InvalidStatus as error:
                    self.refused[f"status {error.response.status_code}"] += 1
                except (OSError, WebSocketException) as error:
                    self.refused[type(error).__name__] += 1
                else:
                    return
                await asyncio.sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    async def send(self, frame: dict[str, Any]) -> None:
        """Send a frame; a connection that is broken shows at the next `receive`."""
        if self._connection is not None:
            with contextlib.suppress(ConnectionClosed):
                await self._connection.send(json.dumps(frame, ensure_ascii=False))

    async def receive(self, limit_s: float) -> dict[str, Any] | None:
        """The next frame, None when the connection broke; raises TimeoutError."""
        if self._connection is None:
            return None
        try:
            async with asyncio.timeout(max(0.0, limit_s)):
                frame: dict[str, Any] = json.loads(await self._connection.recv())
        except ConnectionClosed:
            self._connection = None
            return None
        return frame

    def drop(self) -> None:
        """Lose the connection without a word, as on a train into a tunnel."""
        if self._connection is not None:
            self._connection.transport.abort()
            self._connection = None

    async def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


class Shopper:
    """Asks what is planned for one shopper; `began` is the loop's instant of the run's zero."""

    def __init__(self, line: Line, began: float = 0.0) -> None:
        self._line = line
        self._began = began
        self._loop = asyncio.get_running_loop()
        self._session_id: str | None = None

    async def ask_all(self, planned: Iterable[Planned], heard: list[Asked]) -> None:
        """Ask one after the other, each at its instant or as soon after it as the answer before has ended."""
        for number, turn in enumerate(planned):
            at = self._began + turn.at_s
            if number == 0:
                await self._until(at - CONNECT_AHEAD_S)
                with contextlib.suppress(TimeoutError):
                    await self._line.open(at)
            await self._until(at)
            asked = Asked(turn, turn=Turn(turn.question, self._session_id))
            heard.append(asked)
            await self.ask(asked, at)
            self._session_id = asked.turn.session_id
        await self._line.close()

    async def _until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, at - self._loop.time()))

    async def ask(self, asked: Asked, at: float) -> None:
        """Ask one question that was due at an instant of the loop, and hear its answer out."""
        until = at + PATIENCE_S
        try:
            await self._line.open(until)
            asked.late_ms = (self._loop.time() - at) * 1000
            await self._line.send(asked.turn.wish())
            await self._listen(asked, at, until)
        except TimeoutError:
            return  # its time is over: `lost` tells

    async def _listen(self, asked: Asked, at: float, until: float) -> None:
        """Read frames up to the last one; raises TimeoutError when that never comes."""
        turn, drops = asked.turn, asked.planned.drops
        while not turn.is_over:
            if (left_s := until - self._loop.time()) <= 0:
                raise TimeoutError
            try:
                frame = await self._line.receive(min(SILENCE_S, left_s))
            except TimeoutError:
                asked.sent_again += 1
                await self._line.send(turn.wish())
                continue
            if frame is None:
                await self._come_back(asked, until)
                continue
            self._take(asked, frame, at)
            if turn.misses(frame) or ("requestId" in frame and not turn.is_over):
                await self._line.send(turn.wish())
            if drops and asked.first_text_ms is not None and not turn.is_over:
                drops = False
                self._line.drop()

    async def _come_back(self, asked: Asked, until: float) -> None:
        asked.reconnects += 1
        await self._line.open(until)
        await self._line.send(asked.turn.wish())

    def _take(self, asked: Asked, frame: dict[str, Any], at: float) -> None:
        turn, now_ms = asked.turn, (self._loop.time() - at) * 1000
        followed = turn.follow(frame)
        if frame.get("turn_id") == turn.id is not None:
            asked.posts += 1
        if followed and frame.get("type") == "delta" and asked.first_text_ms is None:
            asked.first_text_ms = now_ms
        if turn.is_over:
            asked.total_ms = now_ms
