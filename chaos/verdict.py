"""What became of a cell's turns: who answered, how soon, whether text, ledger and budget are right."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from chaos.matrix import BUDGET
from chaos.questions import is_exact
from mangaassist.routing.policy import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from chaos.matrix import Cell
    from load.shopper import Asked

PROMISE_MS = 3_000
DEADLINE_MS = 29_000  # API Gateway's
KNOWN_DEAD_MS = (
    40_000  # by when a killed turn is: its lease of 31 s, and the shopper who asks every 6 s what became of it
)
NANO = 1_000_000_000
UNFORESEEN = "error: internal"
USEFUL = ("complete", "catalogue")  # as an end has it: whole, by models, or the catalogue's
OWN = "sagemaker"  # targets' names begin with it
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


@dataclass(frozen=True, slots=True)
class Books:
    """The accounts of all days at an instant in nano-dollars, and what Bedrock has charged so far, in tokens."""

    committed: int
    reserved: Mapping[str, int]  # of what is committed, what nobody has spent yet, by day
    limit: int
    charged: Counter[tuple[str, str]]  # by model and kind of token


@dataclass(frozen=True, slots=True)
class Ledger:
    """How a cell's lines compare with what its turns were told."""

    exact: int = 0
    estimated: int = 0  # of the exact, with a stream that broke before its usage came
    logged: int = 0  # it could not be written and is in the log
    missing: int = 0  # it is nowhere
    wrong: int = 0

    def __str__(self) -> str:
        if self.wrong:
            return f"{self.wrong} wrong"
        told = f"{self.exact} exact" + (f" ({self.estimated} estimated)" if self.estimated else "")
        told += f", {self.logged} in the log only" if self.logged else ""
        return told + (f", {self.missing} nowhere" if self.missing else "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A cell in figures; `inexact` quotes what was wrong."""

    cell: Cell
    met: Mapping[str, int]  # faults by what fails, lost connections, or events under way in what was killed
    turns: int
    ended: int
    useful: int
    by_models: int  # of the useful
    with_text_in_time: int
    worst_ms: float
    overshot: int
    answered_by: Mapping[str, int]
    called: Collection[str]  # targets
    errors: Mapping[str, int]
    ledger: Ledger
    counted: bool  # whether the budget's counter has at least what was spent
    limit_held: bool
    let_go: bool  # whether all that was reserved is spent or free again
    at_rest: bool
    inexact: Sequence[str] = field(default_factory=tuple)
    broke_off: str = ""  # why the cell could not be asked through

    @property
    def in_time_share(self) -> float:
        """First text within the promise, of all turns."""
        return self.with_text_in_time / self.turns if self.turns else 0.0

    @property
    def _was_bought(self) -> bool:
        return any(target.startswith("provisioned") for target in self.called)

    @property
    def unmet(self) -> list[str]:
        """What failed, and nobody noticed."""
        return [key for key in self.cell.to_be_met if not self.met.get(key)]

    @property
    def complaints(self) -> list[str]:
        """What must never be; nothing where the cell holds."""
        cell, unanswered = self.cell, self.turns - self.useful
        unforeseen = self.errors.get(UNFORESEEN, 0)
        judged = (
            (self.broke_off, f"broke off: {self.broke_off}"),
            (not self.turns, "nothing was asked"),
            (self.unmet, f"nothing met the fault of {', '.join(self.unmet)}"),
            (cell.wants_bought and not self._was_bought, "what was bought by the hour was never called"),
            (cell.group == BUDGET and not self.answered_by.get(CATALOGUE), "the money did not run out"),
            (cell.group == BUDGET and not self.by_models, "there was no money from the beginning"),
            (self.ended < self.turns, f"{self.turns - self.ended} turns without an end"),
            (unanswered and not cell.kills, f"{unanswered} turns without a useful answer"),
            (unforeseen, f"{unforeseen} turns with an error that nobody foresaw"),
            (self.overshot, f"{self.overshot} turns past the deadline"),
            (self.inexact, f"{len(self.inexact)} inexact texts"),
            (self.ledger.wrong, f"{self.ledger.wrong} wrong ledger lines"),
            (self.ledger.missing and not cell.kills, f"{self.ledger.missing} turns are in no books"),
            (not self.counted, "the budget's counter is below what was spent"),
            (not self.limit_held, "more than the day's budget is committed"),
            (not self.let_go and not cell.loses_accounts, "what was reserved is not let go"),
            (not self.at_rest, "a model speaks, or a function runs, for nobody"),
        )
        return [complaint for wrong, complaint in judged if wrong]


def of(
    cell: Cell,
    asked: Sequence[Asked],
    lines: Sequence[Mapping[str, Any]],
    before: Books,
    after: Books,
    *,
    met: Mapping[str, int],
    logged: Collection[str] = (),
    at_rest: bool = True,
) -> Verdict:
    """Judge a cell by its turns, the ledger's lines of them, the turns that the log accounts for, and the accounts."""
    ended = [it for it in asked if it.turn.end is not None]
    useful = [it for it in ended if it.outcome in USEFUL and it.turn.text.strip()]
    totals = [it.total_ms for it in asked if it.total_ms is not None]
    return Verdict(
        cell=cell,
        met=dict(met),
        turns=len(asked),
        ended=sum(not it.lost for it in asked),
        useful=len(useful),
        by_models=sum(it.target != CATALOGUE for it in useful),
        with_text_in_time=sum(it.first_text_ms is not None and it.first_text_ms <= PROMISE_MS for it in asked),
        worst_ms=max(totals, default=0.0),
        overshot=sum(total_ms > (KNOWN_DEAD_MS if cell.kills else DEADLINE_MS) for total_ms in totals),
        answered_by=dict(Counter(it.target for it in asked if it.target).most_common()),
        called=sorted({attempt["target"] for it in ended if it.turn.end for attempt in it.turn.end["attempts"]}),
        errors=dict(Counter(it.outcome for it in asked if it.turn.end is None).most_common()),
        ledger=ledger(cell, asked, lines, logged, after.charged - before.charged),
        counted=counted(asked, before, after),
        limit_held=after.committed <= after.limit,
        let_go=before.reserved == after.reserved,
        at_rest=at_rest,
        inexact=[
            f"{it.planned.question}: {it.turn.text}"
            for it in ended
            if not is_exact(it.planned.question, it.turn.text, it.outcome)
        ],
    )


def broken_off(cell: Cell, why: str) -> Verdict:
    """A cell of which nothing is known but why."""
    nothing = Books(committed=0, reserved={}, limit=0, charged=Counter())
    return replace(of(cell, [], [], nothing, nothing, met={}), broke_off=why)


def ledger(
    cell: Cell,
    asked: Sequence[Asked],
    lines: Sequence[Mapping[str, Any]],
    logged: Collection[str],
    charged: Counter[tuple[str, str]],
) -> Ledger:
    """Compare every end that tells of attempts with its line, and the lines with the emulated service's bill.

    A turn has one line; where its answer got lost it may have run twice, and then one of them is it.
    """
    known: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        known.setdefault(str(line["turn_id"]), []).append(line)
    exact = estimated = told = missing = wrong = 0
    for end in (it.turn.end for it in asked if it.turn.end is not None and it.turn.end["attempts"]):
        found = known.get(end["turn_id"], [])
        if not found:
            told += end["turn_id"] in logged
            missing += end["turn_id"] not in logged
        elif any(_agrees(end, line) for line in found) and (len(found) == 1 or cell.runs_again):
            exact += 1
            estimated += bool(end["usage"]["estimated"])
        else:
            wrong += 1
    wrong += not _is_billed(lines, charged, whole=not cell.kills and not (told or missing))
    return Ledger(exact, estimated, told, missing, wrong)


def counted(asked: Sequence[Asked], before: Books, after: Books) -> bool:
    """Whether the counter that guards the budget has at least what the turns' calls cost.

    The embedding of a question, less than a millionth of a dollar, is charged and not reserved: where the tables fail,
    it is in the log only.
    """
    ends = [it.turn.end for it in asked if it.turn.end is not None]
    told: int = sum(round(attempt["cost_usd"] * NANO) for end in ends for attempt in end["attempts"])
    return told <= after.committed - before.committed


def _is_billed(lines: Sequence[Mapping[str, Any]], charged: Counter[tuple[str, str]], *, whole: bool) -> bool:
    """Whether lines and bill have the same tokens, by model and kind; where lines may be missing, no more than it has.

    Of a model with an estimate among its calls, what is no estimate must be in the bill.
    """
    calls = [it for line in lines for it in line["attempts"] if not it["target"].startswith(OWN)]
    guessed = {it["model"] for it in calls if it["estimated"]}
    sure: Counter[tuple[str, str]] = Counter()
    for it in calls:
        if not it["estimated"]:
            sure.update({(it["model"], kind): int(it[kind]) for kind in TOKENS if it[kind]})
    exactly = {key for key in sure | charged if whole and key[0] not in guessed}
    return sure <= charged and all(sure[key] == charged[key] for key in exactly)


def _agrees(end: Mapping[str, Any], line: Mapping[str, Any]) -> bool:
    attempts = [(it["target"], it["outcome"], round(it["cost_usd"] * NANO)) for it in end["attempts"]]
    entered = [(it["target"], it["outcome"], int(it["cost_nano_usd"])) for it in line["attempts"]]
    return attempts == entered and round(end["cost_usd"] * NANO) == int(line["cost_nano_usd"])
