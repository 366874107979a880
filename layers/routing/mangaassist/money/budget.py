"""What a JST day may cost, and what gives way as its money goes: a budget, the expected curve of the day, and tiers.

The *pace* is what is spent and set aside, as a share of what the day's curve allows by this minute; it runs somewhat
ahead of the curve, so that a busy hour is no alarm. A tier that looks at the pace keeps the evening's money from being
spent in the morning; one that looks at the day holds its limit.
"""

from __future__ import annotations

import math
from decimal import Decimal
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mangaassist.document import Part

HOURS_PER_DAY = 24
MINUTES_PER_DAY = 24 * 60
SUM_TOLERANCE = 0.001
LEAST_ALLOWED = 1 / MINUTES_PER_DAY  # a curve may begin with nothing

Share = Annotated[float, Field(gt=0, le=1)]

# How a day's questions spread over the hours of Japan: quiet at night, a rise at lunch, half of all after 18:00. A
# shape to begin with; a store's own comes from its ledger (`make ledger`).
STORE_CURVE = (
    *(0.035, 0.022, 0.012, 0.007, 0.005, 0.006, 0.012, 0.022, 0.028, 0.030, 0.034, 0.038),
    *(0.048, 0.042, 0.038, 0.040, 0.044, 0.052, 0.065, 0.078, 0.090, 0.095, 0.090, 0.067),
)

# `all`: as the rules say; `fast`: the quality class only where it is paid for by the hour anyway; `guard`: the fast
# class on demand alone; `none`: the catalogue answers.
MODELS = ("all", "fast", "guard", "none")


class Tier(Part):
    """What gives way once so much is spent: which models may be asked, and how long their answers may be."""

    name: str = Field(pattern=r"^[a-z][a-z_]{0,31}$")
    at: Share
    of: Literal["pace", "day"] = "pace"
    models: Literal["all", "fast", "guard", "none"] = "all"
    answer_share: Share = 1.0  # of a target's max_tokens


TIERS = (
    Tier(name="shorter_answers", at=0.75, answer_share=0.6),
    Tier(name="fast_class", at=0.9, models="fast", answer_share=0.6),
    Tier(name="budget_guard", at=0.95, of="day", models="guard", answer_share=0.6),
    Tier(name="budget_spent", at=1.0, of="day", models="none", answer_share=0.6),
)


class Budget(Part):
    """What a JST day may cost."""

    daily_usd: Annotated[Decimal, Field(gt=0, le=1_000_000)] = Decimal(500)
    curve: tuple[Annotated[float, Field(ge=0, le=1)], ...] = STORE_CURVE  # the day's spend by hour of JST, as shares
    ahead_minutes: int = Field(default=120, ge=1, le=MINUTES_PER_DAY)  # how far ahead of the curve money may be spent
    tiers: tuple[Tier, ...] = TIERS  # each gives up no less than the one before

    @model_validator(mode="after")
    def _consistent(self) -> Budget:
        if len(self.curve) != HOURS_PER_DAY:
            raise ValueError(f"curve: {HOURS_PER_DAY} shares are expected, one an hour, not {len(self.curve)}")
        if not math.isclose(sum(self.curve), 1, abs_tol=SUM_TOLERANCE):
            raise ValueError(f"curve: its shares sum to {sum(self.curve):.4f}, not 1")
        if len({tier.name for tier in self.tiers}) < len(self.tiers):
            raise ValueError("tiers: two share a name")
        for one, other in pairwise(self.tiers):
            if MODELS.index(one.models) > MODELS.index(other.models) or one.answer_share < other.answer_share:
                raise ValueError(f"tiers: {other.name} gives up less than {one.name} before it")
            if one.of == other.of and one.at >= other.at:
                raise ValueError(f"tiers: {other.name} has to come later than {one.name} (at)")
        return self

    @cached_property
    def daily_nano_usd(self) -> int:
        return int(self.daily_usd * 1_000_000_000)

    def allowed(self, minute: int) -> float:
        """The share of the day's budget that may be spent by a minute of the JST day."""
        return self._allowed[minute]

    def pace(self, committed_nano_usd: int, minute: int) -> float:
        """What is committed, as a share of what may be by a minute of the JST day."""
        return committed_nano_usd / self.daily_nano_usd / self._allowed[minute]

    def tier(self, committed_nano_usd: int, minute: int) -> Tier | None:
        """The strictest tier that is reached; None while nothing has to give way."""
        spent = committed_nano_usd / self.daily_nano_usd
        pace = self.pace(committed_nano_usd, minute)
        for tier in self._strictest_first:
            if (pace if tier.of == "pace" else spent) >= tier.at:
                return tier
        return None

    @cached_property
    def _strictest_first(self) -> tuple[Tier, ...]:
        return tuple(reversed(self.tiers))

    @cached_property
    def _allowed(self) -> tuple[float, ...]:
        by_hour = [0.0, *accumulate(self.curve)]
        ahead = (_between(by_hour, (minute + self.ahead_minutes) / 60) for minute in range(MINUTES_PER_DAY))
        return tuple(max(LEAST_ALLOWED, share / by_hour[-1]) for share in ahead)


def _between(by_hour: list[float], hour: float) -> float:
    """A sum by hours at an instant between two of them."""
    if hour >= HOURS_PER_DAY:
        return by_hour[-1]
    whole = int(hour)
    return by_hour[whole] + (by_hour[whole + 1] - by_hour[whole]) * (hour - whole)
