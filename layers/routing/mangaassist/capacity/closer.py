"""Withdraw, delete: turns are sent away from capacity for good before it goes, and nothing is left to be billed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mangaassist.capacity.planning import HELD
from mangaassist.capacity.rules import drain_s
from mangaassist.errors import ControlPlaneError

if TYPE_CHECKING:
    from mangaassist.capacity.ports import Ports
    from mangaassist.capacity.register import Record
    from mangaassist.capacity.workflow import Closing

BUSY_S = 30  # before what cannot be deleted yet is tried again
CONFIRM_S = 10  # before what was deleted is looked for again
ENDED_BADLY = ("failed", "given_up")  # a state that an execution which finishes the closing leaves as it is
TENDED_S = 120  # after what it waits for, an execution that has not come counts as dead
UNDELETABLE = frozenset({"Bedrock.ConflictException", "Bedrock.ValidationException"})  # which one is not documented


class Closer:
    """Every method raises ControlPlaneError and StoreUnavailable, and may be called again."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def withdraw(self, closing: Closing) -> Closing:
        """Send no more turns to it, and say how long those that may be under way need."""
        safe_s = self._ports.register.withdraw(closing.window, closing.arn, drain_s(self._ports.policy.limits))
        record = self._ports.register.record(closing.window, closing.day)
        if _is_about(record, closing) and record.state not in ENDED_BADLY:
            self._ports.register.note(
                closing.window,
                closing.day,
                state=closing.leaves,
                reason=record.reason if record.state in HELD else closing.why,
                tended_until_s=safe_s + TENDED_S,
            )
        return self._draining(closing, safe_s)

    def delete(self, closing: Closing) -> Closing:
        """Give it back once nobody is on it: draining, busy, deleting, retained, gone, or not_withdrawn."""
        safe_s = self._ports.register.row(closing.window).draining.get(closing.arn)
        if safe_s is None:  # another execution has seen it off, or nobody has withdrawn it
            is_gone = self._ports.control_plane.get(closing.arn) is None
            return closing.turned("gone" if is_gone else "not_withdrawn")
        if safe_s > self._ports.now_s():
            return self._draining(closing, safe_s)
        try:
            self._ports.control_plane.delete(closing.arn)
        except ControlPlaneError as error:
            if error.name not in UNDELETABLE:
                raise
            return self._undeletable(closing, error)
        if self._ports.control_plane.get(closing.arn) is not None:
            if self._ports.now_s() > closing.gives_up_s:
                raise ControlPlaneError("Capacity.NotDeleted", f"{closing.name} was deleted and is still there")
            self._tend(closing)
            return closing.model_copy(update={"wait_s": CONFIRM_S}).turned("deleting")
        self._note(closing, gone_s=self._ports.now_s(), tended_until_s=0)
        self._ports.register.forget(closing.window, closing.arn)
        return closing.turned("gone")

    def _undeletable(self, closing: Closing, error: ControlPlaneError) -> Closing:
        """It is committed and stays until its term ends, or it is busy and is tried again for a while."""
        found = self._ports.control_plane.get(closing.arn)
        if found is not None and found.commitment:
            until_s = found.committed_until_s
            self._note(closing, state="retained", reason=str(error), committed_until_s=until_s or 0)
            return closing.model_copy(update={"committed_until_s": until_s}).turned("retained", str(error))
        if self._ports.now_s() > closing.gives_up_s:
            raise error
        self._tend(closing)
        return closing.model_copy(update={"wait_s": BUSY_S}).turned("busy", str(error))

    def _tend(self, closing: Closing) -> None:
        """Others leave it to this execution for a while."""
        self._note(closing, tended_until_s=self._ports.now_s() + TENDED_S)

    def _note(self, closing: Closing, **changes: object) -> None:
        """Change the day's record if it is about this purchase."""
        if _is_about(self._ports.register.record(closing.window, closing.day), closing):
            self._ports.register.note(closing.window, closing.day, **changes)

    def _draining(self, closing: Closing, safe_s: float) -> Closing:
        wait_s = max(0, math.ceil(safe_s - self._ports.now_s()))
        return closing.model_copy(update={"wait_s": wait_s}).turned("draining")


def _is_about(record: Record, closing: Closing) -> bool:
    """Whether the day's record is about this purchase and not about another one of the same window."""
    if record.arn not in ("", closing.arn):
        return False
    return record.state not in HELD or not record.gone_s
