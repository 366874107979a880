"""How many model units each window needs by the forecast, and what the window costs (the brief's 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mangaassist.advice.load import load_of
from mangaassist.advice.patterns import units_for, windows_units
from mangaassist.advice.terms import DAYS_PER_MONTH

if TYPE_CHECKING:
    from mangaassist.advice.patterns import Units
    from mangaassist.advice.profile import Profile
    from mangaassist.advice.terms import Terms

LADDER = ((50_000, "1 unit"), (150_000, "2 or 3 units"))  # tokens a minute, of the brief
ABOVE = "4 units or more: ask AWS"


@dataclass(frozen=True, slots=True)
class WindowSize:
    """A window of the policy: what its busiest minute asks for, and the units that carry that without a throttle."""

    window: str
    target: str
    with_endpoint: bool  # one that takes the questions about the catalogue
    tokens_per_minute: float
    units: int  # of the policy
    units_needed: int
    by_the_brief: str
    unit_tokens_per_minute: int
    daily_usd: float  # of the units needed, the lead before the window included
    monthly_usd: float
    verified: bool


def window_sizes(profile: Profile, terms: Terms) -> tuple[WindowSize, ...]:
    """Every window of the policy, with an endpoint and without; none where its schedule cannot be had."""
    load = load_of(profile)
    return tuple(
        _size(window.name, units, terms, with_endpoint=with_endpoint)
        for with_endpoint in (True, False)
        for window, units in zip(terms.policy.windows, windows_units(load, terms, with_endpoint), strict=False)
    )


def by_the_brief(tokens_per_minute: float) -> str:
    """The rung of the brief's ladder."""
    return next((units for most, units in LADDER if tokens_per_minute < most), ABOVE)


def _size(name: str, units: Units, terms: Terms, *, with_endpoint: bool) -> WindowSize:
    offer = terms.offer(units.target)
    needed = units_for(units.peak_tokens_per_minute, offer.unit_tokens_per_minute)
    daily_usd = needed * units.hours_per_day * float(offer.unit_hour_usd)
    return WindowSize(
        window=name,
        target=units.target,
        with_endpoint=with_endpoint,
        tokens_per_minute=units.peak_tokens_per_minute,
        units=units.units,
        units_needed=needed,
        by_the_brief=by_the_brief(units.peak_tokens_per_minute),
        unit_tokens_per_minute=offer.unit_tokens_per_minute,
        daily_usd=daily_usd,
        monthly_usd=daily_usd * DAYS_PER_MONTH,
        verified=offer.verified,
    )
