"""Decide where a question is answered: pure, no clock, no network, microseconds.

The rules are the table of the brief as amended in docs/decisions.md; the first whose condition holds wins. Targets
that are not deployed, not published or known dead are passed over here, before they cost time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mangaassist.routing.policy import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mangaassist.money.budget import Tier
    from mangaassist.routing.policy import Policy, Target, Window
    from mangaassist.routing.question import Question
    from mangaassist.routing.situation import Situation


BUDGET_GUARD = "budget_guard"  # the reason of a route that a tier of the budget has cut short
GUARDED = ("guard", "none")  # what a tier of the budget leaves, when the rules of the brief do not count any more


@dataclass(frozen=True, slots=True)
class Route:
    """An ordered chain of targets, best first, ending in the catalogue answer, and why it was chosen."""

    chain: tuple[str, ...]
    reason: str
    score: float
    complex: bool
    catalogue: bool
    spilled: str | None = None  # the window's capacity, when a simple question was kept off it because it is full
    pace: float = 0.0  # what is committed, as a share of what the day's curve allows by now
    tier: str = ""  # of the budget, when one is reached
    answer_share: float = 1.0  # of a target's max_tokens

    @property
    def kind(self) -> str:
        """What kind of question it is for: `catalogue`, `complex` or `simple`, in the order of the rules."""
        return "catalogue" if self.catalogue else "complex" if self.complex else "simple"


@dataclass(slots=True)  # frozen would take twice as long to make
class _Case:
    """The facts that the rules look at."""

    guarded: bool
    catalogue: bool
    complex: bool
    window: str | None
    custom_model: bool
    sonnet_saturated: bool
    haiku_ready: bool


@dataclass(frozen=True, slots=True)
class _Rule:
    reason: str
    when: Callable[[_Case], bool]
    chain: tuple[str, ...]


RULES = (
    _Rule(BUDGET_GUARD, lambda case: case.guarded, ("ondemand-haiku",)),
    _Rule(
        "manga_specific_query",
        lambda case: case.catalogue and case.custom_model,
        ("sagemaker-custom", "ondemand-haiku"),
    ),
    _Rule(
        "peak_complex",
        lambda case: case.window == "peak" and case.complex,
        ("provisioned-sonnet", "ondemand-sonnet", "ondemand-haiku"),
    ),
    _Rule(
        "peak_simple",
        lambda case: case.window == "peak" and not case.sonnet_saturated,
        ("provisioned-sonnet", "ondemand-haiku"),
    ),
    _Rule(
        "business_simple",
        lambda case: case.window == "business" and not case.complex and case.haiku_ready,
        ("provisioned-haiku", "ondemand-haiku"),
    ),
    _Rule("offpeak_complex", lambda case: case.complex, ("ondemand-sonnet", "ondemand-haiku")),
    _Rule("offpeak_simple", lambda case: True, ("ondemand-haiku",)),
)


def decide(question: Question, situation: Situation, policy: Policy, now: datetime) -> Route:
    """Choose the chain for a question at a JST instant."""
    now_s = now.timestamp()
    is_complex = question.score >= policy.complexity_threshold
    minute = now.hour * 60 + now.minute
    tier = policy.budget.tier(situation.committed_nano_usd, minute)
    window = policy.window_at(now)
    case = _Case(
        guarded=tier is not None and tier.models in GUARDED,
        catalogue=question.catalogue,
        complex=is_complex,
        window=window.name if window else None,
        custom_model=_routable(policy.targets["sagemaker-custom"], situation, now_s),
        sonnet_saturated=_saturated("provisioned-sonnet", situation, now_s),
        haiku_ready=_routable(policy.targets["provisioned-haiku"], situation, now_s)
        and not _saturated("provisioned-haiku", situation, now_s),
    )
    rule = next(rule for rule in RULES if rule.when(case))
    live = [name for name in rule.chain if _routable(policy.targets[name], situation, now_s)]
    if tier is not None:
        live = [name for name in live if _affordable(policy.targets[name], tier)]
    return Route(
        chain=(*live, CATALOGUE),
        reason=rule.reason,
        score=question.score,
        complex=is_complex,
        catalogue=question.catalogue,
        spilled=_spilled(window, policy, situation, now_s) if window and rule is RULES[-1] else None,
        pace=policy.budget.pace(situation.committed_nano_usd, minute),
        tier=tier.name if tier else "",
        answer_share=tier.answer_share if tier else 1.0,
    )


def _affordable(target: Target, tier: Tier) -> bool:
    """Whether a tier of the budget leaves a target in: what is paid for by the hour costs nothing more."""
    if tier.models == "none":
        return False
    return tier.models == "all" or target.quality == "fast" or target.billing == "hours"


def _spilled(window: Window, policy: Policy, situation: Situation, now_s: float) -> str | None:
    full = _saturated(window.target, situation, now_s)
    return window.target if full and _routable(policy.targets[window.target], situation, now_s) else None


def _routable(target: Target, situation: Situation, now_s: float) -> bool:
    if not target.deployed or target.backend not in situation.backends:
        return False
    health = situation.health.get(target.name)
    if health is not None and health.is_open(now_s):
        return False
    if not target.published_capacity_only:
        return True
    capacity = situation.capacity.get(target.name)
    return capacity is not None and capacity.until_s > now_s


def _saturated(target: str, situation: Situation, now_s: float) -> bool:
    capacity = situation.capacity.get(target)
    return capacity is not None and capacity.saturated_until_s > now_s
