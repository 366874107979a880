"""What an answer of the endpoint has cost, measured, beside what the advice expects and what tokens cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mangaassist.advice.patterns import ENDPOINT
from mangaassist.advice.terms import DAYS_PER_MONTH
from mangaassist.capacity.endpoint import Span
from reporting.page import Section, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mangaassist.advice.advice import Advice
    from tools.endpoint_desk import Desk

FAST = "ondemand-haiku"
HOSTED = "sagemaker"  # the pattern in which the endpoint answers everything


@dataclass(frozen=True, slots=True)
class Measured:
    """One variant, or the component, in the hours that were looked at; no cost per answer where none was whole."""

    name: str
    hours: float
    answers: int
    cost_usd: float
    answer_usd: float | None
    is_price_verified: bool


def measured(desk: Desk, hours: float) -> list[Measured]:
    """What CloudWatch tells of the last hours; raises ControlPlaneError."""
    now_s = desk.place.now_s()
    used = desk.watch.uses(desk.whose(), Span.around(now_s - hours * 3600, now_s, now_s))
    return [
        Measured(
            name=", ".join(whose.dimensions.values()),
            hours=hours,
            answers=used[whose].answered,
            cost_usd=cost.total_usd,
            answer_usd=cost.answer_usd,
            is_price_verified=quote.verified,
        )
        for whose, (quote, cost) in desk.costs(used).items()
    ]


def documents(found: Sequence[Measured]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [asdict(it) for it in found]


def sentences(found: Sequence[Measured], advice: Advice) -> list[str]:
    """What the measurement means for the advice, a sentence for each."""
    token_usd = advice.terms.message_usd(FAST, advice.profile.input_tokens, advice.profile.output_tokens)
    told = []
    for it in found:
        if it.answer_usd is None:
            told.append(f"{it.name} gave no answer in {it.hours:g} h, which cost ${it.cost_usd:,.2f}.")
            continue
        even = it.cost_usd / token_usd / it.hours if token_usd else float("inf")
        stands = "less" if it.answer_usd < token_usd else "more"
        told.append(
            f"{it.name}: {it.answers:,} answers in {it.hours:g} h cost ${it.answer_usd:.5f} each, {stands} than the "
            f"${token_usd:.5f} of {FAST}; what it cost is even with that from {even:,.0f} answers an hour on."
        )
    return told


def section(found: Sequence[Measured], advice: Advice) -> Section:
    """The part of the page."""
    rows = [
        [it.name, f"{it.answers:,}", f"${it.cost_usd:,.2f}", "-" if it.answer_usd is None else f"${it.answer_usd:.5f}"]
        for it in found
    ]
    expected = _expected_usd(advice)
    caption = "" if expected is None else f"The projection of a SageMaker endpoint comes to ${expected:.5f} an answer."
    table = Table("", ["variant", "answers", "cost", "an answer"], rows, caption)
    return Section("Your endpoint, measured", sentences(found, advice), (table,))


def _expected_usd(advice: Advice) -> float | None:
    """What an answer costs by the projection in which the endpoint answers everything."""
    hosted = next(it for it in advice.projections if it.pattern.key == HOSTED)
    asked = hosted.plan.served.get(ENDPOINT, 0.0) * DAYS_PER_MONTH
    return hosted.models_usd / asked if asked and not hosted.obstacle else None
