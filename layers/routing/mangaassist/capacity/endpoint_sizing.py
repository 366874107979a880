"""How many answers at a time one instance of an endpoint should be given, from what was measured of it. Pure.

Scaling tracks a target: as many instances as keep each one's answers at a time near it. So the target is what an
instance carries with its first words in time, less some room for the minutes that another instance takes to come.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADROOM = 0.7  # of what an instance carries; the rest is for those who come while the next one starts


@dataclass(frozen=True, slots=True)
class Step:
    """What one instance did with so many answers at a time; latencies are None when nothing was answered."""

    concurrency: int
    answers: int
    errors: int
    first_text_p50_ms: float | None
    first_text_p95_ms: float | None
    total_p95_ms: float | None
    answers_per_s: float
    tokens_per_s: float

    def holds(self, limit_ms: float) -> bool:
        """Whether every answer came, and the first words of nearly all in time."""
        came = not self.errors and self.answers_per_s > 0
        return came and self.first_text_p95_ms is not None and self.first_text_p95_ms <= limit_ms


@dataclass(frozen=True, slots=True)
class Size:
    """What to give one instance."""

    concurrency: int  # the most that was measured to hold
    limit_found: bool  # more was measured, and does not hold
    target: int
    answers_per_minute: float  # of one instance that is given the target

    @property
    def answers_per_hour(self) -> float:
        """Of one instance that is given the target."""
        return self.answers_per_minute * 60

    def instances(self, answers_per_minute: float) -> int:
        """How many instances such a peak needs."""
        return max(1, math.ceil(answers_per_minute / self.answers_per_minute - 1e-9))


def size(steps: Sequence[Step], limit_ms: float, headroom: float = HEADROOM) -> Size | None:
    """Judge what was measured; None when even the fewest at a time do not hold.

    What holds above a level that does not is luck, and does not count.
    """
    ordered = sorted(steps, key=lambda step: step.concurrency)
    holding = [*takewhile(lambda step: step.holds(limit_ms), ordered)]
    if not holding:
        return None
    most = holding[-1].concurrency
    target = max(1, math.floor(most * headroom + 1e-9))
    return Size(
        concurrency=most,
        limit_found=len(holding) < len(ordered),
        target=target,
        answers_per_minute=_answers_per_s(holding, target) * 60,
    )


def verdict(steps: Sequence[Step], limit_ms: float) -> str:
    """Say why nothing can be recommended; "" when something can."""
    if not steps:
        return "nothing was measured"
    least = min(steps, key=lambda step: step.concurrency)
    if least.holds(limit_ms):
        return ""
    asked = "one at a time" if least.concurrency == 1 else f"{least.concurrency} at a time"
    if least.errors:
        return f"even {asked} {least.errors} of {least.answers + least.errors} answers failed: mend that first"
    if least.first_text_p95_ms is None:
        return f"nothing was answered within the time, {asked}: measure for longer"
    came = f"95 % of first texts come within {least.first_text_p95_ms:,.0f} ms, not {limit_ms:,.0f}"
    needed = "A quicker instance, a smaller model or a shorter prompt is needed, not more instances"
    return f"even {asked} is too slow: {came}. {needed}"


def far_past(step: Step, limit_ms: float) -> bool:
    """Whether more at a time need not be tried."""
    return bool(step.errors) or step.first_text_p95_ms is None or step.first_text_p95_ms > 2 * limit_ms


def _answers_per_s(holding: Sequence[Step], concurrency: int) -> float:
    """The rate at a concurrency between two that were measured, or between none and the first, in proportion."""
    rates = [(0, 0.0), *((step.concurrency, step.answers_per_s) for step in holding)]
    for (below, slow), (above, quick) in pairwise(rates):
        if concurrency <= above:
            return slow + (quick - slow) * (concurrency - below) / (above - below)
    return rates[-1][1]
