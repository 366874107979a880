"""What became of a cell's turns: who answered, how soon, whether text, ledger and budget are right."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chaos.questions import is_exact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chaos.matrix import Cell
    from load.shopper import Asked

PROMISE_MS = 3_000
DEADLINE_MS = 29_000  # API Gateway's
NANO = 1_000_000_000
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


@dataclass(frozen=True, slots=True)
class Books:
    """The accounts of all days at an instant in nano-dollars, and what Bedrock charged on demand, in tokens."""

    committed: int
    spent: int
    limit: int
    charged_tokens: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """How a cell's lines compare with what its turns were told."""

    exact: int = 0
    estimated: int = 0  # of the exact, with a stream that broke before its usage came
    missing: int = 0  # it could not be written and is in the log
    wrong: int = 0

    def __str__(self) -> str:
        if self.wrong:
            return f"{self.wrong} wrong"
        told = f"{self.exact} exact" + (f" ({self.estimated} estimated)" if self.estimated else "")
        return told + (f", {self.missing} in the log only" if self.missing else "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A cell in figures; `inexact` quotes what was wrong."""

    cell: Cell
    turns: int
    ended: int
    useful: int
    with_text_in_time: int
    worst_ms: float
    overshot: int
    answered_by: Mapping[str, int]
    errors: Mapping[str, int]
    ledger: Ledger
    budget_held: bool
    inexact: Sequence[str] = field(default_factory=tuple)

    @property
    def in_time_share(self) -> float:
        """First text within the promise, of all turns."""
        return self.with_text_in_time / self.turns if self.turns else 0.0

    @property
    def complaints(self) -> list[str]:
        """What must never be; nothing where the cell holds."""
        found = []
        if self.ended < self.turns:
            found.append(f"{self.turns - self.ended} turns without an end")
        if self.overshot:
            found.append(f"{self.overshot} turns past the deadline")
        if self.inexact:
            found.append(f"{len(self.inexact)} inexact texts")
        if self.ledger.wrong:
            found.append(f"{self.ledger.wrong} wrong ledger lines")
        if not self.budget_held:
            found.append("the budget's counter is below what was spent")
        return found


def of(cell: Cell, asked: Sequence[Asked], lines: Sequence[Mapping[str, Any]], before: Books, after: Books) -> Verdict:
    """Judge a cell by its turns, by the ledger's lines of them, and by the accounts around it."""
    ends = [it.turn.end for it in asked if it.turn.end is not None]
    useful = [it for it in asked if it.turn.end is not None and it.turn.text.strip()]
    totals = [it.total_ms for it in asked if it.total_ms is not None]
    return Verdict(
        cell=cell,
        turns=len(asked),
        ended=sum(not it.lost for it in asked),
        useful=len(useful),
        with_text_in_time=sum(it.first_text_ms is not None and it.first_text_ms <= PROMISE_MS for it in asked),
        worst_ms=max(totals, default=0.0),
        overshot=sum(end["total_ms"] > DEADLINE_MS for end in ends),
        answered_by=dict(Counter(it.target for it in asked if it.target).most_common()),
        errors=dict(Counter(it.outcome for it in asked if it.turn.end is None).most_common()),
        ledger=ledger(asked, lines, after.charged_tokens - before.charged_tokens),
        budget_held=budget_held(asked, before, after),
        inexact=[
            f"{it.planned.question}: {it.turn.text}"
            for it in useful
            if it.turn.end and not is_exact(it.planned.question, it.turn.text, it.turn.end["finish"])
        ],
    )


def ledger(asked: Sequence[Asked], lines: Sequence[Mapping[str, Any]], charged_tokens: int) -> Ledger:
    """Compare every end that tells of attempts with its line, and where no line is an estimate, all with the bill."""
    known: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        known.setdefault(str(line["turn_id"]), []).append(line)
    exact = estimated = missing = wrong = 0
    for end in (it.turn.end for it in asked if it.turn.end is not None and it.turn.end["attempts"]):
        found = known.get(end["turn_id"], [])
        if not found:
            missing += 1
        elif any(_agrees(end, line) for line in found):
            exact += 1
            estimated += bool(end["usage"]["estimated"])
        else:
            wrong += 1
    whole = not (estimated or missing) and all(it.turn.end for it in asked)
    if whole and _tokens(lines) != charged_tokens:
        wrong += 1
    return Ledger(exact, estimated, missing, wrong)


def budget_held(asked: Sequence[Asked], before: Books, after: Books) -> bool:
    """Whether the counter that guards the budget has at least what the turns' calls cost, and is below the limit.

    The embedding of a question, less than a millionth of a dollar, is charged and not reserved: where the tables fail,
    it is in the log only.
    """
    ends = [it.turn.end for it in asked if it.turn.end is not None]
    told = sum(round(attempt["cost_usd"] * NANO) for end in ends for attempt in end["attempts"])
    return told <= after.committed - before.committed and after.committed <= after.limit


def _tokens(lines: Sequence[Mapping[str, Any]]) -> int:
    attempts = [attempt for line in lines for attempt in line["attempts"] if attempt["target"].startswith("ondemand")]
    return sum(int(attempt[name]) for attempt in attempts for name in TOKENS)


def _agrees(end: Mapping[str, Any], line: Mapping[str, Any]) -> bool:
    attempts = [(it["target"], it["outcome"], round(it["cost_usd"] * NANO)) for it in end["attempts"]]
    entered = [(it["target"], it["outcome"], int(it["cost_nano_usd"])) for it in line["attempts"]]
    return attempts == entered and round(end["cost_usd"] * NANO) == int(line["cost_nano_usd"])
