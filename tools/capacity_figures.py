"""What is known of provisioned throughput, as figures: each window now, and what was bought for windows of past days.

Reads alone: nothing in here writes a row, buys or deletes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from mangaassist.capacity import windows
from mangaassist.capacity.control_plane import ControlPlane
from mangaassist.capacity.register import NOW, Record, Register
from mangaassist.capacity.rules import offer_for
from mangaassist.capacity.sizing import Fullness, fullness
from mangaassist.capacity.use import Minute, Use, total
from mangaassist.capacity.utilisation import Utilisation
from mangaassist.errors import PolicyInvalid
from mangaassist.jst import jst
from mangaassist.money.prices import Usage, cost_nano_usd, usd
from mangaassist.routing import policy
from mangaassist.stores import from_item, store_errors, to_item
from tools.place import failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mangaassist.capacity.control_plane import Purchase
    from mangaassist.capacity.windows import Occurrence
    from mangaassist.money.rates import Price
    from mangaassist.routing.policy import Policy, Window
    from tools.place import Place

MACHINE = "ProvisionedThroughput"
MODE, REGION, LEAD = "CapacityMode", "CapacityRegion", "CapacityLeadMinutes"
TWIN_MACHINE = "arn:aws:states:ap-northeast-1:123456789012:stateMachine:ProvisionedThroughput"
TWIN_OWNER, TWIN_CAPACITY_REGION, TWIN_LEAD_MINUTES = "twin-ap-northeast-1", "us-east-1", 30
LAST_MINUTES = 5
SIZED_DAYS = 7  # that a window's last use is looked for


@dataclass(frozen=True, slots=True)
class Published:
    """What turns are sent to."""

    arn: str
    units: int
    until: str


@dataclass(frozen=True, slots=True)
class Alive:
    """A purchase of ours that exists and is billed."""

    name: str
    arn: str
    status: str
    units: int
    since: str
    tags: dict[str, str]
    hour_usd: float | None
    committed_until: str | None


@dataclass(frozen=True, slots=True)
class Load:
    """What was asked of capacity over some minutes; shares are of its units' throughput."""

    minutes: float
    requests: int
    tokens: int
    requests_per_minute: float
    tokens_per_minute: float
    mean_share: float
    busy_share: float
    busiest_share: float
    throttled: int
    spilled: int

    @classmethod
    def of(cls, seen: Fullness, minutes: float) -> Self:
        return cls(
            minutes=round(minutes, 1),
            requests=seen.use.requests,
            tokens=seen.use.tokens,
            requests_per_minute=seen.requests_per_minute,
            tokens_per_minute=seen.tokens_per_minute,
            mean_share=seen.mean_share,
            busy_share=seen.busy_share,
            busiest_share=seen.busiest_share,
            throttled=seen.use.throttled,
            spilled=seen.use.spilled,
        )


@dataclass(frozen=True, slots=True)
class WindowNow:
    """A window of the policy in force, at this moment."""

    window: str
    hours: str
    target: str
    model: str | None
    units: int
    day: str
    buys_at: str
    is_under_way: bool
    published: Published | None
    alive: tuple[Alive, ...]
    state: str
    reason: str
    last_minutes: Load
    so_far: Load
    unit_hours: float
    cost_usd: float
    is_price_verified: bool
    next_units: int | None
    next_units_by: str | None  # the day whose use says so


@dataclass(frozen=True, slots=True)
class WindowDay:
    """What was bought for a window of a day, and what it was used for."""

    window: str
    day: str
    state: str
    reason: str
    model: str
    units: int
    purchases: int
    since: str | None
    until: str | None
    unit_hours: float
    cost_usd: float
    is_price_verified: bool
    requests: int
    answers: int
    tokens: int
    on_demand_usd: float | None
    is_on_demand_verified: bool
    mean_share: float
    busy_share: float
    busiest_share: float
    throttled: int
    spilled: int
    next_units: int | None

    @property
    def cost_per_1000_answers_usd(self) -> float | None:
        return per(self.cost_usd, self.answers, 1000)

    @property
    def cost_per_1m_tokens_usd(self) -> float | None:
        return per(self.cost_usd, self.tokens, 1_000_000)


