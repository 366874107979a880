"""Where buying by the hour begins to pay: tokens an hour on one unit, and messages a day for a whole pattern."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from mangaassist.advice.load import load_of
from mangaassist.advice.patterns import BY_CLASS, PATTERNS, STANDS_FOR, on_demand
from mangaassist.advice.projection import projected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mangaassist.advice.profile import Commitment, Profile
    from mangaassist.advice.terms import Terms
    from mangaassist.routing.policy import Policy

LEAST, MOST = 1_000, 100_000_000  # messages a day that are looked at
POINTS_PER_DECADE = 12
COMMITMENTS: tuple[Commitment, ...] = ("none", "OneMonth", "SixMonths")


@dataclass(frozen=True, slots=True)
class UnitBreakEven:
    """From how many tokens an hour one model unit costs less than the same tokens on demand."""

    target: str
    model: str  # that the unit is of
    against: str  # a target on demand: the one that answers without the unit, or the unit's own model
    commitment: Commitment
    unit_hour_usd: float
    on_demand_usd_per_million: float  # of this mix of input and output
    tokens_per_hour: float | None  # None: against what costs nothing it never pays
    carried_tokens_per_hour: float  # by a unit that is full all the time
    verified: bool

    @property
    def use_needed(self) -> float | None:
        """The share of its throughput that a unit has to be used for; above 1, and for None, it never pays."""
        return None if self.tokens_per_hour is None else self.tokens_per_hour / self.carried_tokens_per_hour

    @property
    def pays(self) -> bool:
        """Whether a unit that is used enough pays."""
        return self.use_needed is not None and self.use_needed <= 1


@dataclass(frozen=True, slots=True)
class Crossing:
    """A volume from which on a pattern becomes `cheaper` or `dearer` than on demand."""

    messages_per_day: int
    becomes: Literal["cheaper", "dearer"]


@dataclass(frozen=True, slots=True)
class VolumeBreakEven:
    """How a pattern stands to on demand as volume grows; counts go in steps, so it may cross more than once."""

    key: str
    cheaper_at_least: bool  # at the smallest volume that is looked at
    crossings: tuple[Crossing, ...]

    @property
    def first(self) -> int | None:
        """The volume from which on it is first cheaper; None where it never is."""
        if self.cheaper_at_least:
            return LEAST
        return self.crossings[0].messages_per_day if self.crossings else None


def unit_break_evens(profile: Profile, terms: Terms) -> tuple[UnitBreakEven, ...]:
    """Of each class that is sold by the unit, under each commitment: against the target that it stands in for, whose
    model may be another one, and against its own model on demand."""
    return tuple(
        _of_unit(target, against, commitment, profile, terms)
        for target in dict.fromkeys(BY_CLASS.values())
        if (offer := terms.policy.model_of(target).provisioned)
        for commitment in COMMITMENTS
        if commitment == "none" or commitment in offer.committed_unit_hour_usd
        for against in _alternatives(target, terms.policy)
    )


def _alternatives(target: str, policy: Policy) -> tuple[str, ...]:
    instead = STANDS_FOR[target]
    return (instead,) if policy.targets[target].model == policy.targets[instead].model else (instead, target)


def _of_unit(target: str, against: str, commitment: Commitment, profile: Profile, terms: Terms) -> UnitBreakEven:
    offer = terms.offer(target)
    message_usd = terms.message_usd(against, profile.input_tokens, profile.output_tokens)
    token_usd = message_usd / (profile.input_tokens + profile.output_tokens)
    hour_usd = float(offer.unit_hour_usd_for(commitment))
    return UnitBreakEven(
        target=target,
        model=terms.policy.targets[target].model,
        against=against,
        commitment=commitment,
        unit_hour_usd=hour_usd,
        on_demand_usd_per_million=token_usd * 1e6,
        tokens_per_hour=hour_usd / token_usd if token_usd else None,
        carried_tokens_per_hour=offer.unit_tokens_per_minute * 60,
        verified=offer.verified and terms.price(against).verified,
    )


def volume_break_evens(profile: Profile, terms: Terms) -> tuple[VolumeBreakEven, ...]:
    """Of every pattern that can be had, against on demand, with this mix and curve.

    Looked at are twelve volumes to each power of ten; a change that is undone between two of them is not seen.
    """
    found = []
    for pattern in PATTERNS:
        if pattern.plan is on_demand or projected(pattern, load_of(profile), profile, terms).obstacle:
            continue
        dearer_usd = partial(_dearer_usd, pattern.key, profile, terms)
        found.append(VolumeBreakEven(pattern.key, dearer_usd(LEAST) < 0, tuple(_crossings(dearer_usd))))
    return tuple(found)


def cost_at(key: str, messages_per_day: int, profile: Profile, terms: Terms) -> float:
    """A pattern's month at another volume."""
    pattern = next(it for it in PATTERNS if it.key == key)
    there = profile.but(messages_per_day=messages_per_day)
    return projected(pattern, load_of(there), there, terms).monthly_usd


def volumes() -> list[int]:
    """Volumes to look at, evenly spaced by their logarithm."""
    steps = round(POINTS_PER_DECADE * 5)  # 1,000 to 100 million
    return [round(LEAST * (MOST / LEAST) ** (step / steps)) for step in range(steps + 1)]


def _dearer_usd(key: str, profile: Profile, terms: Terms, volume: int) -> float:
    """What a pattern costs more than on demand at a volume."""
    return cost_at(key, volume, profile, terms) - cost_at(PATTERNS[0].key, volume, profile, terms)


def _crossings(dearer_usd: Callable[[int], float]) -> Iterator[Crossing]:
    for low, high in pairwise(volumes()):
        below, above = dearer_usd(low) < 0, dearer_usd(high) < 0
        if below == above:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if (dearer_usd(middle) < 0) == below else (low, middle)
        yield Crossing(high, "cheaper" if above else "dearer")
