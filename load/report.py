"""What a load tells: a table and a page for people, a document for programs, and docs/load.md."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bench.report import machine
from load import plots
from load.outcome import COMPLETE, PROMISE_MS
from reporting.page import Page, Section, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from load.outcome import Outcome
    from load.run import Run
    from load.schedule import Traffic

RAISED = "The emulated models' quotas are a hundred times those of their profiles, so that they limit nothing."
HELD = (
    "All times are from the instant at which a question was to be asked, so that waiting for a connection or for the "
    "answer before counts. A rate is held when nothing is lost or refused, {:.0%} are served whole by a model or a "
    "kept answer, and 99 % of all have text within 3 s."
)
STALLED = (
    " {:.0%} of the calls of models stall after some tokens: who meets that gets the next model's words or, where the "
    "chain has no other, the catalogue's, and so may others while a breaker is open."
)
COLUMNS = (
    "asked/s",
    "ended/s",
    "first text p50 / p90 / p99",
    "in 3 s",
    "whole answer p50 / p99",
    "whole, by a model or kept (kept)",
    "errors",
    "lost",
    "asked again",
    "posts/answer",
    "cores: twin + functions + load",
)


def row(outcome: Outcome) -> tuple[str, ...]:
    """A run as cells."""
    first, total = outcome.first_text_ms, outcome.total_ms
    errors = sum(count for name, count in outcome.outcomes.items() if name.startswith("error"))
    return (
        f"{outcome.rate:g}",
        f"{outcome.ended_per_s:.1f}",
        " / ".join(seconds(first[name]) for name in ("p50", "p90", "p99")) + " s",
        f"{outcome.within_promise:.1%}",
        " / ".join(seconds(total[name]) for name in ("p50", "p99")) + " s",
        f"{outcome.answered_share:.1%} ({outcome.kept / max(1, outcome.started):.0%})",
        str(errors),
        str(outcome.lost),
        str(outcome.sent_again),
        f"{outcome.posts_per_answer:.1f}",
        _cores(outcome),
    )


def _cores(outcome: Outcome) -> str:
    if outcome.twin_cores is None:
        return "–"
    parts = (outcome.twin_cores, outcome.environments_cores, outcome.load_cores)
    return " + ".join(f"{cores or 0:.2f}" for cores in parts)


def seconds(milliseconds: float | None) -> str:
    """Milliseconds as seconds."""
    return "–" if milliseconds is None else f"{milliseconds / 1000:.2f}"


def verdict(outcomes: Sequence[Outcome]) -> str:
    """Whether anything was lost, and the highest rate that was held."""
    lost, asked = sum(it.lost for it in outcomes), sum(it.asked for it in outcomes)
    held = [it.ended_per_s for it in outcomes if it.holds()]
    told = f"{lost:,} of {asked:,} turns were lost" if lost else f"None of {asked:,} turns was lost"
    rate = f"{max(held):.1f} turns a second were held" if held else "no rate was held"
    left = ", ".join(f"{count} {what}" for it in outcomes for what, count in it.left.items())
    return f"{told}; {rate}." + (f" At rest there were left {left}." if left else "")


def limits(outcomes: Sequence[Outcome]) -> list[str]:
    """Where the limit is and what limits, a sentence for each rate that was not held, or one."""
    cores = int(machine()["cores"])
    broken = [_broken(it, cores) for it in outcomes if not it.holds()]
    highest = max(outcomes, key=lambda it: it.rate)
    reached = f"The limit was not reached at {highest.rate:g} turns a second; what comes nearest to it is "
    return broken or [f"{reached}{highest.limited_by(cores)}."]


def _broken(outcome: Outcome, cores: int) -> str:
    others = [f"{count:,} as {name}" for name, count in outcome.outcomes.items() if name != COMPLETE]
    others += [f"{count:,} tries to connect ended as {name}" for name, count in outcome.refused.items()]
    return (
        f"At {outcome.rate:g} turns a second {outcome.answered_share:.0%} were served whole by a model or a kept "
        f"answer and {outcome.within_promise:.0%} had text within {PROMISE_MS // 1000} s"
        + (f"; ended otherwise: {', '.join(others)}" if others else "")
        + f". What limits is {outcome.limited_by(cores)}."
    )


def document(outcomes: Sequence[Outcome], traffic: Traffic) -> dict[str, Any]:
    """The report for programs."""
    runs = [asdict(it) | {"holds": it.holds(), "failures": it.failures} for it in outcomes]
    return {"machine": machine(), "traffic": asdict(traffic), "runs": runs}


def page(runs: Sequence[tuple[Run, Outcome]], traffic: Traffic) -> Page:
    """The report with plots of each run."""
    outcomes = [outcome for _, outcome in runs]
    first = outcomes[0]
    figures = (
        ("ended", f"{first.ended_per_s:.1f}/s"),
        ("first text p50", f"{seconds(first.first_text_ms['p50'])} s"),
        ("first text p99", f"{seconds(first.first_text_ms['p99'])} s"),
        ("lost", str(first.lost)),
        ("posts/answer", f"{first.posts_per_answer:.1f}"),
        ("memory", "–" if first.memory_mb is None else f"{first.memory_mb:.0f} MB"),
    )
    sections = (
        Section("Runs", [described(traffic), *limits(outcomes)], [Table("", COLUMNS, [row(it) for it in outcomes])]),
        *(_section(run, outcome, traffic) for run, outcome in runs),
    )
    return Page("Load", verdict(outcomes), figures, sections, _where())


def _section(run: Run, outcome: Outcome, traffic: Traffic) -> Section:
    counts = [_counts("Answered by", outcome.targets), _counts("Ended as", outcome.outcomes)]
    return Section(f"At {outcome.rate:g} turns a second", (), [*plots.over_time(run, traffic.seconds), *counts])


def markdown(outcomes: Sequence[Outcome], traffic: Traffic, command: str, title: str = "Load") -> str:
    """What docs/load.md says, and docs/soak.md."""
    lines = [
        f"# {title}",
        "",
        f"Written by `{command}`; {_where()}.",
        "",
        described(traffic),
        "",
        f"**{verdict(outcomes)}** {' '.join(limits(outcomes))}",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|" + "---|" * len(COLUMNS),
        *(f"| {' | '.join(row(it))} |" for it in outcomes),
        "",
        *([RAISED, ""] if any(it.twin_cores is not None for it in outcomes) else []),
        HELD.format(min(it.wanted_share for it in outcomes)),
        "",
        "What the processes held, as a mean of the first and of the last fifth of a run's last two thirds:",
        "",
        *(line for it in outcomes for line in _drifts(it)),
        "",
    ]
    return "\n".join(lines)


def described(traffic: Traffic) -> str:
    """What was asked, in a sentence."""
    begin, end = traffic.hours
    return (
        f"Turns come independently of each other for {traffic.seconds:g} s, after {traffic.warm_up_s:g} s of warm-up, "
        f"at a rate that follows {begin} to {end} o'clock of the store's day in Japan; {traffic.complex_share:.0%} are "
        f"complex and {traffic.catalogue_share:.0%} about the catalogue, all from the labelled questions. A shopper "
        f"thinks for {traffic.think_s:g} s between questions and asks {traffic.turns_each:g} on average; "
        f"{traffic.drop_share:.0%} of answers lose their connection and are resumed over another."
        + (STALLED.format(traffic.stall_share) if traffic.stall_share else "")
    )


def _drifts(outcome: Outcome) -> list[str]:
    told = ", ".join(f"{name} {began:g} → {ended:g}" for name, (began, ended) in outcome.drift.items())
    return [f"* at {outcome.rate:g}/s: {told or 'unknown'}"]


def _counts(title: str, counts: dict[str, int]) -> Table:
    whole = sum(counts.values())
    rows = [(name or "nobody", f"{count:,}", f"{count / whole:.1%}") for name, count in counts.items()]
    return Table(title, ("", "turns", "share"), rows)


def _where() -> str:
    where = machine()
    return f"{where['cpu']}, {where['cores']} cores, {where['architecture']}, CPython {where['python']}"
