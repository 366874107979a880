"""Windows, purchases and the documents of the workflow, with defaults that a test changes where it matters."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from mangaassist.capacity.control_plane import Lifecycle, Order, Purchase
from mangaassist.capacity.rules import Rules
from mangaassist.capacity.workflow import Closing, Opening
from mangaassist.errors import ControlPlaneError
from mangaassist.jst import JST
from mangaassist.routing import policy

if TYPE_CHECKING:
    from mangaassist.capacity.control_plane import ControlPlane
    from tests.unit.fakes import FakeClock

POLICY = policy.preset("current")
PEAK = next(window for window in POLICY.windows if window.name == "peak")
DAY = "2026-11-25"
OWNER = "mangaassist"
LEAD = timedelta(minutes=30)
RULES = Rules(owner=OWNER, region="us-east-1", mode="live", lead=LEAD)
UNIT_HOUR_NANO_USD = 23_000_000_000
HOUR_NANO_USD = 2 * UNIT_HOUR_NANO_USD
NAME = f"{OWNER}-peak-{DAY}"


def at(clock: str, day: str = DAY) -> float:
    """Epoch seconds of a Japanese clock time; 24:00 is the midnight that ends the day."""
    hours, minutes = map(int, clock.split(":"))
    return (datetime.fromisoformat(day).replace(tzinfo=JST) + timedelta(hours=hours, minutes=minutes)).timestamp()


def arn(number: int = 1) -> str:
    return f"arn:aws:bedrock:us-east-1:123456789012:provisioned-model/{number:012d}"


COMMITTED: dict[str, Any] = {"commitment": "OneMonth", "committed_until_s": at("24:00") + 20 * 86_400}


def purchase(number: int = 1, **changes: Any) -> Purchase:
    made = Purchase(arn(number), NAME, "InService", 2, at("17:30"), window="peak", day=DAY)
    return replace(made, **changes)


def opening(**changes: Any) -> Opening:
    fields: dict[str, Any] = {
        "window": "peak",
        "day": DAY,
        "name": NAME,
        "model": "amazon.nova-pro-v1:0:300k",
        "units": 2,
        "unit_hour_nano_usd": UNIT_HOUR_NANO_USD,
        "price_verified": True,
        "target": "provisioned-sonnet",
        "mode": "live",
        "fence": 1,
        "number": 1,
        "starts_s": at("18:00"),
        "ends_s": at("24:00"),
        "unit_tokens_per_minute": 50_000,
        "planned_nano_usd": 13 * UNIT_HOUR_NANO_USD,
        "began_s": at("17:30"),
    }
    return Opening(**(fields | changes))


def closing(number: int = 1, **changes: Any) -> Closing:
    fields: dict[str, Any] = {
        "window": "peak",
        "day": DAY,
        "name": NAME,
        "model": "amazon.nova-pro-v1:0:300k",
        "units": 2,
        "unit_hour_nano_usd": UNIT_HOUR_NANO_USD,
        "price_verified": True,
        "arn": arn(number),
        "why": "its window has ended",
        "gives_up_s": at("26:00"),
    }
    return Closing(**(fields | changes))


class FakeControlPlane:
    """Bedrock with its purchases in memory; `fails` raises at a method, `serves_after_s` is how long creating takes."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.alive: dict[str, Purchase] = {}
        self.tokens: dict[str, str] = {}  # what was bought once under a name is never bought again under it
        self.bought: list[Order] = []
        self.deleted: list[str] = []
        self.fails: dict[str, str] = {}
        self.sold: Lifecycle | None = Lifecycle("ACTIVE")
        self.quota_units: float | None = 10.0

    def port(self) -> ControlPlane:
        """Itself, for those who ask for the real one."""
        return cast("ControlPlane", self)

    def add(self, made: Purchase) -> None:
        self.alive[made.arn] = made

    def owned(self, owner: str) -> tuple[Purchase, ...]:
        self._may("owned")
        return tuple(sorted(self.alive.values(), key=lambda it: it.created_s))

    def uncommitted_units(self, *, custom: bool) -> int:
        return sum(it.units for it in self.alive.values() if it.commitment is None)

    def get(self, arn: str) -> Purchase | None:
        self._may("get")
        return self.alive.get(arn)

    def create(self, order: Order) -> str:
        self._may("create")
        if order.name in self.tokens:
            return self.tokens[order.name]
        made = arn(len(self.tokens) + 1)
        self.tokens[order.name] = made
        self.bought.append(order)
        self.add(Purchase(made, order.name, "Creating", order.units, self.clock.now_s(), order.window, order.day))
        return made

    def delete(self, arn: str) -> bool:
        self._may("delete")
        self.deleted.append(arn)
        return self.alive.pop(arn, None) is not None

    def lifecycle(self, model: str) -> Lifecycle | None:
        self._may("lifecycle")
        return self.sold

    def quota(self, name: str) -> float | None:
        self._may("quota")
        return self.quota_units

    def becomes(self, arn: str, **changes: Any) -> None:
        self.alive[arn] = replace(self.alive[arn], **changes)

    def _may(self, method: str) -> None:
        if name := self.fails.get(method):
            raise ControlPlaneError(name, f"{method} failed")


class FakeBoard:
    """What operators have read; `down` keeps notices from it."""

    def __init__(self) -> None:
        self.notices: list[tuple[str, str]] = []
        self.down = False

    def post(self, subject: str, message: str) -> None:
        if self.down:
            raise ControlPlaneError("Sns.SdkClientException", "ReadTimeoutError")
        self.notices.append((subject, message))
