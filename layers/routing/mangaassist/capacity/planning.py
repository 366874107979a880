"""What an execution has to do, decided purely from what is wanted, what exists and what was noted.

Deciding by the present state and not by the event makes every execution safe to run twice, late, or after another one
died: whatever is wanted and missing is opened, whatever is there and not wanted is closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mangaassist.capacity.workflow import BY_HAND

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence, Set

    from mangaassist.capacity.control_plane import Purchase
    from mangaassist.capacity.register import Record, Row
    from mangaassist.capacity.windows import Occurrence
    from mangaassist.capacity.workflow import Mode, Request

# Nothing is bought again by itself on a day that ended so: money is not spent twice without somebody having looked.
HELD = frozenset({"closed", "failed", "given_up", "retained"})

SERVES = "it serves"


@dataclass(frozen=True, slots=True)
class Facts:
    """A window as it is: its occurrence under way if any, its row, that occurrence's record, and all its purchases."""

    occurrence: Occurrence | None
    row: Row
    record: Record | None
    purchases: Sequence[Purchase]
    mode: Mode
    now_s: float
    lead_s: float


@dataclass(frozen=True, slots=True)
class Decision:
    """Purchases to close and why; whether to open, and from which purchase on; why there is no more to do."""

    closing: tuple[tuple[Purchase, str], ...] = ()
    opens: bool = False
    existing: Purchase | None = None
    note: str = ""


def decide(request: Request, facts: Facts) -> Decision:
    """What to do about one window."""
    if request.action == "close":
        return _closed(facts)
    unwanted = tuple(_unwanted(request, facts))
    if unwanted:
        return Decision(closing=unwanted, note="what is left over goes first")
    if facts.occurrence is None:
        return Decision(note="its window is closed")
    if facts.mode == "off":
        return Decision(note="provisioning is off")
    current = next((it for it in _served_first(facts) if it.arn not in facts.row.draining), None)
    if note := _at_rest(request, facts, current):
        return Decision(note=note)
    return Decision(opens=True, existing=current)


def strays(
    purchases: Iterable[Purchase], wanted: Set[tuple[str, str]], draining: Set[str], now_s: float
) -> tuple[Purchase, ...]:
    """What is alive although no window wants it; a committed one that was withdrawn has to stay until its term ends."""
    unwanted = (it for it in purchases if (it.window, it.day) not in wanted)
    return tuple(it for it in unwanted if not (it.is_committed(now_s) and it.arn in draining))


def is_served(facts: Facts) -> bool:
    """Whether turns are sent to something that is there, until the window ends."""
    until_s = facts.occurrence.ends.timestamp() if facts.occurrence else None
    serving = (it.arn for it in facts.purchases if it.status in ("InService", "Updating"))
    return facts.row.until_s == until_s and facts.row.arn in serving


def _unwanted(request: Request, facts: Facts) -> Iterable[tuple[Purchase, str]]:
    """Purchases of other days, of a closed window, those on their way out, and all but one of the right day."""
    day = facts.occurrence.day.isoformat() if facts.occurrence else ""
    why = _why_none_is_wanted(request, facts)
    kept = False
    for purchase in _deletable(facts):
        if purchase.arn in facts.row.draining:
            yield purchase, "it was withdrawn"
        elif why or purchase.day != day:
            yield purchase, why or "its window has ended"
        elif kept:
            yield purchase, "there is another one for this window"
        else:
            kept = True


def _why_none_is_wanted(request: Request, facts: Facts) -> str:
    if facts.mode == "off":
        return "provisioning is off"
    if request.action == "keep" and facts.record and facts.record.state in HELD:
        return f"its window is {facts.record.state} for today"
    return ""


def _closed(facts: Facts) -> Decision:
    closing = tuple((purchase, BY_HAND) for purchase in _deletable(facts))
    return Decision(closing=closing, note="" if closing else "there is nothing to close")


def _deletable(facts: Facts) -> Iterable[Purchase]:
    """All but those that were withdrawn and stay until their commitment ends."""
    return (it for it in _served_first(facts) if not (it.arn in facts.row.draining and it.is_committed(facts.now_s)))


def _served_first(facts: Facts) -> Sequence[Purchase]:
    """Of duplicates the one that turns are on is kept, else the oldest."""
    return sorted(facts.purchases, key=lambda it: it.arn != facts.row.arn)


def _at_rest(request: Request, facts: Facts, current: Purchase | None) -> str:
    """Why nothing has to be opened now; empty when something has to."""
    occurrence, record = facts.occurrence, facts.record
    if occurrence is None:
        return "its window is closed"
    if current and is_served(facts):
        return SERVES
    if request.action == "open":
        return ""
    if record and record.tended_until_s > facts.now_s:
        return "another execution is at it"
    if facts.mode == "dry-run" and current is None and record and record.state in ("dry_run", "refused"):
        return "a dry run has reported on it already"
    if current is None and record and record.state in HELD:
        return f"it is {record.state} for today; open it by hand to buy again"
    if current is None and occurrence.ends.timestamp() - facts.now_s < facts.lead_s:
        return "the window ends too soon to be worth it"
    return ""
