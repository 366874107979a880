"""Bedrock's double with time and troubles: what was bought comes to serve or fails, and answers get lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mangaassist.errors import ControlPlaneError
from tests.unit.purchases import FakeControlPlane

if TYPE_CHECKING:
    from collections.abc import Callable

    from mangaassist.capacity.control_plane import Order
    from tests.unit.fakes import FakeClock

THROTTLED = "Bedrock.ThrottlingException"
LOST = "Bedrock.SdkClientException"
CREATING_S = 600


class Market(FakeControlPlane):
    """`trouble` is what the next calls meet: an error's name, `lost` after the thing was done, or nothing."""

    def __init__(self, clock: FakeClock, on_delete: Callable[[str], None]) -> None:
        super().__init__(clock)
        self.trouble: list[str] = []
        self.fails_next = False
        self._on_delete = on_delete
        self._doomed: set[str] = set()
        self._loses = False

    def create(self, order: Order) -> str:
        is_new = order.name not in self.tokens
        made = super().create(order)
        if is_new and self.fails_next:
            self._doomed.add(made)
            self.fails_next = False
        self._lose()
        return made

    def delete(self, arn: str) -> bool:
        self._may("delete")
        if arn in self.alive:
            self._on_delete(arn)
        is_deleted = self.alive.pop(arn, None) is not None
        self._lose()
        return is_deleted

    def status(self, arn: str) -> str:
        """What a call on it would find."""
        self._grow()
        return self.alive[arn].status if arn in self.alive else "gone"

    def _may(self, method: str) -> None:
        self._grow()
        kind = self.trouble.pop(0) if self.trouble else ""
        self._loses = kind == "lost"
        if kind and not self._loses:
            raise ControlPlaneError(kind, "scripted")

    def _lose(self) -> None:
        if self._loses:
            raise ControlPlaneError(LOST, "the answer was lost")

    def _grow(self) -> None:
        """Let what was bought long enough ago serve, or fail."""
        for arn, purchase in self.alive.items():
            if purchase.status == "Creating" and self.clock.now_s() - purchase.created_s >= CREATING_S:
                failed = arn in self._doomed
                self.becomes(arn, status="Failed" if failed else "InService", failure="no room" if failed else "")