class Figures:
    """Every method raises StoreUnavailable and, where it asks Bedrock, ControlPlaneError."""

    def __init__(self, place: Place) -> None:
        self._place = place

    @cached_property
    def machine(self) -> str:
        """The ARN of the workflow's state machine."""
        return TWIN_MACHINE if self._place.is_twin else self._place.output(MACHINE)

    @cached_property
    def owner(self) -> str:
        """What the owner's tag says on purchases of this deployment."""
        return TWIN_OWNER if self._place.is_twin else self._place.stack_in_region

    @cached_property
    def region(self) -> str:
        """Where capacity is bought."""
        return TWIN_CAPACITY_REGION if self._place.is_twin else self._place.parameter(REGION)

    @cached_property
    def mode(self) -> str | None:
        """Whether the schedule may buy; the twin does not say."""
        return None if self._place.is_twin else self._place.parameter(MODE)

    @cached_property
    def lead(self) -> timedelta:
        """How long before its window's start capacity is bought."""
        return timedelta(minutes=TWIN_LEAD_MINUTES if self._place.is_twin else int(self._place.parameter(LEAD)))

    @cached_property
    def now(self) -> datetime:
        """What time it is in Japan, as the deployment has it."""
        return jst(self._place.now_s())

    @cached_property
    def policy(self) -> Policy:
        """The policy in force."""
        _, document, name = self._place.in_force()
        try:
            return policy.load(document)
        except PolicyInvalid as error:
            raise failure(f"the policy in force ({name}) is invalid: {error}") from error

    def status(self) -> tuple[tuple[WindowNow, ...], tuple[Alive, ...]]:
        """Every window, and what of ours is alive for none of them."""
        known = {str(window.name) for window in self.policy.windows}
        owned = self._control_plane.owned(self.owner)
        others = tuple(self._alive(purchase) for purchase in owned if purchase.window not in known)
        return tuple(self._window_now(window, owned) for window in self.policy.windows), others

    def report(self, last_day: date, days: int) -> tuple[WindowDay, ...]:
        """What was bought on some days, oldest first."""
        first_day = last_day - timedelta(days=days - 1)
        records = self._register.records(first_day.isoformat(), last_day.isoformat())
        return tuple(self._window_day(record) for record in records if record.state)

    def _window_now(self, window: Window, owned: Iterable[Purchase]) -> WindowNow:
        under_way = windows.occurrence_at(window, self.now, self.lead)
        occurrence = under_way or windows.occurrence(window, self.now.date(), self.lead)
        day = occurrence.day.isoformat()
        record, minutes = self._register.record(window.name, day), self._utilisation.minutes(window.name, day)
        units, unit_tokens = self._throughput(record, window)
        offer = offer_for(self.policy, window.name)
        served = _minutes_served(record, self.now)
        so_far = fullness(_since(minutes, record.serving_s), served, units, unit_tokens)
        last = [_minute(self.now - timedelta(minutes=back)) for back in range(1, LAST_MINUTES + 1)]
        latest = fullness([it for it in minutes if it.at in last], LAST_MINUTES, units, unit_tokens)
        next_units, by = self._next_units(window, occurrence, record)
        return WindowNow(
            window=window.name,
            hours=f"{window.start}-{window.end}",
            target=window.target,
            model=offer.id if offer else None,
            units=window.units,
            day=day,
            buys_at=_shown(occurrence.opens.timestamp()) or "",
            is_under_way=under_way is not None,
            published=self._published(window.name),
            alive=tuple(self._alive(purchase) for purchase in owned if purchase.window == window.name),
            state=record.state,
            reason=record.reason,
            last_minutes=Load.of(latest, LAST_MINUTES),
            so_far=Load.of(so_far, served),
            unit_hours=self._unit_hours(record),
            cost_usd=self._cost_usd(record),
            is_price_verified=record.price_verified if record.created_s else bool(offer and offer.verified),
            next_units=next_units,
            next_units_by=by,
        )

    def _window_day(self, record: Record) -> WindowDay:
        minutes = self._utilisation.minutes(record.window, record.day)
        use = total(minutes)
        served = _minutes_served(record, self.now)
        seen = fullness(_since(minutes, record.serving_s), served, record.units, record.unit_tokens_per_minute)
        price = self._list_price(record)
        return WindowDay(
            window=record.window,
            day=record.day,
            state=record.state,
            reason=record.reason,
            model=record.model,
            units=record.units,
            purchases=record.number if record.created_s else 0,
            since=_shown(record.created_s),
            until=_shown(record.gone_s),
            unit_hours=self._unit_hours(record),
            cost_usd=self._cost_usd(record),
            is_price_verified=record.price_verified,
            requests=use.requests,
            answers=use.requests - use.failed,
            tokens=use.tokens,
            on_demand_usd=usd(cost_nano_usd(_usage(use), price)) if price else None,
            is_on_demand_verified=bool(price and price.verified),
            mean_share=seen.mean_share,
            busy_share=seen.busy_share,
            busiest_share=seen.busiest_share,
            throttled=use.throttled,
            spilled=use.spilled,
            next_units=seen.units_needed if record.serving_s else None,
        )

    def _next_units(self, window: Window, occurrence: Occurrence, record: Record) -> tuple[int | None, str | None]:
        """How many units the use of the last day on which it served asks for."""
        if not record.serving_s:
            first = (occurrence.day - timedelta(days=SIZED_DAYS)).isoformat()
            earlier = self._register.records(first, occurrence.day.isoformat())
            served = [it for it in earlier if it.window == window.name and it.serving_s]
            if not served:
                return None, None
            record = served[-1]
        day = self._window_day(record)
        return day.next_units, day.day

    def _throughput(self, record: Record, window: Window) -> tuple[int, int]:
        offer = offer_for(self.policy, window.name)
        return (
            record.units or window.units,
            record.unit_tokens_per_minute or (offer.unit_tokens_per_minute if offer else 0),
        )

    def _published(self, window: str) -> Published | None:
        with store_errors():
            answer = self._dynamodb.get_item(
                TableName=self._place.situation_table,
                Key=to_item({"pk": NOW, "sk": f"CAPACITY#{window}"}),
                ConsistentRead=True,
            )
        row = from_item(answer.get("Item", {}))
        if not row.get("arn") or row["until_s"] <= self.now.timestamp():
            return None
        return Published(row["arn"], row["units"], _shown(row["until_s"]) or "")

    def _alive(self, purchase: Purchase) -> Alive:
        price = self._register.record(purchase.window, purchase.day).unit_hour_nano_usd
        if not price and (offer := offer_for(self.policy, purchase.window)):
            price = offer.unit_hour_nano_usd
        return Alive(
            name=purchase.name,
            arn=purchase.arn,
            status=purchase.status,
            units=purchase.units,
            since=_shown(purchase.created_s) or "",
            tags={"owner": self.owner, "window": purchase.window, "day": purchase.day},
            hour_usd=usd(purchase.units * price) if price else None,
            committed_until=_shown(purchase.committed_until_s or 0),
        )

    def _unit_hours(self, record: Record) -> float:
        return record.unit_hours(self.now.timestamp())

    def _cost_usd(self, record: Record) -> float:
        return usd(math.ceil(self._unit_hours(record) * record.unit_hour_nano_usd))

    def _list_price(self, record: Record) -> Price | None:
        """What the policy says that the same model costs on demand; None when it does not know the model any more."""
        for model in self.policy.models.values():
            if model.provisioned and model.provisioned.id == record.model:
                return model.price_on(date.fromisoformat(record.day))
        return None

    @cached_property
    def _dynamodb(self) -> Any:
        return self._place.client("dynamodb")

    @cached_property
    def _register(self) -> Register:
        return Register(self._dynamodb, self._place.situation_table)

    @cached_property
    def _utilisation(self) -> Utilisation:
        return Utilisation(self._dynamodb, unrepeated=self._dynamodb, situation_table=self._place.situation_table)

    @cached_property
    def _control_plane(self) -> ControlPlane:
        return ControlPlane(
            self._place.client("bedrock", self.region), self._place.client("service-quotas", self.region)
        )


def per(cost_usd: float, amount: int, unit: int) -> float | None:
    """What so many cost; None when there were none."""
    return cost_usd / amount * unit if amount else None


def _minutes_served(record: Record, now: datetime) -> float:
    """Minutes in which turns were sent to a record's last purchase."""
    if not record.serving_s:
        return 0.0
    until_s = min(it for it in (now.timestamp(), record.ends_s, record.gone_s) if it)
    return max(0.0, until_s - record.serving_s) / 60


def _since(minutes: Sequence[Minute], serving_s: float) -> list[Minute]:
    return [minute for minute in minutes if minute.at >= _minute(jst(serving_s))]


def _minute(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M")


def _usage(use: Use) -> Usage:
    return Usage(input_tokens=use.input_tokens, output_tokens=use.output_tokens)


def _shown(epoch_s: float) -> str | None:
    """An instant in JST by ISO 8601; None when it has not come."""
    return jst(epoch_s).isoformat(timespec="seconds") if epoch_s else None
