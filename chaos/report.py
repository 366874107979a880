"""What the matrix tells: a line for each cell while it goes on, docs/reliability.md, and a document for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from bench.report import machine
from chaos.matrix import BREAKS_AFTER_TOKENS, SLOW_DEPENDENCY_MS, SLOW_MODEL, Cell
from chaos.verdict import Ledger, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COLUMNS = ("fails", "met", "turns", "answered by", "text ≤ 3 s", "longest", "no answer", "ledger", "")


@dataclass(frozen=True, slots=True)
class Totals:
    """All cells together."""

    cells: int
    turns: int
    ended: int
    useful: int
    answerable: int  # turns of cells in which somebody is left to answer and can be heard
    answered: int  # of them
    inexact: int
    overshot: int
    wrong_lines: int
    broken_budgets: int

    @classmethod
    def of(cls, verdicts: Sequence[Verdict]) -> Totals:
        """Add them up."""
        return cls(
            cells=len(verdicts),
            turns=sum(it.turns for it in verdicts),
            ended=sum(it.ended for it in verdicts),
            useful=sum(it.useful for it in verdicts),
            answerable=sum(it.turns for it in verdicts if not it.cell.cannot_answer),
            answered=sum(it.useful for it in verdicts if not it.cell.cannot_answer),
            inexact=sum(len(it.inexact) for it in verdicts),
            overshot=sum(it.overshot for it in verdicts),
            wrong_lines=sum(it.ledger.wrong for it in verdicts),
            broken_budgets=sum(not it.budget_held for it in verdicts),
        )

    @property
    def _answered_share(self) -> float:
        return self.answered / self.answerable if self.answerable else 0.0

    def sentence(self) -> str:
        """The whole in a sentence."""
        if not self.turns:
            return "Nothing was asked."
        return (
            f"Of {self.turns:,} turns in {self.cells} cells {self.ended / self.turns:.2%} came to an `end` or an "
            f"`error`, {self.useful / self.turns:.2%} had a useful answer "
            f"({self._answered_share:.2%} of those whose function was not killed and whose posts were not all "
            f"refused), {self.inexact} had an inexact text, "
            f"{self.overshot} passed the deadline; {self.wrong_lines} ledger lines were wrong, and the counter of the "
            f"budget was too low {self.broken_budgets} times."
        )


def row(verdict: Verdict) -> tuple[str, ...]:
    """A cell's figures."""
    cell = verdict.cell
    return (
        cell.name.removeprefix(f"{cell.group}: "),
        str(verdict.met) if cell.scripted else "–",
        str(verdict.turns),
        ", ".join(f"{target} {count}" for target, count in verdict.answered_by.items()) or "–",
        f"{verdict.in_time_share:.0%}",
        f"{verdict.worst_ms / 1000:.1f} s",
        ", ".join(f"{count} {name.removeprefix('error: ')}" for name, count in verdict.errors.items()) or "–",
        str(verdict.ledger),
        "; ".join(verdict.complaints) or "ok",
    )


def markdown(verdicts: Sequence[Verdict], command: str, *, shoppers: int, seconds: float) -> str:
    """What docs/reliability.md says."""
    where = machine()
    lines = [
        "# Reliability",
        "",
        f"Written by `{command}`; {where['cpu']}, {where['cores']} cores, {where['architecture']}, CPython "
        f"{where['python']}.",
        "",
        f"**{Totals.of(verdicts).sentence()}**",
        "",
        f"{shoppers} shoppers ask the twin over real WebSockets, one question after the other for {seconds:g} s, in "
        "Japanese and English, about orders, the catalogue and in depth, and hear their answers out; the trouble goes "
        "on until all are heard, or, where nothing could be posted, for as long as they ask. A percentage is that of "
        "the calls that fail by chance, after a first one that fails for certain. A slow model takes "
        f"{SLOW_MODEL['first_token_ms'] / 1000:g} s to its first token, another slow dependency "
        f"{SLOW_DEPENDENCY_MS:g} ms; a model's cut and stall come after {BREAKS_AFTER_TOKENS} tokens.",
        "",
        "*met*: calls that met the fault. *text ≤ 3 s*: turns whose shopper saw text within 3 s of asking. *longest*: "
        "until the last frame. *no answer*: turns that ended in an error, by its code. *ledger*: turns whose line "
        "agrees with what their `end` told, to the nano-dollar; where no stream broke, the lines' tokens are those "
        "that the emulated service charged.",
        "",
        "The last column is `ok` when a call met the fault, every turn came to its end within the deadline and to a "
        "useful answer (but for killed functions, and where nothing can be posted), each text is exact (a model's "
        "answer to the character, however many models it took), no ledger line is wrong or missing, the counter that "
        "guards the budget has all that was spent, not more than the day may cost and nothing that nobody holds, and "
        "nothing goes on for nobody.",
    ]
    for group in dict.fromkeys(it.cell.group for it in verdicts):
        rows = [f"| {' | '.join(row(it))} |" for it in verdicts if it.cell.group == group]
        lines += ["", f"## {group.capitalize()}", "", f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS), *rows]
    return "\n".join(lines) + "\n"


def document(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The report for programs."""
    cells = [asdict(it) | {"name": it.cell.name, "complaints": it.complaints} for it in verdicts]
    return {"machine": machine(), "totals": asdict(Totals.of(verdicts)), "cells": cells}


def sound(document: Mapping[str, Any]) -> dict[Cell, Verdict]:
    """The verdicts of a document, but for those with complaints."""
    told = {field.name for field in fields(Verdict)}
    cells = [{name: value for name, value in it.items() if name in told} for it in document["cells"]]
    read = [Verdict(**it | {"cell": Cell(**it["cell"]), "ledger": Ledger(**it["ledger"])}) for it in cells]
    return {it.cell: it for it in read if not it.complaints}


def who_answered(verdicts: Sequence[Verdict]) -> Counter[str]:
    """All cells' answers by who gave them."""
    answered: Counter[str] = Counter()
    for it in verdicts:
        answered.update(it.answered_by)
    return answered
