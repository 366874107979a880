"""What a turn takes of published capacity, and what comes together in a minute. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mangaassist.money.ledger import Attempt
    from mangaassist.routing.situation import Capacity


@dataclass(frozen=True, slots=True)
class Use:
    """Calls that capacity served or refused, their tokens, and turns that had to go elsewhere because it was full."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    throttled: int = 0
    failed: int = 0
    spilled: int = 0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Use) -> Use:
        return Use(*(getattr(self, it.name) + getattr(other, it.name) for it in fields(Use)))


@dataclass(frozen=True, slots=True)
class Minute:
    """The use in one minute; `at` is JST as YYYY-MM-DDTHH:MM."""

    at: str
    use: Use


def of_turn(
    attempts: Iterable[Attempt], capacity: Mapping[str, Capacity], spilled: str | None
) -> Iterator[tuple[Capacity, Use]]:
    """What a turn took of each capacity; `spilled` is the target that it was kept off because that was full."""
    uses: dict[str, Use] = {spilled: Use(spilled=1)} if spilled and spilled in capacity else {}
    for attempt in attempts:
        if attempt.target in capacity:
            uses[attempt.target] = uses.get(attempt.target, Use()) + _of_attempt(attempt)
    return ((capacity[target], use) for target, use in uses.items())


def total(minutes: Iterable[Minute]) -> Use:
    """All of it together."""
    return sum((minute.use for minute in minutes), Use())


def _of_attempt(attempt: Attempt) -> Use:
    if attempt.outcome == "throttled":
        return Use(throttled=1, spilled=1)
    usage = attempt.usage
    return Use(
        requests=1,
        input_tokens=usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        failed=int(attempt.outcome not in ("answered", "cancelled", "deadline", "filtered")),
    )
