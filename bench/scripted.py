"""A model that answers by a script: at once, or evenly paced on time that only moves when told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mangaassist.money.prices import Usage
from mangaassist.routing.backends import Stopped, StreamEvent, TextDelta, UsageReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mangaassist.routing.backends import ModelCall


@dataclass
class ScriptedClock:
    """Time that moves only when told, in seconds."""

    elapsed_s: float = 1000.0

    def monotonic(self) -> float:
        """Now, for intervals."""
        return self.elapsed_s

    def now_s(self) -> float:
        """Now, for dates: a Monday in November."""
        return 1_795_400_000.0 + self.elapsed_s

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self.elapsed_s += seconds


@dataclass(frozen=True)
class ScriptedModel:
    """A backend that gives one token in each poll: the first after `first_s`, then one every `token_s`."""

    tokens: Sequence[str]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    first_s: float = 0.0
    token_s: float = 0.0

    def open(self, call: ModelCall, limit_s: float) -> ScriptedStream:
        """Begin to answer."""
        began = self.monotonic() + self.first_s
        script: list[tuple[float, StreamEvent | None]] = [
            (began + place * self.token_s, TextDelta(token)) for place, token in enumerate(self.tokens)
        ]
        ended, _ = script[-1]
        usage = UsageReport(Usage(input_tokens=61, output_tokens=len(self.tokens)))
        script += [(ended, Stopped("complete")), (ended, usage), (ended, None)]
        return ScriptedStream(script, self.monotonic, self.sleep)


@dataclass
class ScriptedStream:
    """An answer on its way: what is due when; None ends it."""

    script: list[tuple[float, StreamEvent | None]]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    place: int = field(default=0)

    def poll(self, wait_s: float) -> tuple[StreamEvent, ...] | None:
        """Give what is due, letting at most `wait_s` pass."""
        due, event = self.script[self.place]
        ahead_s = due - self.monotonic()
        if ahead_s > wait_s:
            self.sleep(wait_s)
            return ()
        if ahead_s > 0:
            self.sleep(ahead_s)
        self.place += 1
        return None if event is None else (event,)

    def close(self) -> None:
        """Leave; nothing is held."""
