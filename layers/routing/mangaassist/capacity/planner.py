"""The first step: look at a window, or at everything of ours, and say what an execution has to do."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from mangaassist.capacity import planning, windows
from mangaassist.capacity.planning import Facts
from mangaassist.capacity.rules import give_up_s, offer_for, purchase_name, unit_price_nano_usd
from mangaassist.capacity.watch import watch
from mangaassist.capacity.workflow import BY_HAND, Closing, Opening, Plan, Request
from mangaassist.errors import WorkflowInputInvalid
from mangaassist.jst import jst
from mangaassist.metric import Metric
from mangaassist.observability import logger, measure

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from mangaassist.capacity.control_plane import Purchase
    from mangaassist.capacity.ports import Ports
    from mangaassist.capacity.register import Record, Row
    from mangaassist.capacity.windows import Occurrence
    from mangaassist.capacity.workflow import Mode
    from mangaassist.routing.policy import Window

NO_OFFER = "none"
LOOKED_BACK_DAYS = 2
GRACE = timedelta(minutes=15)  # two ticks, and the draining


class Planner:
    """Every method raises ControlPlaneError and StoreUnavailable."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def plan(self, request: Request) -> Plan:
        """What there is to do for one window; raises WorkflowInputInvalid for one that cannot be acted on."""
        if not self._ports.is_policy_sound() and request.action in ("keep", "open"):
            return self._without_policy(request)
        if request.action == "keep" and request.window not in {str(it.name) for it in self._ports.policy.windows}:
            return Plan(request=request, notes=("the policy in force has no such window",))  # the sweep closes it
        window = self._window(request)
        if request.action == "open":
            self._check_open(window)
        if request.is_rehearsal:
            return self._rehearsed(request, window)
        if request.action == "close":
            self._hold(window)
        facts = self._facts(window)
        decision = planning.decide(request, facts)
        if request.action == "keep":
            watch(self._ports, facts)
        closing = self._closings(request, decision.closing)
        opening, note = None, decision.note
        if decision.opens:
            opening = self._claimed(request, facts, decision.existing)
            note = "" if opening else "another execution was faster"
        return Plan(request=request, opening=opening, closing=closing, notes=(note,) if note else ())

    def sweep(self, request: Request) -> Plan:
        """Whatever of ours is alive outside its window; rows and records of what is no more are put right."""
        if not self._ports.is_policy_sound():
            return self._without_policy(request)
        owned = self._ports.control_plane.owned(self._ports.rules.owner)
        policy, now = (
            self._ports.policy,
            self._now(),
        )  # after that: what was bought meanwhile is not judged by an old clock
        wanted = set()
        for window in policy.windows if self._ports.rules.mode != "off" else ():
            for instant in (now, now - GRACE):  # what has just ended is its own tick's to close
                if occurrence := windows.occurrence_at(window, instant, self._ports.rules.lead):
                    wanted.add((window.name, occurrence.day.isoformat()))
        draining: set[str] = set()
        for name in {*(str(window.name) for window in policy.windows), *(purchase.window for purchase in owned)}:
            row = self._ports.register.row(name)
            draining |= row.draining.keys()
            self._tidy(name, row, owned)
        strays = planning.strays(owned, frozenset(wanted), draining, now.timestamp())
        if strays:
            measure(Metric.CapacityStray, len(strays))
            logger.error("capacity is alive outside its window", extra={"purchases": [stray.name for stray in strays]})
        return Plan(
            request=request,
            closing=self._closings(request, [(stray, "it was alive outside its window") for stray in strays]),
            notes=() if strays else ("nothing is alive outside its window",),
        )

    def _without_policy(self, request: Request) -> Plan:
        """With an invalid policy nobody knows what is wanted: nothing is bought; what is over by its record goes."""
        over = [
            purchase
            for purchase in self._ports.control_plane.owned(self._ports.rules.owner)
            if request.window in (None, purchase.window) and not purchase.is_committed(self._ports.now_s())
            if 0 < self._ports.register.record(purchase.window, purchase.day).ends_s <= self._ports.now_s()
        ]
        return Plan(
            request=request,
            closing=self._closings(request, [(purchase, "its window has ended") for purchase in over]),
            notes=("the stored routing policy is invalid: nothing is bought until it is mended",),
        )

    def _facts(self, window: Window) -> Facts:
        now = self._now()
        occurrence = windows.occurrence_at(window, now, self._ports.rules.lead)
        row, owned = self._seen(window.name)
        return Facts(
            occurrence=occurrence,
            row=row,
            record=self._ports.register.record(window.name, occurrence.day.isoformat()) if occurrence else None,
            purchases=[it for it in owned if it.window == window.name],
            mode=self._ports.rules.mode,
            now_s=now.timestamp(),
            lead_s=self._ports.rules.lead.total_seconds(),
        )

    def _check_open(self, window: Window) -> None:
        if windows.occurrence_at(window, self._now(), self._ports.rules.lead) is None:
            ahead = windows.next_occurrence(window, self._now(), self._ports.rules.lead)
            raise WorkflowInputInvalid(
                f"window {window.name} is closed; it can be opened from {ahead.opens:%F %R} JST on"
            )

    def _hold(self, window: Window) -> None:
        """Closed by hand: whoever is opening the window is overtaken, and nobody opens it again by itself today."""
        self._ports.register.overtake(window.name)
        if occurrence := windows.occurrence_at(window, self._now(), self._ports.rules.lead):
            day = occurrence.day.isoformat()
            self._ports.register.note(window.name, day, state="closed", reason=BY_HAND, tended_until_s=0)

    def _seen(self, window: str) -> tuple[Row, tuple[Purchase, ...]]:
        """A window's row and then what is alive: whoever acts on the window after the row was read overtakes us."""
        while True:
            row = self._ports.register.row(window)
            owned = self._ports.control_plane.owned(self._ports.rules.owner)
            if not self._tidy(window, row, owned):
                return row, owned

    def _tidy(self, window: str, row: Row, owned: Iterable[Purchase]) -> bool:
        """Bring row and records up to what has gone by itself, or by the hand of somebody; whether the row changed."""
        alive = {purchase.arn for purchase in owned}
        is_changed = False
        if row.arn and row.arn not in alive and self._is_gone(row.arn):
            self._ports.register.withdraw(window, row.arn, 0)
            self._ports.register.forget(window, row.arn)
            is_changed = True
        for arn in set(row.draining) - alive:
            if self._is_gone(arn):
                self._ports.register.forget(window, arn)
                is_changed = True
        today = self._now().date()
        first, last = today - timedelta(days=LOOKED_BACK_DAYS), today + timedelta(days=1)
        for record in self._ports.register.records(first.isoformat(), last.isoformat()):
            if record.window == window and self._has_vanished(record, alive):
                is_ours = record.state in planning.HELD  # whoever deleted it did not come to note that it is gone
                why = {} if is_ours else {"state": "closed", "reason": "it was deleted outside the workflow"}
                self._ports.register.note(window, record.day, gone_s=self._ports.now_s(), **why)
        return is_changed

    def _has_vanished(self, record: Record, alive: set[str]) -> bool:
        is_over = not record.arn or record.gone_s or record.arn in alive or record.tended_until_s > self._ports.now_s()
        return not is_over and self._is_gone(record.arn)

    def _is_gone(self, arn: str) -> bool:
        return self._ports.control_plane.get(arn) is None

    def _claimed(self, request: Request, facts: Facts, existing: Purchase | None) -> Opening | None:
        """An opening with a fence of its own; None when somebody has acted on the window since it was looked at."""
        if facts.occurrence is None or facts.record is None:
            return None
        fence = self._ports.register.claim(facts.occurrence.window.name, facts.row.fence)
        if fence is None:
            return None
        live = facts.mode == "live" if request.action == "keep" else request.live
        opening = self._opening(facts.occurrence, facts.record, fence, existing, mode="live" if live else "dry-run")
        if existing is None:
            return opening
        earlier = facts.record.anew() if facts.record.gone_s else {}
        bought = {"arn": existing.arn, "created_s": existing.created_s}
        is_noted = self._ports.register.note_after(
            facts.record,
            state="creating",
            tended_until_s=opening.tended_until_s(facts.now_s),
            **(opening.purchased() | earlier | bought),
        )
        return opening if is_noted else None

    def _rehearsed(self, request: Request, window: Window) -> Plan:
        """What would be bought next, or why nothing would be now; nobody's fence is touched."""
        now, lead = self._now(), self._ports.rules.lead
        if windows.occurrence_at(window, now, lead) and self._ports.rules.mode != "off":
            facts = self._facts(window)
            live = facts if request.action == "open" else replace(facts, mode="live")
            as_if = request.model_copy(update={"action": "keep" if request.action == "plan" else "open"})
            decision = planning.decide(as_if, live)
            if decision.existing:
                return Plan(request=request, notes=(f"{decision.existing.name} is there and is taken up",))
            if not decision.opens:
                return Plan(request=request, notes=(decision.note,))
        occurrence = windows.next_occurrence(window, now, lead)
        record = self._ports.register.record(window.name, occurrence.day.isoformat())
        return Plan(request=request, opening=self._opening(occurrence, record, 0, None, mode="dry-run"))

    def _opening(
        self, occurrence: Occurrence, record: Record | None, fence: int, existing: Purchase | None, mode: Mode
    ) -> Opening:
        window, policy, now_s = occurrence.window, self._ports.policy, self._ports.now_s()
        offer = offer_for(policy, window.name)
        bought = record if record and existing and record.arn == existing.arn and record.model else None
        price = bought.unit_hour_nano_usd if bought else offer.unit_hour_nano_usd if offer else 0
        number = _number(record, existing)
        starts_s, ends_s = occurrence.starts.timestamp(), occurrence.ends.timestamp()
        units = existing.units if existing else window.units
        began_s = existing.created_s if existing else now_s
        paid_s = ends_s - max(began_s, occurrence.opens.timestamp())
        return Opening(
            window=window.name,
            day=occurrence.day.isoformat(),
            name=existing.name
            if existing
            else purchase_name(self._ports.rules.owner, window.name, occurrence.day, number),
            model=bought.model if bought else offer.id if offer else NO_OFFER,
            units=units,
            unit_hour_nano_usd=price,
            unit_tokens_per_minute=sold.unit_tokens_per_minute if (sold := bought or offer) else 0,
            price_verified=bought.price_verified if bought else bool(offer and offer.verified),
            arn=existing.arn if existing else None,
            outcome="exists" if existing else "wanted",
            target=bought.target if bought else window.target,
            mode=mode,
            fence=fence,
            number=number,
            starts_s=starts_s,
            ends_s=ends_s,
            planned_nano_usd=math.ceil(paid_s / 3600 * units * price),
            began_s=began_s,
        )

    def _closings(self, request: Request, wanted: Iterable[tuple[Purchase, str]]) -> tuple[Closing, ...]:
        """What to close; the schedule leaves to another execution what that is at."""
        by_hand = request.action in ("open", "close")
        return tuple(self._closing(it, why) for it, why in wanted if by_hand or not self._is_being_closed(it))

    def _is_being_closed(self, purchase: Purchase) -> bool:
        record = self._ports.register.record(purchase.window, purchase.day)
        is_it = record.arn == purchase.arn and record.state in planning.HELD
        return is_it and record.tended_until_s > self._ports.now_s()

    def _closing(self, purchase: Purchase, why: str) -> Closing:
        policy = self._ports.policy
        record, offer = self._ports.register.record(purchase.window, purchase.day), offer_for(policy, purchase.window)
        return Closing(
            window=purchase.window,
            day=purchase.day,
            name=purchase.name,
            model=record.model or (offer.id if offer else NO_OFFER),
            units=purchase.units,
            unit_hour_nano_usd=unit_price_nano_usd(record, policy),
            price_verified=record.price_verified,
            arn=purchase.arn,
            why=why,
            gives_up_s=self._ports.now_s() + give_up_s(policy),
        )

    def _window(self, request: Request) -> Window:
        known = {window.name: window for window in self._ports.policy.windows}
        if request.window is None or request.window not in known:
            there_are = ", ".join(known) or "none"
            raise WorkflowInputInvalid(f"window {request.window}: the policy in force has {there_are}")
        return known[request.window]

    def _now(self) -> datetime:
        return jst(self._ports.now_s())


def _number(record: Record | None, existing: Purchase | None) -> int:
    """Which purchase of its window and day this is: one that is gone is never asked for again under its name."""
    if record is None:
        return 1
    return max(1, record.number + (1 if record.gone_s and not existing else 0))
