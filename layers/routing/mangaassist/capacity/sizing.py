"""How full capacity was, and how many units the next window should have. Pure.

How many tokens a unit carries is what the policy assumes of it: AWS publishes no number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mangaassist.capacity.use import total

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mangaassist.capacity.use import Minute, Use

FULL_SHARE = 0.8  # of its throughput that a unit should be asked for in a busy minute
BUSY_MINUTE = 0.95  # of all minutes are no busier than the one that units are counted for


@dataclass(frozen=True, slots=True)
class Fullness:
    """How much of some units' throughput was used: shares of it, in the mean minute, a busy one and the busiest."""

    use: Use
    requests_per_minute: float
    tokens_per_minute: float
    mean_share: float
    busy_share: float
    busiest_share: float
    units_needed: int


def fullness(minutes: Sequence[Minute], minutes_served: float, units: int, unit_tokens_per_minute: int) -> Fullness:
    """Judge the minutes in which there was any use, out of all in which there was capacity."""
    use, served = total(minutes), max(1.0, minutes_served)
    carried = units * unit_tokens_per_minute
    idle = max(0, math.ceil(served) - len(minutes))
    amounts = sorted([0] * idle + [_wanted_tokens(minute, use) for minute in minutes])
    busy = amounts[min(len(amounts) - 1, int(BUSY_MINUTE * len(amounts)))]
    taken = max((minute.use.tokens for minute in minutes), default=0)
    return Fullness(
        use=use,
        requests_per_minute=use.requests / served,
        tokens_per_minute=use.tokens / served,
        mean_share=use.tokens / served / carried if carried else 0.0,
        busy_share=busy / carried if carried else 0.0,
        busiest_share=taken / carried if carried else 0.0,
        units_needed=max(1, math.ceil(busy / (FULL_SHARE * unit_tokens_per_minute)))
        if unit_tokens_per_minute
        else units,
    )


def _wanted_tokens(minute: Minute, day: Use) -> float:
    """What a minute took, and what those that spilled over would have taken."""
    each = day.tokens / day.requests if day.requests else 0.0
    return minute.use.tokens + minute.use.spilled * each
