"""How far the verdict holds when a price or the mix turns out otherwise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from mangaassist.advice.projection import project
from mangaassist.advice.verdict import judge
from mangaassist.errors import PriceUnknown
from mangaassist.money.book import HOSTING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mangaassist.advice.profile import Profile
    from mangaassist.advice.terms import Terms
    from mangaassist.routing.policy import Model

MOST_TOKENS, MOST_MESSAGES = 8192, 100_000_000  # what a profile allows


@dataclass(frozen=True, slots=True)
class Variation:
    """One thing changed, and what comes of it: the recommended and the cheapest pattern with their months."""

    name: str
    recommended: str | None
    cheapest: str | None
    months: dict[str, float]
    changes_verdict: bool


def variations(profile: Profile, terms: Terms) -> tuple[Variation, ...]:
    """Every variation, judged anew."""
    before = judge(project(profile, terms), profile).recommended
    cases = (*_other_prices(profile, terms), *((name, it, terms) for name, it in _other_traffic(profile)))
    return tuple(_judged(name, its_profile, its_terms, before) for name, its_profile, its_terms in cases)


def _judged(name: str, profile: Profile, terms: Terms, before: str | None) -> Variation:
    projections = project(profile, terms)
    verdict = judge(projections, profile)
    months = {it.pattern.key: it.monthly_usd for it in projections if not it.obstacle}
    return Variation(name, verdict.recommended, verdict.cheapest, months, verdict.recommended != before)


def _other_prices(profile: Profile, terms: Terms) -> Iterator[tuple[str, Profile, Terms]]:
    for factor in (0.5, 2.0):
        by = Decimal(str(factor))
        yield f"tokens on demand x {factor:g}", profile, _with_models(terms, partial(_tokens, by=by))
        yield f"model units x {factor:g}", profile, _with_models(terms, partial(_unit_price, by=by))
        if hosted := _instance_price(profile, terms, factor):
            yield f"instances x {factor:g}", profile, hosted
    yield "a unit carries twice as much", profile, _with_models(terms, partial(_unit_tokens, by=2))


def _other_traffic(profile: Profile) -> Iterator[tuple[str, Profile]]:
    messages, output = profile.messages_per_day, profile.output_tokens
    yield "output tokens x 0.5", profile.but(output_tokens=_within(output / 2, MOST_TOKENS))
    yield "output tokens x 2", profile.but(output_tokens=_within(output * 2, MOST_TOKENS))
    yield "a tenth of the messages", profile.but(messages_per_day=_within(messages / 10, MOST_MESSAGES))
    yield "ten times the messages", profile.but(messages_per_day=_within(messages * 10, MOST_MESSAGES))
    yield "no complex question", profile.but(complex_share=0.0)
    yield "half of the other questions complex", profile.but(complex_share=(1 - profile.catalogue_share) / 2)
    yield "no question about the catalogue", profile.but(catalogue_share=0.0)


def _within(amount: float, most: int) -> int:
    return max(1, min(most, round(amount)))


def _with_models(terms: Terms, change: Callable[[Model], Model]) -> Terms:
    models = {name: change(model) for name, model in terms.policy.models.items()}
    return replace(terms, policy=terms.policy.but(models=models))


def _tokens(model: Model, by: Decimal) -> Model:
    prices = tuple(it.but(input=it.input * by, output=it.output * by) for it in model.prices)
    return model.but(prices=prices)


def _unit_price(model: Model, by: Decimal) -> Model:
    if (offer := model.provisioned) is None:
        return model
    committed = {term: usd * by for term, usd in offer.committed_unit_hour_usd.items()}
    dearer = offer.but(unit_hour_usd=offer.unit_hour_usd * by, committed_unit_hour_usd=committed)
    return model.but(provisioned=dearer)


def _unit_tokens(model: Model, by: int) -> Model:
    if (offer := model.provisioned) is None:
        return model
    return model.but(provisioned=offer.but(unit_tokens_per_minute=offer.unit_tokens_per_minute * by))


def _instance_price(profile: Profile, terms: Terms, factor: float) -> Terms | None:
    name = f"{HOSTING}{profile.instance_type}"
    try:
        usd = terms.book.quote(name, profile.region, terms.day).usd
    except PriceUnknown:
        return None
    return replace(terms, book=terms.book.but({name: Decimal(str(usd * factor))}, profile.region))
