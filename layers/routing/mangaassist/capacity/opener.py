"""Guard, create, inspect, publish: turns are sent to capacity only once it may be bought, was bought, and serves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mangaassist.capacity import guard
from mangaassist.capacity.control_plane import CUSTOM_MODEL, Order
from mangaassist.capacity.guard import Market
from mangaassist.capacity.rules import give_up_s, offer_for, unit_price_nano_usd
from mangaassist.capacity.workflow import POLL_S
from mangaassist.errors import ControlPlaneError
from mangaassist.jst import jst
from mangaassist.observability import logger

if TYPE_CHECKING:
    from mangaassist.capacity.control_plane import Purchase
    from mangaassist.capacity.ports import Ports
    from mangaassist.capacity.register import Record
    from mangaassist.capacity.workflow import Opening
    from mangaassist.routing.policy import Policy

HOURS_PER_DAY = 24
UNSEEN_S = 300  # in which AWS has to know what it has sold


class Opener:
    """Every method raises ControlPlaneError and StoreUnavailable, and may be called again."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def guard(self, opening: Opening) -> Opening:
        """Judge a purchase, at no cost: `buy`, `dry_run` (it would be bought), or `refused`, with all reasons."""
        policy = self._ports.policy
        if offer_for(policy, opening.window) is None:
            model = policy.targets[opening.target].model
            return opening.turned(
                "refused",
                f"model {model} is not sold by the unit as far as the policy knows: say models.{model}.provisioned, or "
                "ask AWS for the Reserved tier",
            )
        market = self._market(opening, policy)
        against, also = guard.refusals(opening, market), guard.warnings(opening, market)
        outcome = "refused" if against else "buy" if opening.mode == "live" else "dry_run"
        return opening.turned(outcome, *against, *also)

    def create(self, opening: Opening) -> Opening:
        """Buy; the same name again is the same purchase, so that a lost answer costs nothing."""
        now_s = self._ports.now_s()
        earlier = self._ports.register.record(
            opening.window, opening.day
        )  # first: who overtakes us from here on changes it
        if now_s >= opening.ends_s or self._is_overtaken(opening):
            return opening.turned("overtaken")
        is_another = bool(earlier.gone_s) and earlier.number != opening.number
        if not self._ports.register.note_after(
            earlier,
            state="creating",
            reason="; ".join(opening.reasons),
            tended_until_s=opening.tended_until_s(now_s),
            **(opening.purchased() | (earlier.anew() if is_another else {})),
        ):
            return opening.turned("overtaken")
        arn = self._ports.control_plane.create(
            Order(
                name=opening.name,
                model=opening.model,
                units=opening.units,
                owner=self._ports.rules.owner,
                window=opening.window,
                day=opening.day,
            )
        )
        self._ports.register.note(opening.window, opening.day, arn=arn, created_s=now_s)
        return opening.model_copy(update={"arn": arn, "outcome": "creating", "wait_s": POLL_S, "began_s": now_s})

    def inspect(self, opening: Opening) -> Opening:
        """Look at what was bought: creating, in_service, failed, given_up, or overtaken by somebody."""
        now_s = self._ports.now_s()
        if self._is_overtaken(opening):
            return opening.turned("overtaken")
        found = self._ports.control_plane.get(str(opening.arn))
        began_s = found.created_s if found else opening.began_s
        self._ports.register.note(
            opening.window, opening.day, tended_until_s=opening.tended_until_s(now_s), created_s=began_s
        )
        patience_s = give_up_s(self._ports.policy)
        condition = _condition(found, now_s - began_s, patience_s)
        times = {"wait_s": POLL_S, "gives_up_s": now_s + patience_s}
        return opening.model_copy(update=times).turned(*condition)

    def publish(self, opening: Opening) -> Opening:
        """Send turns to it, unless the window has ended or somebody has acted on it meanwhile."""
        now_s = self._ports.now_s()
        if now_s >= opening.ends_s:
            return opening.turned("overtaken")
        record = self._ports.register.record(opening.window, opening.day)
        published = {
            "arn": str(opening.arn),
            "target": opening.target,
            "units": opening.units,
            "until_s": opening.ends_s,  # told from the start: no turn begins on it from then on
            "day": opening.day,
        }
        if not self._ports.register.publish(opening.window, opening.fence, published):
            return opening.turned("overtaken")
        is_noted = self._ports.register.note_after(
            record, state="serving", reason="", serving_s=now_s, tended_until_s=0
        )
        return opening.turned("serving" if is_noted else "overtaken")

    def _is_overtaken(self, opening: Opening) -> bool:
        return self._ports.register.row(opening.window).fence != opening.fence

    def _market(self, opening: Opening, policy: Policy) -> Market:
        is_custom = CUSTOM_MODEL in opening.model
        records = self._ports.register.records(opening.day, opening.day)
        return Market(
            region=self._ports.rules.region,
            sold=self._ports.control_plane.lifecycle(opening.model),
            quota=self._quota("custom models" if is_custom else "base models"),
            units_in_use=self._ports.control_plane.uncommitted_units(custom=is_custom),
            planned_today_nano_usd=sum(_other_cost_nano_usd(record, opening, self._ports.now_s()) for record in records)
            + self._committed_nano_usd(opening, policy),
            most_today_nano_usd=policy.provisioning.daily_nano_usd,
            policy_end_of_life=policy.model_of(opening.target).end_of_life,
            last_day=jst(opening.ends_s - 1).date(),  # the end is not part of the window
        )

    def _committed_nano_usd(self, opening: Opening, policy: Policy) -> int:
        """What purchases of other days cost this one, because their commitment keeps them alive."""
        total = 0
        for purchase in self._ports.control_plane.owned(self._ports.rules.owner):
            if purchase.day != opening.day and purchase.is_committed(self._ports.now_s()):
                record = self._ports.register.record(purchase.window, purchase.day)
                total += HOURS_PER_DAY * purchase.units * unit_price_nano_usd(record, policy)
        return total

    def _quota(self, models: str) -> float | None:
        try:
            return self._ports.control_plane.quota(f"{guard.QUOTA} {models}")
        except ControlPlaneError as error:
            logger.warning("the quota cannot be read", extra={"error": error.name})
            return None


def _other_cost_nano_usd(record: Record, opening: Opening, now_s: float) -> int:
    """What the purchases of a record cost the day beside this one: those that are gone, and one that is alive."""
    if (record.window, record.number) == (opening.window, opening.number) and not record.gone_s:
        return _earlier_nano_usd(record)
    planned = ("creating", "serving", "retained", *(("dry_run",) if opening.mode == "dry-run" else ()))
    if record.state in planned and not record.gone_s:
        return _earlier_nano_usd(record) + record.planned_nano_usd
    return math.ceil(record.unit_hours(now_s) * record.unit_hour_nano_usd)


def _earlier_nano_usd(record: Record) -> int:
    return math.ceil(record.unit_s / 3600 * record.unit_hour_nano_usd)


def _condition(found: Purchase | None, age_s: float, patience_s: float) -> tuple[str, ...]:
    """An outcome and its reason, if it needs one."""
    if found is not None and found.status == "InService":
        return ("in_service",)
    if found is not None and found.status == "Failed":
        return "failed", found.failure or "AWS gives no reason"
    if found is None and age_s > UNSEEN_S:
        return "given_up", "AWS does not know it (any more)"
    return ("given_up", "it was not in service in time") if age_s > patience_s else ("creating",)
