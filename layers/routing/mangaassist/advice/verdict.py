"""Which pattern to run: what can be had and fits the need, what the flowchart says, and what the prices say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mangaassist.advice import framework

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mangaassist.advice.framework import Walk
    from mangaassist.advice.profile import Profile
    from mangaassist.advice.projection import Projection

CLOSE = 1.1  # patterns whose months differ by less cost the same: prices and curves are not known better
FOR_CUSTOM_MODEL = ("sagemaker", "hybrid", "hybrid-scheduled")
TERMS = ("none", "OneMonth", "SixMonths")
TEMPLATE_INSTANCES = 4  # the template's maximum (SageMakerMaximumInstances)
HIGH_USE, LOW_USE = 0.9, 0.35


@dataclass(frozen=True, slots=True)
class Judgement:
    """What speaks for a pattern and against it; `excluded` are the reasons for which it cannot be chosen at all."""

    key: str
    score: int
    excluded: tuple[str, ...]
    favourable: tuple[str, ...]
    adverse: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The pattern to run and why, beside the flowchart's leaf and the cheapest that can be chosen."""

    recommended: str | None
    because: str
    walk: Walk
    cheapest: str | None
    judgements: tuple[Judgement, ...]


def judge(projections: Sequence[Projection], profile: Profile) -> Verdict:
    """Choose among the patterns that can be had.

    The flowchart's leaf, unless it cannot be chosen or costs over a tenth more than the cheapest that can; then of all
    that cost about as little the one that the criteria favour.
    """
    walk = framework.walk(profile)
    judgements = tuple(_judgement(it, projections, profile) for it in projections)
    allowed = {it.key: it for it in judgements if not it.excluded}
    months = {it.pattern.key: it.monthly_usd for it in projections if it.pattern.key in allowed}
    if not months:
        return Verdict(None, "no pattern can meet this profile", walk, None, judgements)
    cheapest = min(months, key=lambda key: months[key])
    close = [key for key, month in months.items() if month <= CLOSE * months[cheapest]]
    if walk.leaf in close:
        because = "the flowchart leads to it, and nothing costs much less"
        return Verdict(walk.leaf, because + _over(walk.leaf, months, profile), walk, cheapest, judgements)
    best = max(close, key=lambda key: (allowed[key].score, -months[key]))
    because = _why_not_the_leaf(walk.leaf, judgements, months, cheapest)
    because += f"; of what costs about as little as {cheapest}, the criteria favour it" if best != cheapest else ""
    return Verdict(best, because + _over(best, months, profile), walk, cheapest, judgements)


def _over(chosen: str, months: dict[str, float], profile: Profile) -> str:
    """That the choice is dearer than what may be spent, if it is."""
    if months[chosen] <= profile.monthly_usd:
        return ""
    all_are = min(months.values()) > profile.monthly_usd
    return f"; it is over the budget of ${profile.monthly_usd:,} a month" + (", as is all that fits" if all_are else "")


def _why_not_the_leaf(leaf: str, judgements: Sequence[Judgement], months: dict[str, float], cheapest: str) -> str:
    if leaf in months:
        more = months[leaf] / months[cheapest] if months[cheapest] else math.inf
        return f"the flowchart leads to {leaf}, which costs {more:.1f} times as much as {cheapest}"
    excluded = next(it.excluded for it in judgements if it.key == leaf)
    return f"the flowchart leads to {leaf}, which cannot be chosen: {excluded[0]}"


def _judgement(it: Projection, others: Sequence[Projection], profile: Profile) -> Judgement:
    key = it.pattern.key
    return Judgement(
        key,
        framework.score(key, profile),
        tuple(_excluded(it, profile)),
        (*framework.reasons(key, profile, favourable=True), *_in_favour(it, others)),
        (*framework.reasons(key, profile, favourable=False), *_against(it, others, profile)),
    )


def _excluded(it: Projection, profile: Profile) -> Iterator[str]:
    if it.obstacle:
        yield it.obstacle
        return
    if profile.custom_model and it.pattern.key not in FOR_CUSTOM_MODEL:
        yield "a custom model is wanted, and this hosts none"
    if profile.complex_share and not it.has_quality:
        yield f"the fast class alone would answer: {profile.complex_share:.0%} of the questions want the quality class"
    if TERMS.index(it.pattern.commitment) > TERMS.index(profile.commitment):
        yield f"it needs a commitment ({it.pattern.commitment}) that cannot be entered into"
    if it.latency and it.latency.first_text_p95_ms > profile.first_text_ms:
        wait_ms = f"{it.latency.first_text_p95_ms:,.0f} ms"
        yield f"95 of 100 wait up to {wait_ms} for the first text, and {profile.first_text_ms:,} ms are wanted"


def _in_favour(it: Projection, others: Sequence[Projection]) -> Iterator[str]:
    priced = [other for other in others if not other.obstacle]
    if it in priced and it.monthly_usd == min(other.monthly_usd for other in priced):
        yield f"the least cost: ${it.monthly_usd:,.0f} a month"
    waits = [other.latency.first_text_p95_ms for other in priced if other.latency]
    if it.latency and it.latency.first_text_p95_ms == min(waits):
        yield f"the shortest wait: first text within {it.latency.first_text_p95_ms:,.0f} ms for 95 of 100"
    if not it.plan.units and not it.plan.instances and not it.obstacle:
        yield "nothing costs while nobody asks"


def _against(it: Projection, others: Sequence[Projection], profile: Profile) -> Iterator[str]:
    priced = [other.monthly_usd for other in others if not other.obstacle]
    if not it.obstacle and it.monthly_usd > CLOSE * min(priced) > 0:
        yield f"{it.monthly_usd / min(priced):.1f} times the least cost"
    if it.monthly_usd > profile.monthly_usd:
        yield f"over the budget: ${it.monthly_usd:,.0f} of ${profile.monthly_usd:,} a month"
    for units in it.plan.units:
        if units.used_share < LOW_USE:
            yield f"{units.target}: {1 - units.used_share:.0%} of what {units.units} units carry would be idle"
        if units.used_share > HIGH_USE:
            yield f"{units.target}: what is bought ({units.units}) is full; the rest is answered on demand"
    if it.plan.units:
        yield "the account has no model units until AWS grants them (quota 0)"
    yield from (f"other models answer: {name}" for name in it.foreign)
    if it.pattern.commitment != "none":
        yield "committed units are billed around the clock, and cannot be given back before the term ends"
    if it.plan.instances and it.plan.instances.most > TEMPLATE_INSTANCES:
        yield f"{it.plan.instances.most} instances at the peak: raise SageMakerMaximumInstances ({TEMPLATE_INSTANCES})"
    if not it.is_verified:
        yield "rests on prices that were not confirmed"
