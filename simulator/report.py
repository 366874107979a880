"""Simulated days in words: a page of plots and tables, and a short table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mangaassist.advice.latency import LATENCY_SPREAD, OVERHEAD_MS
from mangaassist.advice.profile import PLACES_PER_INSTANCE
from mangaassist.money.prices import usd
from reporting.page import Page, Section, Table
from simulator import plots
from simulator.arrivals import LENGTH_SPREAD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.arrivals import Traffic
    from simulator.plots import Run

ASSUMED = (
    f"Tokens and times to first text are lognormal (spread {LENGTH_SPREAD:g} and {LATENCY_SPREAD:g} of the logarithm); "
    f"times are around the policy's estimates; {OVERHEAD_MS} ms of a turn go before its first call; an endpoint's "
    f"instance answers {PLACES_PER_INSTANCE} at a time; asked to be short, an answer gets shorter in proportion; no "
    "answer is kept, nobody cancels, and questions about the catalogue bring no notes along. "
    "The router, budget, breaker and prices are the real ones."
)


def page(runs: Sequence[Run], traffic: Traffic, seed: int) -> Page:
    """The report of one day, or of two side by side."""
    drawn = [draw(runs) for draw in (plots.spend, plots.quality, plots.turns, plots.cost, plots.utilisation)]
    sections = [
        Section("The day", (), (rows(runs), *drawn, plots.first_text(runs))),
        Section("What gave way", (), (_fallbacks(runs), _tiers(runs))),
    ]
    asked = (
        f"{traffic.messages:,} messages, {traffic.complex_share:.0%} complex and {traffic.catalogue_share:.0%} about "
        f"the catalogue, of {traffic.input_tokens} tokens in and {traffic.output_tokens} out on average; seed {seed}."
    )
    return Page("A simulated day", verdict(runs), _key_figures(runs), sections, f"{asked} {ASSUMED}")


def verdict(runs: Sequence[Run]) -> str:
    """What the day, or the comparison, comes to."""
    told = [f"{name}: {_percent(outcome.quality_share())}" for name, _, outcome in runs]
    lead = "Of the evening's complex questions (18:00 to 24:00 JST) the quality class answered "
    if len(runs) == 1:
        _, policy, outcome = runs[0]
        spent = f"${usd(outcome.tokens_nano_usd):,.2f} of the ${policy.budget.daily_usd:,.2f} budget went into tokens"
        return f"{spent}. {lead}{_percent(outcome.quality_share())}."
    return f"{lead}{', '.join(told)}."


def rows(runs: Sequence[Run]) -> Table:
    """The day's figures, a column for each policy."""
    columns = ["", *(name for name, _, _ in runs)]
    cells = [_cells(run) for run in runs]
    return Table("Figures", columns, [[label, *(cell[label] for cell in cells)] for label in cells[0]])


def _cells(run: Run) -> dict[str, str]:
    _, policy, outcome = run
    first = outcome.first_text()
    turns = outcome.by_target(outcome.turns)
    total = max(1, sum(turns.values()))
    answered = {f"turns by {name}": f"{turns.get(name, 0) / total:.1%}" for name in plots.COLOURS}
    unverified = "" if all(it.verified for it in outcome.hours) else " (unverified)"
    return {
        "paid by the token": f"${usd(outcome.tokens_nano_usd):,.2f}",
        "the day's budget": f"${policy.budget.daily_usd:,.2f}",
        "paid by the hour": f"${outcome.hours_usd:,.2f}{unverified}",
        "of it idle": f"${sum(it.idle_usd for it in outcome.hours):,.2f}",
        "quality class, evening": _percent(outcome.quality_share()),
        "quality class, day": _percent(outcome.quality_share(range(24))),
        **{f"first text {it.removesuffix('_ms')}": f"{value:,.0f} ms" for it, value in first.items() if "_ms" in it},
        "first text within 3 s": _percent(first.get("within_3s_share")),
        **answered,
    }


def _key_figures(runs: Sequence[Run]) -> list[tuple[str, str]]:
    keys = ("paid by the token", "paid by the hour", "quality class, evening", "first text p95")
    return [
        (f"{key}, {name}" if len(runs) > 1 else key, cells[key])
        for key in keys
        for (name, _, _), cells in ((run, _cells(run)) for run in runs)
        if key in cells
    ]


def _fallbacks(runs: Sequence[Run]) -> Table:
    seen = sorted({key for _, _, outcome in runs for key in outcome.fallbacks})
    columns = ["target", "why not", *(name for name, _, _ in runs)]
    lines = [[*key, *(f"{outcome.fallbacks[key]:,}" for _, _, outcome in runs)] for key in seen]
    return Table("Targets that were passed or gave up, in turns", columns, lines)


def _tiers(runs: Sequence[Run]) -> Table:
    seen = sorted({tier for _, _, outcome in runs for _, tier in outcome.tiers})
    columns = ["tier of the budget", *(name for name, _, _ in runs)]
    lines = [
        [tier, *(f"{sum(outcome.tiers[hour, tier] for hour in range(24)):,}" for _, _, outcome in runs)]
        for tier in seen
    ]
    return Table("Turns under a tier of the budget", columns, lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
