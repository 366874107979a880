"""One call of one target under its limits: first text, stall, deadline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mangaassist.errors import Unavailable
from mangaassist.money.ledger import Attempt, Reservation
from mangaassist.money.prices import Usage, cost_nano_usd
from mangaassist.routing.backends import Alive, Stopped, TextDelta, UsageReport
from mangaassist.tokens import estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from mangaassist.deadline import Deadline
    from mangaassist.money.rates import Price
    from mangaassist.routing.backends import Backend, ModelCall, ModelStream, StreamEvent

OPEN_LIMIT_S = 1.0  # connecting and sending; the answer has limits of its own
USAGE_LIMIT_S = 1.0  # the service reports usage right after the last word


@dataclass
class Trial:
    """A call that is paid for and limited, and what has come of it; instants are monotonic seconds."""

    call: ModelCall
    backend: Backend
    deadline: Deadline
    silence_s: float  # until the first text
    stall_s: float  # between signs of life after it
    prompt_tokens: int
    price: Price | None  # None: billed by the hour
    reservation: Reservation
    finish: str | None = None  # complete | length | filtered | deadline
    text: str = ""
    usage: Usage | None = None
    started_at: float = 0.0
    first_text_at: float | None = None
    ended_at: float | None = None
    accepted: bool = field(default=False)  # whether the service may charge for the call
    _last_news_at: float = field(default=0.0)

    def pieces(self, patience_s: Callable[[], float]) -> Generator[str]:
        """Yield text as it comes, and "" whenever the caller's patience is over.

        Returns once the answer is over or the deadline is near; raises BackendError when the target fails,
        Unavailable("silent") or Unavailable("stalled") when it keeps the shopper waiting too long. Whatever
        happens, an unfinished stream is closed.
        """
        self.started_at = self._last_news_at = self.deadline.monotonic()
        try:
            stream = self.backend.open(self.call, min(OPEN_LIMIT_S, self.silence_s, self.deadline.left_s()))
            try:
                yield from self._listen(stream, patience_s)
            finally:
                stream.close()
        finally:
            self.ended_at = self.deadline.monotonic()

    def _listen(self, stream: ModelStream, patience_s: Callable[[], float]) -> Iterator[str]:
        over = False
        while not over:
            wait_s = min(self._limit_at() - self.deadline.monotonic(), patience_s())
            events = stream.poll(max(0.0, wait_s))
            if events is None:
                if self.finish is None:
                    raise Unavailable("cut")
                return
            said = self._take(events)
            over = self._is_over()  # judged on all that has arrived: the caller may have been held up, not the target
            yield said

    def _take(self, events: tuple[StreamEvent, ...]) -> str:
        """Note what arrived, and give its text."""
        now = self.deadline.monotonic()
        said = ""
        for event in events:
            self.accepted = True
            self._last_news_at = now
            match event:
                case TextDelta(text):
                    said += text
                case Stopped(reason):
                    self.finish = reason
                case UsageReport(usage):
                    self.usage = usage
                case Alive():
                    pass
        if said and self.first_text_at is None:
            self.first_text_at = now
        self.text += said
        return said

    def _limit_at(self) -> float:
        """When the next sign of life is due."""
        if self.finish is not None:
            due = self._last_news_at + USAGE_LIMIT_S
        elif self.first_text_at is None:
            due = self.started_at + self.silence_s
        else:
            due = self._last_news_at + self.stall_s
        return min(due, self.deadline.at)

    def _is_over(self) -> bool:
        """Whether to stop listening; raises Unavailable when it is the target's fault."""
        now = self.deadline.monotonic()
        if now < self._limit_at():
            return False
        if self.finish is not None:
            return True
        if self.first_text_at is None:
            self.accepted = True  # it has the prompt and may be working on it
            raise Unavailable("silent")
        if now < self.deadline.at:
            raise Unavailable("stalled")
        self.finish = "deadline"
        return True

    def first_text_ms(self) -> int | None:
        """Milliseconds from the call to its first text."""
        return None if self.first_text_at is None else round((self.first_text_at - self.started_at) * 1000)

    def total_ms(self) -> int:
        """Milliseconds that the call took."""
        return round(((self.ended_at or self.deadline.monotonic()) - self.started_at) * 1000)

    def account(self, outcome: str) -> Attempt:
        """The ledger's line: what the service reported, else an estimate, marked as one."""
        self.accepted = self.accepted or outcome == "cancelled"  # the prompt was sent
        usage = self.usage or self._estimated_usage()
        return Attempt(
            target=self.call.target.name,
            model=self.call.model_id,
            outcome=outcome,
            first_text_ms=self.first_text_ms(),
            total_ms=self.total_ms(),
            usage=usage,
            cost_nano_usd=cost_nano_usd(usage, self.price) if self.price else 0,
            reservation=self.reservation,
        )

    def _estimated_usage(self) -> Usage:
        if not self.accepted:
            return Usage()
        return Usage(input_tokens=self.prompt_tokens, output_tokens=estimate(self.text), estimated=True)
