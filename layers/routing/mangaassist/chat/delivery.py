"""Send a turn's frames: numbered without a gap, the first text at once, then as few posts as read well.

Each post costs money and a round trip, so text is held together by time, size and sentence end. Frames that cannot go
out now (the gateway asks to slow down, the shopper is gone) wait in order; all are kept for a resume.
"""

from __future__ import annotations

import random
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mangaassist.chat.frames import encode
from mangaassist.errors import ConnectionGone, TooFast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CHARACTERS_PER_FRAME = 5_000  # at most 6 bytes each as JSON: below the gateway's 32 KB
CLOSE_ENOUGH_S = 0.001
SENTENCE_ENDS = ("。", "!", "?", ".", "\n", "!", "?", "」")


class Poster(Protocol):
    """Posts to a connection."""

    def post(self, connection_id: str, data: bytes) -> None:
        """Send one message; raises ConnectionGone or TooFast."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How long text is held together: the n-th hold is `first_s` x `growth`ⁿ, at most `most_s`.

    250 tokens at 25 to 100 tokens/s become 4 to 10 deltas.
    """

    first_s: float = 0.3
    growth: float = 1.45
    most_s: float = 3.0
    sentence_share: float = 0.75  # of a hold, after which the end of a sentence is sent at once

    def hold_s(self, sent: int) -> float:
        """How long to hold text after `sent` deltas."""
        return min(self.most_s, self.first_s * self.growth ** max(0, sent - 1))


class Delivery:
    """One turn's frames on their way to one shopper."""

    def __init__(
        self,
        poster: Poster,
        *,
        connection_id: str,
        turn_id: str,
        until: float = float("inf"),
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        pace: Pace | None = None,
    ) -> None:
        """Send to a connection; no post begins after the monotonic instant `until`, which may be moved."""
        self._poster = poster
        self._connection_id = connection_id
        self._turn_id = turn_id
        self.until = until
        self._monotonic = monotonic
        self._sleep = sleep
        self._pace = pace or Pace()
        self._pending = ""
        self._deltas = 0
        self._flushed_at = float("-inf")
        self._outbox: deque[str] = deque()
        self._refusals = 0
        self._not_before = 0.0
        self.frames: list[str] = []
        self.posts = 0
        self.gone_since: float | None = None
        self.first_text_at: float | None = None

    def frame(self, kind: str, **fields: Any) -> None:
        """Send a frame, after all text before it."""
        self._flush()
        self._number(kind, **fields)
        self._pump()

    def text(self, text: str) -> None:
        """Send text now or soon."""
        self._pending += text
        self.tend()

    def tend(self) -> None:
        """Send what is due; to be called at least as often as `due_in_s` says."""
        if self._pending and not self._outbox and self._due_at() - self._monotonic() <= CLOSE_ENOUGH_S:
            self._flush()
        self._pump()

    def due_in_s(self) -> float:
        """Seconds until there is something to send; infinity when nothing waits."""
        now = self._monotonic()
        if self.gone_since is not None or now >= self.until:
            return float("inf")
        if self._outbox:
            return max(0.0, self._not_before - now)
        if not self._pending:
            return float("inf")
        return max(0.0, self._due_at() - now)

    def flush(self) -> None:
        """Send the text that waits now."""
        self._flush()
        self._pump()

    def drain(self) -> None:
        """Send everything that waits, backing off while the gateway asks for it."""
        self.flush()
        while self._outbox and self.gone_since is None:
            wait_s = max(0.0, self._not_before - self._monotonic())
            if self._monotonic() + wait_s >= self.until:
                return
            self._sleep(wait_s)
            self._pump()

    def reattach(self, connection_id: str, after: int) -> None:
        """Go on with another connection, from the frame after `seq` `after`."""
        self._connection_id = connection_id
        self.gone_since = None
        self._not_before = 0.0
        self._outbox = deque(self.frames[after + 1 :])
        self._pump()

    def take_over(self, frames: Sequence[str], after: int) -> None:
        """Send another turn's record, from the frame after `seq` `after`."""
        self.frames = list(frames)
        self.reattach(self._connection_id, after)

    def _due_at(self) -> float:
        """When the text that waits is to go out: so long after the last, sooner at the end of a sentence."""
        hold_s = self._pace.hold_s(self._deltas)
        if self._pending.rstrip(" ").endswith(SENTENCE_ENDS):
            hold_s *= self._pace.sentence_share
        return self._flushed_at + hold_s

    def _flush(self) -> None:
        text, self._pending = self._pending, ""
        if text:
            self._flushed_at = self._monotonic()
        for start in range(0, len(text), CHARACTERS_PER_FRAME):
            self._number("delta", text=text[start : start + CHARACTERS_PER_FRAME])
            self._deltas += 1

    def _number(self, kind: str, **fields: Any) -> None:
        frame = {"type": kind, "turn_id": self._turn_id, "seq": len(self.frames), **fields}
        encoded = encode(frame).decode()
        self.frames.append(encoded)
        self._outbox.append(encoded)

    def _pump(self) -> None:
        """Post what waits, in order, until the gateway refuses."""
        while self._outbox and self.gone_since is None and self._not_before <= self._monotonic() < self.until:
            frame = self._outbox[0]
            try:
                self._poster.post(self._connection_id, frame.encode())
            except ConnectionGone:
                self.gone_since = self._monotonic()
                return
            except TooFast:
                self._refusals += 1
                most_s = min(1.6, 0.05 * 2**self._refusals)
                self._not_before = self._monotonic() + random.uniform(most_s / 2, most_s)  # noqa: S311 - jitter
                return
            self._outbox.popleft()
            self._refusals = 0
            self.posts += 1
            if self.first_text_at is None and self._deltas:
                self.first_text_at = self._monotonic()
