"""Whether money may be spent: every reason against a purchase at once, so that they can be mended at once. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mangaassist.money.prices import usd

if TYPE_CHECKING:
    from datetime import date

    from mangaassist.capacity.control_plane import Lifecycle
    from mangaassist.capacity.workflow import Opening

QUOTA = "Model units no-commitment Provisioned Throughputs across"  # its name goes on "base models" or "custom models"


@dataclass(frozen=True, slots=True)
class Market:
    """What the service and the day's accounts say about a purchase; None stands for what could not be found out."""

    region: str
    sold: Lifecycle | None
    quota: float | None
    units_in_use: int
    planned_today_nano_usd: int  # of the day's other purchases
    most_today_nano_usd: int
    policy_end_of_life: date | None
    last_day: date


def refusals(opening: Opening, market: Market) -> tuple[str, ...]:
    """The reasons why this must not be bought; none when it may."""
    found = (
        _not_sold(opening, market),
        _ends(opening, market),
        _over_quota(opening, market),
        _too_dear(opening, market),
    )
    return tuple(reason for reason in found if reason)


def warnings(opening: Opening, market: Market) -> tuple[str, ...]:
    """What an operator should know although it forbids nothing."""
    found = []
    if not opening.price_verified:
        found.append(
            f"the price of {opening.model} (${usd(opening.unit_hour_nano_usd):g} per unit and hour) is not verified: "
            "AWS publishes none; put the one of your quote into the policy"
        )
    if market.quota is None:
        found.append("the quota of model units is not known; AWS refuses the purchase if it does not suffice")
    return tuple(found)


def _not_sold(opening: Opening, market: Market) -> str:
    if market.sold is None:
        return (
            f"{opening.model} is not sold as provisioned throughput in {market.region}: name a contextual variant that "
            "is (ListFoundationModels, byInferenceType PROVISIONED), or ask AWS for the Reserved tier"
        )
    if market.sold.status != "ACTIVE":
        end = f", its end of life is {market.sold.end_of_life}" if market.sold.end_of_life else ""
        return f"{opening.model} is {market.sold.status.lower()}{end}: AWS sells no new provisioned throughput of it"
    return ""


def _ends(opening: Opening, market: Market) -> str:
    service = market.sold.end_of_life if market.sold and market.sold.status == "ACTIVE" else None
    ends = min((day for day in (service, market.policy_end_of_life) if day), default=None)
    if ends and ends <= market.last_day:
        return f"{opening.model} reaches its end of life on {ends}, before this window is over"
    return ""


def _over_quota(opening: Opening, market: Market) -> str:
    if market.quota is None or market.units_in_use + opening.units <= market.quota:
        return ""
    return (
        f"{opening.units} units are wanted, {market.units_in_use} are in use and the quota in {market.region} is "
        f"{market.quota:g}: ask AWS Support for more no-commitment model units"
    )


def _too_dear(opening: Opening, market: Market) -> str:
    total = market.planned_today_nano_usd + opening.planned_nano_usd
    if total <= market.most_today_nano_usd:
        return ""
    return (
        f"this purchase makes the day cost ${usd(total):,.2f}, and provisioning.daily_usd of the policy is "
        f"${usd(market.most_today_nano_usd):,.2f}"
    )
