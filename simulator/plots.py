"""The plots of simulated days: one line or panel for each policy, over the hours of Japan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure as Plot
from matplotlib.ticker import PercentFormatter

from mangaassist.routing.policy import CATALOGUE
from reporting.page import figure

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from mangaassist.routing.policy import Policy
    from reporting.page import Figure
    from simulator.outcome import Outcome

COLOURS = {
    "provisioned-sonnet": "#7a1f3d",
    "ondemand-sonnet": "#c8385a",
    "provisioned-haiku": "#1f4e79",
    "ondemand-haiku": "#5b9bd5",
    "sagemaker-custom": "#3f8f5f",
    CATALOGUE: "#b0b7c0",
}
LINES = ("#b3123f", "#3a5f8a")
HOURS = np.arange(24)
WIDTH, HEIGHT = 9.0, 3.4  # inches

type Run = tuple[str, Policy, Outcome]


def shown(name: str) -> str:
    """A policy's name as matplotlib draws it: `$` would begin a formula, and a leading `_` hide it in legends."""
    return name.replace("$", r"\$").lstrip("_") or "policy"


def spend(runs: Sequence[Run]) -> Figure:
    """What is committed by the end of each hour, against what the budget's curve allows."""
    plot, (axes,) = _plot(1)
    for colour, (name, policy, outcome) in zip(LINES, runs, strict=False):
        committed = [nano_usd / policy.budget.daily_nano_usd for nano_usd in outcome.committed]
        axes.plot(HOURS + 1, committed, color=colour, marker="o", markersize=3, label=shown(name))
    curves = dict.fromkeys(tuple(policy.budget.allowed(hour * 60) for hour in range(24)) for _, policy, _ in runs)
    for style, curve in zip(("--", ":"), curves, strict=False):
        axes.plot(HOURS, curve, color="#888", linestyle=style, label="allowed")
    axes.axhline(1, color="#ccc", linewidth=0.8)
    axes.set_ylabel("share of the day's budget")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return _figure("Spend over the day", plot, "Spent and set aside, in shares of the day's budget.")


def quality(runs: Sequence[Run]) -> Figure:
    """Complex questions answered by the quality class, hour by hour."""
    plot, (axes,) = _plot(1)
    for colour, (name, _, outcome) in zip(LINES, runs, strict=False):
        shares = [outcome.quality_share(range(hour, hour + 1)) for hour in range(24)]
        axes.step(HOURS, [np.nan if it is None else it for it in shares], where="post", color=colour, label=shown(name))
    axes.axvspan(18, 24, color="#f3e8ec", zorder=0)
    axes.set_ylim(0, 1.05)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("by the quality class")
    return _figure("Complex questions", plot, "Answered by the quality class; the evening is shaded.")


def turns(runs: Sequence[Run]) -> Figure:
    """Who answered, hour by hour."""
    plot, panels = _plot(len(runs))
    for axes, (name, _, outcome) in zip(panels, runs, strict=True):
        _stack(axes, outcome.turns, 1)
        axes.set_title(shown(name), fontsize=10)
        axes.set_ylabel("turns an hour")
    return _figure("Turns by target", plot, "Each hour's turns by who answered them.")


def cost(runs: Sequence[Run]) -> Figure:
    """What was paid by the token, hour by hour."""
    plot, panels = _plot(len(runs))
    for axes, (name, _, outcome) in zip(panels, runs, strict=True):
        _stack(axes, outcome.cost, 1e9)
        axes.set_title(shown(name), fontsize=10)
        axes.set_ylabel("US$ an hour")
    return _figure("Cost by the token", plot, "What is bought by the hour is not in it.")


def utilisation(runs: Sequence[Run]) -> Figure:
    """How much of each window's throughput was used, hour by hour."""
    plot, panels = _plot(len(runs))
    for axes, (name, policy, outcome) in zip(panels, runs, strict=True):
        for colour, window in zip(LINES, policy.windows, strict=False):
            offer = policy.model_of(window.target).provisioned
            hourly = window.units * offer.unit_tokens_per_minute * 60 if offer else 1
            used = [outcome.tokens[window.name, hour] / hourly for hour in range(24)]
            axes.bar(HOURS + 0.5, used, width=0.9, color=colour, label=f"{window.name}, {window.units} units")
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_title(shown(name), fontsize=10)
        axes.set_ylabel("of the units' tokens")
        axes.set_ylim(0, max(1.0, axes.get_ylim()[1]))
    return _figure("Utilisation of model units", plot, "What a unit carries is the policy's assumption.")


def first_text(runs: Sequence[Run]) -> Figure:
    """How long shoppers waited for the first text."""
    plot, (axes,) = _plot(1)
    for colour, (name, _, outcome) in zip(LINES, runs, strict=False):
        values = np.frombuffer(outcome.first_text_ms, dtype=np.float32)
        axes.hist(values, bins=[50.0 * step for step in range(63)], histtype="step", color=colour, label=shown(name))
    axes.axvline(3000, color="#888", linestyle="--", label="the promise")
    axes.set_xlim(0, 3100)
    axes.set_ylabel("turns")
    return _figure("Time to first text", plot, "Milliseconds from a message's arrival.", xlabel="ms")


def _plot(panels: int) -> tuple[Plot, Sequence[Axes]]:
    plot = Plot(figsize=(WIDTH, HEIGHT))
    grid = plot.subplots(1, panels, sharey=True, squeeze=False)
    return plot, list(grid[0])


def _stack(axes: Axes, counted: Counter[tuple[int, str]], unit: float) -> None:
    below = np.zeros(24)
    for target, colour in COLOURS.items():
        heights = np.array([counted[hour, target] for hour in range(24)]) / unit
        if heights.any():
            axes.bar(HOURS + 0.5, heights, width=0.95, bottom=below, color=colour, label=target)
            below += heights


def _figure(title: str, plot: Plot, caption: str, xlabel: str = "hour of Japan") -> Figure:
    for panel in plot.axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.set_xlabel(xlabel)
        if xlabel == "hour of Japan":
            panel.set_xlim(0, 24)
            panel.set_xticks(range(0, 25, 3))
    handles: dict[str, Artist] = {}
    for panel in plot.axes:
        for drawn, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, drawn)
    plot.legend(
        handles.values(),
        handles.keys(),
        loc="upper center",
        bbox_to_anchor=(0.5, 1.08),
        ncols=6,
        frameon=False,
        fontsize=9,
    )
    return figure(title, plot, caption)
