"""A double of Bedrock's control plane at the port: what was bought, on a clock that moves when told, and troubles."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mangaassist.capacity.control_plane import Lifecycle, Order, Purchase
from mangaassist.errors import ControlPlaneError

if TYPE_CHECKING:
    from collections.abc import Callable

THROTTLED = "Bedrock.ThrottlingException"
LOST = "Bedrock.SdkClientException"
CREATION_S = 600


@dataclass
class Bought:
    """A purchase with its tags' owner and what will become of it."""

    purchase: Purchase
    owner: str
    serves_s: float
    fails: bool = False


@dataclass
class Market:
    """Sells model units; `trouble` is what the next calls meet: an error's name, or `lost` after the thing was done."""

    now_s: Callable[[], float]
    trouble: list[str] = field(default_factory=list)
    bought: dict[str, Bought] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    fails_next: bool = False
    busy: set[str] = field(default_factory=set)
    on_delete: Callable[[str], None] = lambda arn: None
    sold: Lifecycle | None = field(default_factory=lambda: Lifecycle("ACTIVE"))
    quota_value: float | None = 100.0

    def owned(self, owner: str) -> tuple[Purchase, ...]:
        self._meet()
        return tuple(self._now(it) for it in self.bought.values() if it.owner == owner)

    def uncommitted_units(self, *, custom: bool) -> int:
        self._meet()
        return sum(it.purchase.units for it in self.bought.values() if it.purchase.commitment is None)

    def get(self, arn: str) -> Purchase | None:
        self._meet()
        return self._now(self.bought[arn]) if arn in self.bought else None

    def create(self, order: Order) -> str:
        lost = self._meet()
        if order.name not in self.tokens:
            arn = f"arn:aws:bedrock:us-east-1:123456789012:provisioned-model/{len(self.tokens):012d}"
            self.tokens[order.name] = arn
            purchase = Purchase(
                arn, order.name, "Creating", order.units, self.now_s(), window=order.window, day=order.day
            )
            self.bought[arn] = Bought(purchase, order.owner, self.now_s() + CREATION_S, self.fails_next)
            self.fails_next = False
        if lost:
            raise ControlPlaneError(LOST, "the answer was lost")
        return self.tokens[order.name]

    def delete(self, arn: str) -> bool:
        lost = self._meet()
        if arn in self.busy:
            raise ControlPlaneError("Bedrock.ConflictException", "it is busy")
        if arn not in self.bought:
            return False
        if self.bought[arn].purchase.is_committed(self.now_s()):
            raise ControlPlaneError("Bedrock.ConflictException", "it is committed")
        self.on_delete(arn)
        del self.bought[arn]
        if lost:
            raise ControlPlaneError(LOST, "the answer was lost")
        return True

    def lifecycle(self, model: str) -> Lifecycle | None:
        self._meet()
        return self.sold

    def quota(self, name: str) -> float | None:
        self._meet()
        return self.quota_value

    def status(self, arn: str) -> str:
        """What a call on it would find; `gone` when there is none."""
        return self._now(self.bought[arn]).status if arn in self.bought else "gone"

    def _meet(self) -> bool:
        """Meet the next trouble, if any; True when the answer is to be lost once the thing is done."""
        kind = self.trouble.pop(0) if self.trouble else ""
        if kind and kind != "lost":
            raise ControlPlaneError(kind, "scripted")
        return kind == "lost"

    def _now(self, bought: Bought) -> Purchase:
        if self.now_s() < bought.serves_s:
            return bought.purchase
        if bought.fails:
            return replace(bought.purchase, status="Failed", failure="there is no capacity")
        return replace(bought.purchase, status="InService")
