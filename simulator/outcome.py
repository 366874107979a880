"""What came of a simulated day, counted as it passes and told as one document; money in whole nano-dollars."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mangaassist.advice.patterns import LEAD
from mangaassist.advice.profile import PLACES_PER_INSTANCE
from mangaassist.money.prices import usd
from simulator.arrivals import COMPLEX

if TYPE_CHECKING:
    from mangaassist.money.book import Quote
    from mangaassist.money.rates import Offer
    from mangaassist.routing.policy import Policy, Window
    from mangaassist.routing.router import Route

EVENING = range(18, 24)
PERCENTILES = (50, 90, 95, 99)
PROMISE_MS = 3000


@dataclass(frozen=True, slots=True)
class Answer:
    """Who answered a turn, of which class, and when its first text came."""

    target: str
    quality: str
    first_text_ms: float


@dataclass(frozen=True, slots=True)
class Hours:
    """What is bought by the hour, a window's units or the endpoint's instances: its cost, and how much was used."""

    what: str
    hours: float  # of all units or instances together
    cost_usd: float
    used_share: float
    verified: bool

    @property
    def idle_usd(self) -> float:
        """What was paid for throughput that nobody used."""
        return self.cost_usd * max(0.0, 1 - self.used_share)  # a minute that was saved up before may be used too


@dataclass(frozen=True, slots=True)
class Bought:
    """An endpoint's instances, and what one costs an hour."""

    instances: int
    quote: Quote


@dataclass(slots=True)
class Outcome:
    """A day's counts."""

    first_text_ms: array[float] = field(default_factory=lambda: array("f"))
    turns: Counter[tuple[int, str]] = field(default_factory=Counter)  # by hour and target
    cost: Counter[tuple[int, str]] = field(default_factory=Counter)  # nano-dollars by hour and target
    reasons: Counter[str] = field(default_factory=Counter)
    tiers: Counter[tuple[int, str]] = field(default_factory=Counter)
    fallbacks: Counter[tuple[str, str]] = field(default_factory=Counter)  # by target and outcome
    complex_turns: Counter[int] = field(default_factory=Counter)  # by hour
    complex_by_quality: Counter[int] = field(default_factory=Counter)
    tokens: Counter[tuple[str, int]] = field(default_factory=Counter)  # by window and hour
    occupied_s: float = 0.0  # of the endpoint's places
    committed: list[int] = field(default_factory=lambda: [0] * 24)  # at the end of each hour
    hours: tuple[Hours, ...] = ()
    committed_nano_usd: int = 0

    def turn(self, hour: int, kind: int, route: Route, answer: Answer, committed_nano_usd: int) -> None:
        """Count a turn."""
        self.turns[hour, answer.target] += 1
        self.reasons[route.reason] += 1
        if route.tier:
            self.tiers[hour, route.tier] += 1
        if kind == COMPLEX:
            self.complex_turns[hour] += 1
            self.complex_by_quality[hour] += answer.quality == "quality"
        self.first_text_ms.append(answer.first_text_ms)
        self.committed[hour] = committed_nano_usd

    def fell_back(self, target: str, outcome: str) -> None:
        """Count a target that was tried, or refused, in vain."""
        self.fallbacks[target, outcome] += 1

    def charged(self, target: str, hour: int, nano_usd: int) -> None:
        """Count what a call cost, in the hour in which it was over."""
        self.cost[hour, target] += nano_usd

    def used(self, window: str, hour: int, tokens: int) -> None:
        """Count what was used of a window's units."""
        self.tokens[window, hour] += tokens

    def answering(self, seconds: float) -> None:
        """Count how long a place of the endpoint was taken."""
        self.occupied_s += seconds

    def close(
        self, policy: Policy, committed_nano_usd: int, *, units_are_bought: bool, endpoint: Bought | None
    ) -> None:
        """Add up the day: hours without a message keep the amount of the hour before; what is bought costs anyway."""
        self.committed_nano_usd = committed_nano_usd
        for hour in range(1, 24):
            self.committed[hour] = self.committed[hour] or self.committed[hour - 1]
        for window in policy.windows if units_are_bought else ():
            if offer := policy.model_of(window.target).provisioned:
                self.hours += (self._of_window(window, offer),)
        if endpoint:
            self.hours += (self._of_endpoint(endpoint),)

    def _of_window(self, window: Window, offer: Offer) -> Hours:
        minutes = len(window.minutes())
        carried = minutes * window.units * offer.unit_tokens_per_minute
        used = sum(tokens for (name, _), tokens in self.tokens.items() if name == window.name)
        unit_hours = (minutes / 60 + LEAD.total_seconds() / 3600) * window.units
        return Hours(window.name, unit_hours, unit_hours * float(offer.unit_hour_usd), used / carried, offer.verified)

    def _of_endpoint(self, bought: Bought) -> Hours:
        hours = 24.0 * bought.instances
        used = self.occupied_s / (hours * 3600 * PLACES_PER_INSTANCE)
        return Hours("endpoint", hours, hours * bought.quote.usd, used, bought.quote.verified)

    # -- told ----------------------------------------------------------------------------------------------------------

    @property
    def tokens_nano_usd(self) -> int:
        """What the models cost by the token."""
        return sum(self.cost.values())

    @property
    def hours_usd(self) -> float:
        """What units and instances cost."""
        return sum(it.cost_usd for it in self.hours)

    def by_target(self, counted: Counter[tuple[int, str]]) -> dict[str, int]:
        """Counts of all hours, the largest first."""
        sums: Counter[str] = Counter()
        for (_, target), amount in counted.items():
            sums[target] += amount
        return dict(sums.most_common())

    def quality_share(self, hours: range = EVENING) -> float | None:
        """The share of complex questions of some hours that the quality class answered; None where there was none."""
        asked = sum(self.complex_turns[hour] for hour in hours)
        return sum(self.complex_by_quality[hour] for hour in hours) / asked if asked else None

    def first_text(self) -> dict[str, float]:
        """Percentiles of the time to first text, in milliseconds, and the share within the promise."""
        values = np.frombuffer(self.first_text_ms, dtype=np.float32)
        if not len(values):
            return {}
        found = {f"p{it}_ms": float(np.percentile(values, it)) for it in PERCENTILES}
        return found | {"within_3s_share": float((values <= PROMISE_MS).mean())}

    def document(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {
            "turns": sum(self.turns.values()),
            "tokens_usd": usd(self.tokens_nano_usd),
            "hours_usd": self.hours_usd,
            "cost_nano_usd_by_target": self.by_target(self.cost),
            "turns_by_target": self.by_target(self.turns),
            "cost_nano_usd_by_hour": _table(self.cost),
            "turns_by_hour": _table(self.turns),
            "reasons": dict(self.reasons.most_common()),
            "tiers_by_hour": _table(self.tiers),
            "fallbacks": {f"{target}:{why}": count for (target, why), count in self.fallbacks.most_common()},
            "evening_quality_share": self.quality_share(),
            "day_quality_share": self.quality_share(range(24)),
            "first_text": self.first_text(),
            "committed_nano_usd_by_hour": self.committed,
            "bought_by_the_hour": [asdict(it) | {"idle_usd": it.idle_usd} for it in self.hours],
        }


def _table(counted: Counter[tuple[int, str]]) -> list[dict[str, int]]:
    """One row an hour, by name."""
    return [{name: amount for (it, name), amount in sorted(counted.items()) if it == hour} for hour in range(24)]
