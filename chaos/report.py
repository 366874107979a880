"""What the matrix tells: a line for each cell while it goes on, docs/reliability.md, and a document for programs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bench.report import machine
from chaos.matrix import BREAKS_AFTER_TOKENS, SLOW_DEPENDENCY_MS, SLOW_MODEL, Cell
from chaos.run import KILLS, SILENCED_S
from chaos.verdict import DEADLINE_MS, KNOWN_DEAD_MS, Ledger, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = ("fails", "met", "turns", "answered by", "text ≤ 3 s", "longest", "no answer", "ledger", "")


@dataclass(frozen=True, slots=True)
class Totals:
    """All cells together."""

    cells: int
    holding: int  # cells without a complaint
    broke_off: int
    turns: int
    ended: int
    useful: int
    by_models: int  # of them
    in_time: int  # with text within the promise
    answerable: int  # turns of cells in which nobody who was to answer is killed
    answered: int  # of them
    inexact: int
    overshot: int
    wrong_lines: int
    missing_lines: int
    overspent: int  # cells whose budget did not hold, or whose counter has not all that was spent

    @classmethod
    def of(cls, verdicts: Sequence[Verdict]) -> Totals:
        """Add them up."""
        return cls(
            cells=len(verdicts),
            holding=sum(not it.complaints for it in verdicts),
            broke_off=sum(bool(it.broke_off) for it in verdicts),
            turns=sum(it.turns for it in verdicts),
            ended=sum(it.ended for it in verdicts),
            useful=sum(it.useful for it in verdicts),
            by_models=sum(it.by_models for it in verdicts),
            in_time=sum(it.with_text_in_time for it in verdicts),
            answerable=sum(it.turns for it in verdicts if not it.cell.kills),
            answered=sum(it.useful for it in verdicts if not it.cell.kills),
            inexact=sum(len(it.inexact) for it in verdicts),
            overshot=sum(it.overshot for it in verdicts),
            wrong_lines=sum(it.ledger.wrong for it in verdicts),
            missing_lines=sum(it.ledger.missing for it in verdicts if not it.cell.kills),
            overspent=sum(not (it.counted and it.limit_held) for it in verdicts),
        )

    @property
    def _answered_share(self) -> float:
        return self.answered / self.answerable if self.answerable else 0.0

    def sentence(self) -> str:
        """The whole in a sentence."""
        if not self.turns:
            return "Nothing was asked."
        hold = f"All {self.cells} cells hold" if self.holding == self.cells else f"{self.holding} of {self.cells} hold"
        return (
            hold
            + (f", {self.broke_off} broke off" if self.broke_off else "")
            + f". Of {self.turns:,} turns {self.ended / self.turns:.2%} came to an `end` or an `error`, "
            f"{self.useful / self.turns:.2%} had a useful answer ({self._answered_share:.2%} where no function was "
            f"killed), {self.by_models / self.turns:.0%} a model's, {self.in_time / self.turns:.2%} had text within "
            f"3 s, {self.inexact} had an inexact text, {self.overshot} came later than they may; {self.wrong_lines} "
            f"ledger lines were wrong and {self.missing_lines} missing, and in {self.overspent} cells the budget or "
            f"its counter did not hold."
        )


def row(verdict: Verdict) -> tuple[str, ...]:
    """A cell's figures."""
    cell = verdict.cell
    return (
        cell.name.removeprefix(f"{cell.group}: "),
        str(sum(verdict.met.values())) if cell.meets else "–",
        str(verdict.turns),
        ", ".join(f"{target} {count}" for target, count in verdict.answered_by.items()) or "–",
        f"{verdict.in_time_share:.0%}",
        f"{verdict.worst_ms / 1000:.1f} s",
        ", ".join(f"{count} {name.removeprefix('error: ')}" for name, count in verdict.errors.items()) or "–",
        str(verdict.ledger),
        "; ".join(verdict.complaints) or "ok",
    )


def markdown(verdicts: Sequence[Verdict], command: str, *, shoppers: int, turns: int, at_once: int) -> str:
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
        *(f"{' '.join(paragraph.split())}\n" for paragraph in _how(shoppers, turns, at_once)),
    ]
    for group in dict.fromkeys(it.cell.group for it in verdicts):
        rows = [f"| {' | '.join(row(it))} |" for it in verdicts if it.cell.group == group]
        lines += ["", f"## {group.capitalize()}", "", f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS), *rows]
    return "\n".join(lines) + "\n"


def _how(shoppers: int, turns: int, at_once: int) -> tuple[str, ...]:
    """What was done, what the columns mean, and when a cell is `ok`."""
    return (
        f"""{shoppers} shoppers ask the twin over real WebSockets, {turns} questions each, one after the other, in
        Japanese and English, about orders, the catalogue and in depth, and hear their answers out. Cells of so many
        groups at once, each on a twin of its own, share the machine: {at_once}. Each cell meets functions that remember
        nothing of the one before. The trouble goes on until all are heard, or, where nothing can be posted or nobody
        connect, for {SILENCED_S:g} s. Connections are open before it begins, but for those of the cells about
        handshakes: there the wait for the connection counts. A percentage is that of the calls (or connections) that
        fail by chance, after a first one that fails for certain; of models, which are called once or twice a turn, 1 %
        is just that first one. A slow model takes {SLOW_MODEL["first_token_ms"] / 1000:g} s to its first token, another
        slow dependency {SLOW_DEPENDENCY_MS:g} ms; a model's cut and stall come after {BREAKS_AFTER_TOKENS} tokens.
        Functions are killed {KILLS} times, while a model speaks.""",
        """*met*: calls that met the fault, lost connections, or events under way in what was killed. *text ≤ 3 s*:
        turns whose shopper saw text within 3 s of asking. *longest*: until the last frame. *no answer*: turns that
        ended in an error, by its code. *ledger*: turns that called a model and whose line agrees with what their `end`
        told, to the nano-dollar. The lines' tokens are held against the emulated service's bill, by model and kind: of
        a model none of whose streams broke they are the same, of another what is no estimate is in the bill.""",
        f"""The last column is `ok` when something met the fault, every turn came to its end within
        {DEADLINE_MS // 1000} s (whose function is killed is told within {KNOWN_DEAD_MS // 1000} s that the turn is
        lost) and, but for killed functions, to a useful answer (a model's whole, or the catalogue's), each text is
        exact (to the character, however many models it took; of the works it names, what the catalogue says), no ledger
        line is wrong or missing, the counter that guards the budget has all that was spent, not more than the day may
        cost and nothing that nobody holds, and nothing goes on for nobody. It says nothing of the 3 s, which depend on
        the machine too, as do the {DEADLINE_MS // 1000} s.""",
    )


def document(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The report for programs."""
    cells = [asdict(it) | {"name": it.cell.name, "complaints": it.complaints} for it in verdicts]
    return {"machine": machine(), "totals": asdict(Totals.of(verdicts)), "cells": cells}


def read(written: str) -> list[Verdict]:
    """The verdicts of such a document."""
    told = [
        {name: value for name, value in it.items() if name in Verdict.__slots__} for it in json.loads(written)["cells"]
    ]
    return [Verdict(**it | {"cell": Cell(**it["cell"]), "ledger": Ledger(**it["ledger"])}) for it in told]


def who_answered(verdicts: Sequence[Verdict]) -> Counter[str]:
    """All cells' answers by who gave them."""
    answered: Counter[str] = Counter()
    for it in verdicts:
        answered.update(it.answered_by)
    return answered
