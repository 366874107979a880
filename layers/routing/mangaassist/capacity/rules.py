"""What holds for every purchase: whose it is and where, what it is called, how long it drains."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date, timedelta

    from mangaassist.capacity.register import Record
    from mangaassist.capacity.workflow import Mode
    from mangaassist.money.rates import Offer
    from mangaassist.routing.policy import Limits, Policy

DRAIN_MARGIN_S = 5.0  # clocks differ a little
NAME_CHARACTERS = 63


@dataclass(frozen=True, slots=True)
class Rules:
    """What the deployment decides: whose purchases these are, where, how early, and whether money may be spent."""

    owner: str
    region: str
    mode: Mode
    lead: timedelta


def purchase_name(owner: str, window: str, day: date, number: int) -> str:
    """A name that Bedrock takes, ([0-9a-zA-Z][_-]?)+ of at most 63 characters: the same for the same purchase."""
    tail = f"-{window}-{day.isoformat()}" + (f"-{number}" if number > 1 else "")
    head = re.sub(r"[^0-9A-Za-z]+", "-", owner).strip("-") or "mangaassist"
    most = NAME_CHARACTERS - len(tail)
    if head != owner or len(head) > most:  # two owners never share a name: it would be one purchase
        mark = f"-{zlib.crc32(owner.encode()):08x}"
        head = head[: most - len(mark)].rstrip("-") + mark
    return head + tail


def drain_s(limits: Limits) -> float:
    """How long a withdrawn ARN may still be called: an old view's age, and the longest turn begun on it."""
    return (limits.situation_ttl_ms + limits.turn_ms) / 1000 + DRAIN_MARGIN_S


def give_up_s(policy: Policy) -> float:
    """How long a purchase may take until it serves, and a deletion until it is done."""
    return policy.provisioning.give_up_minutes * 60


def offer_for(policy: Policy, window: str) -> Offer | None:
    """What is bought for a window; None when its model is not sold by the unit, or there is no such window."""
    target = next((it.target for it in policy.windows if it.name == window), None)
    return policy.model_of(target).provisioned if target else None


def unit_price_nano_usd(record: Record, policy: Policy) -> int:
    """What a unit of a window's purchase costs an hour: as it was recorded, else as offered now; 0 if nobody knows."""
    offer = offer_for(policy, record.window)
    return record.unit_hour_nano_usd or (offer.unit_hour_nano_usd if offer else 0)
