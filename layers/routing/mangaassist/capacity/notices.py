"""What operators are told: what was being bought, what is billed now, and what to do. Pure.

Capacity is never in a turn's way: shoppers are answered on demand meanwhile, and the notice says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mangaassist.jst import jst
from mangaassist.money.prices import usd

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mangaassist.capacity.workflow import Closing, Ended, Opening, Priced

MOST_SUBJECT = 100  # characters that SNS takes
# What differs from tick to tick while the trouble is the same: what is still to be paid, and AWS's request ids.
PASSING = re.compile(r"\$[\d,.]*\d|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
UNDER_WAY = frozenset({"wanted", "exists", "buy", "creating", "in_service"})  # an opening that something stopped
BY_ERROR = {
    "Bedrock.ServiceQuotaExceededException": (
        "Ask AWS Support for no-commitment model units (docs/capacity.md, Quota); the next tick tries again."
    ),
    "Bedrock.AccessDeniedException": (
        "Compare the capacity function's role with template.yaml, and see that the account may use the model."
    ),
    "Bedrock.ValidationException": "Compare the window's model with what ListFoundationModels calls PROVISIONED.",
}
AGAIN = 'It is not bought again by itself today. To try again: make capacity ARGS="--stack STACK open {window} --live".'
BY_OUTCOME = {
    "refused": "Mend what is named above (model, quota or provisioning.daily_usd); the next tick looks again.",
    "failed": AGAIN,
    "given_up": AGAIN,
}
STILL_BILLED = (
    'It may still be billed, and every tick tries again. By hand: make capacity ARGS="--stack STACK close {window}", '
    "or aws bedrock delete-provisioned-model-throughput --provisioned-model-id {name} --region {region}"
)


@dataclass(frozen=True, slots=True)
class Billed:
    """Something of ours that is alive, and what it costs an hour."""

    name: str
    status: str
    units: int
    hour_nano_usd: int


@dataclass(frozen=True, slots=True)
class Notice:
    """A message to the operators; `gist` is the same for the same trouble, so that nobody is told twice."""

    subject: str
    message: str
    gist: str


def is_trouble(ended: Ended) -> bool:
    """Whether somebody has to look."""
    opening = ended.opening
    refused = opening is not None and opening.outcome == "refused" and opening.mode == "live"
    return bool(ended.failure or refused or any(_went_wrong(closing) for closing in ended.closing))


def summary(ended: Ended) -> str:
    """The whole execution in a sentence."""
    parts = (
        [f"{ended.request.action} failed: {ended.failure.error} {ended.failure.cause}".strip()] if ended.failure else []
    )
    parts += [_opening_sentence(ended.opening)] if ended.opening else []
    parts += [_closing_sentence(closing) for closing in ended.closing]
    return "; ".join(parts or ended.notes) or "nothing to do"


def is_news(ended: Ended) -> bool:
    """Whether operators are to be told: of trouble, and of strays although they were closed."""
    is_stray = ended.request.action == "sweep" and bool(ended.closing)
    return not ended.request.is_rehearsal and (is_trouble(ended) or is_stray)


def notice(ended: Ended, owner: str, billed: Sequence[Billed] | None) -> Notice:
    """What to tell; `billed` is None when it could not be found out."""
    what = ended.opening or next(iter(ended.closing), None)
    headline = summary(ended)
    lines = [
        headline,
        "",
        *([f"What: {_what(what)}"] if what else []),
        f"Billed now: {_billed(billed)}",
        *(f"To do: {step}" for step in dict.fromkeys(_steps(ended))),
        "Shoppers are answered on demand meanwhile: no turn fails for want of capacity.",
    ]
    gist = "|".join((ended.request.action, PASSING.sub("…", headline)))
    return Notice(_subject(owner, ended), "\n".join(lines), gist[:512])


def _subject(owner: str, ended: Ended) -> str:
    window = (ended.opening or next(iter(ended.closing), None) or ended.request).window or "all windows"
    text = f"{owner}: provisioned throughput for {window} needs a look"
    return text.encode("ascii", "replace").decode()[:MOST_SUBJECT]


def _opening_sentence(opening: Opening) -> str:
    hours = opening.planned_nano_usd / opening.hour_nano_usd if opening.hour_nano_usd else 0.0
    what = f"{opening.units} x {opening.model} for {opening.window} of {opening.day}"
    if opening.outcome in UNDER_WAY:
        return f"{what} was on its way"
    money = f"${usd(opening.planned_nano_usd):,.2f}{'' if opening.price_verified else ' (assumed price)'}"
    why = f": {'; '.join(opening.reasons)}" if opening.reasons else ""
    match opening.outcome:
        case "dry_run":
            return f"would buy {what}, {hours:.1f} h for {money}{why}"
        case "refused":
            return f"does not buy {what}{why}"
        case "serving":
            return f"{what} serves until {jst(opening.ends_s):%H:%M} JST"
        case outcome:
            return f"{what} is {outcome.replace('_', ' ')}{why}"


def _closing_sentence(closing: Closing) -> str:
    why = f" ({closing.why})" if closing.leaves == "closed" else ""  # else the opening has said it
    text = f"{closing.name}{why} is {closing.outcome.replace('_', ' ')}"
    if closing.outcome == "retained":
        until = f"{jst(closing.committed_until_s):%Y-%m-%d}" if closing.committed_until_s else "an unknown day"
        hourly = f"${usd(closing.hour_nano_usd):,.2f} an hour"
        text = f"{closing.name} is committed until {until} and stays, withdrawn, for {hourly}"
    if closing.failure:
        text += f": {closing.failure.error} {closing.failure.cause}".rstrip()
    return text


def _region(closing: Closing) -> str:
    return closing.arn.split(":")[3]


def _units(count: int) -> str:
    return f"{count} model unit{'' if count == 1 else 's'}"


def _went_wrong(closing: Closing) -> bool:
    return closing.failure is not None or closing.outcome != "gone" or closing.leaves != "closed"


def _what(priced: Priced) -> str:
    assumed = "" if priced.price_verified else ", assumed"
    return (
        f"{_units(priced.units)} of {priced.model} for the window {priced.window} of {priced.day}, named "
        f"{priced.name}, ${usd(priced.hour_nano_usd):,.2f} an hour{assumed}"
    )


def _billed(billed: Sequence[Billed] | None) -> str:
    if billed is None:
        return "not known, because AWS could not be asked"
    if not billed:
        return "nothing of ours"
    total = sum(it.hour_nano_usd for it in billed)
    names = ", ".join(f"{it.name} ({_units(it.units)}, {it.status})" for it in billed)
    return f"${usd(total):,.2f} an hour: {names}"


def _steps(ended: Ended) -> Iterable[str]:
    opening = ended.opening
    if ended.failure and ended.failure.error in BY_ERROR:
        yield BY_ERROR[ended.failure.error]
    elif ended.failure:
        yield "Look at the execution and at the capacity function's log; the next tick tries again."
    elif opening and opening.outcome in BY_OUTCOME:
        yield BY_OUTCOME[opening.outcome].format(window=opening.window)
    for closing in ended.closing:
        if closing.outcome == "retained":
            yield "A committed purchase renews itself at its end: ask AWS Support to end it (docs/capacity.md)."
        elif closing.failure or closing.outcome != "gone":
            yield STILL_BILLED.format(window=closing.window, name=closing.name, region=_region(closing))
        elif ended.request.action == "sweep":
            yield "It is gone. Find out why it was alive: an execution that died, or a purchase by hand with our tags."
        elif closing.leaves != "closed":
            yield BY_OUTCOME[closing.leaves].format(window=closing.window)
