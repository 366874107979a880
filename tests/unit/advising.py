"""What tests of the advice rest on: profiles, a day's terms, and prices that are easy to count with."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from mangaassist.advice import profile
from mangaassist.advice.load import load_of
from mangaassist.advice.patterns import PATTERNS
from mangaassist.advice.projection import projected
from mangaassist.advice.terms import Terms
from mangaassist.money.book import price_book
from mangaassist.routing import policy

if TYPE_CHECKING:
    from mangaassist.advice.profile import Profile
    from mangaassist.advice.projection import Projection

DAY = date(2026, 11, 26)
CURRENT = Terms(policy.preset("current"), price_book(), DAY)
BRIEF = Terms(policy.preset("claude-3"), price_book(), date(2026, 1, 15))  # while its models could be had
FLAT = [1 / 24] * 24


def asked(messages_per_day: int = 1_000_000, **more: Any) -> Profile:
    return profile.read({"messages_per_day": messages_per_day, **more})


def projection(key: str, its: Profile, terms: Terms = BRIEF) -> Projection:
    pattern = next(it for it in PATTERNS if it.key == key)
    return projected(pattern, load_of(its), its, terms)


def costs(found: Projection) -> dict[str, float]:
    return {part.name: part.monthly_usd for part in found.costs}
