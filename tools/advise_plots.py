"""The plots of an advice: cost by pattern, where patterns break even, the day's demand for units, and latency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure as Plot
from matplotlib.ticker import FuncFormatter, PercentFormatter

from mangaassist.advice.break_even import cost_at, volumes
from mangaassist.advice.load import load_of
from mangaassist.advice.patterns import BY_CLASS
from reporting.page import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mangaassist.advice.advice import Advice
    from mangaassist.advice.projection import Projection
    from reporting.page import Figure

WIDTH, HEIGHT = 9.0, 3.6  # inches
GROUPS = {  # of costs, by the word that begins their name
    "tokens": "#c8385a",
    "model units": "#7a1f3d",
    "instances": "#3f8f5f",
    "around": "#b0b7c0",
}
LINES = {
    "on-demand": "#c8385a",
    "provisioned": "#7a1f3d",
    "provisioned-1-month": "#a35b75",
    "provisioned-6-months": "#c9a1b0",
    "sagemaker": "#3f8f5f",
    "hybrid": "#3a5f8a",
    "hybrid-scheduled": "#5b9bd5",
}
EVERY = 4  # of the volumes that are looked at
dollars = FuncFormatter(lambda value, _: f"${value:,.0f}")
counts = FuncFormatter(lambda value, _: f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}K")


def cost(advice: Advice) -> Figure:
    """Each pattern's month, in its parts."""
    plot, axes = _plot()
    shown = [it for it in advice.projections if not it.obstacle][::-1]
    left = np.zeros(len(shown))
    for group, colour in GROUPS.items():
        widths = np.array([_amounts(it)[group] for it in shown])
        axes.barh([it.pattern.title for it in shown], widths, left=left, color=colour, label=group)
        left += widths
    for row, it in enumerate(shown):
        axes.annotate(f" ${it.monthly_usd:,.0f}", (left[row], row), va="center", fontsize=9)
    axes.axvline(float(advice.profile.monthly_usd), color="#888", linestyle="--", linewidth=1, label="the budget")
    axes.xaxis.set_major_formatter(dollars)
    axes.margins(x=0.12)
    return _figure("Cost by pattern", plot, axes, "US dollars a month, models and what is around them.")


def _amounts(it: Projection) -> dict[str, float]:
    found = dict.fromkeys(GROUPS, 0.0)
    for part in it.costs:
        if part.group == "around":
            found["around"] += part.monthly_usd
        elif part.name.startswith("tokens"):
            found["tokens"] += part.monthly_usd
        elif part.name.startswith("ml."):
            found["instances"] += part.monthly_usd
        else:
            found["model units"] += part.monthly_usd
    return found


def volume(advice: Advice) -> Figure:
    """Each pattern's month as volume grows."""
    plot, axes = _plot()
    looked_at = volumes()[::EVERY]
    for it in advice.projections:
        if it.obstacle:
            continue
        months = [cost_at(it.pattern.key, number, advice.profile, advice.terms) for number in looked_at]
        axes.plot(looked_at, months, color=LINES[it.pattern.key], label=it.pattern.title, linewidth=1.6)
    axes.axvline(advice.profile.messages_per_day, color="#888", linestyle="--", linewidth=1, label="this profile")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(counts)
    axes.yaxis.set_major_formatter(dollars)
    axes.set_xlabel("messages a day")
    return _figure(
        "Break-even by volume", plot, axes, "US dollars a month; where lines cross, two patterns cost the same."
    )


def unit_hour(advice: Advice) -> Figure:
    """One unit's hour against the same tokens on demand."""
    plot = Plot(figsize=(WIDTH, HEIGHT))
    targets = [target for target in dict.fromkeys(BY_CLASS.values()) if any(it.target == target for it in advice.units)]
    for number, target in enumerate(targets, start=1):
        axes = plot.add_subplot(1, len(targets), number)
        mine = [it for it in advice.units if it.target == target and it.against != target]
        most = 1.15 * max(mine[0].carried_tokens_per_hour, *(it.tokens_per_hour or 0.0 for it in mine))
        tokens = np.linspace(0, most, 50)
        axes.plot(
            tokens, tokens * mine[0].on_demand_usd_per_million / 1e6, color=LINES["on-demand"], label=mine[0].against
        )
        for it, style in zip(mine, ("-", "--", ":"), strict=False):
            axes.axhline(it.unit_hour_usd, color=LINES["provisioned"], linestyle=style, label=f"unit, {it.commitment}")
        axes.axvspan(mine[0].carried_tokens_per_hour, most, color="#f1f1f1", zorder=0, label="more than a unit carries")
        axes.set_title(target, fontsize=10)
        axes.xaxis.set_major_formatter(counts)
        axes.yaxis.set_major_formatter(dollars)
        axes.set_xlabel("tokens an hour")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    plot.tight_layout()
    said = "US dollars an hour. A unit pays where the rising line is above its own and outside the grey."
    return figure("Break-even of one model unit", plot, said)


def demand(advice: Advice) -> Figure:
    """The tokens of each hour's busiest minute, by kind, with what the policy's windows carry."""
    plot, axes = _plot()
    load = load_of(advice.profile)
    hours, below = np.arange(24), np.zeros(24)
    for kind, colour in (("complex", "#c8385a"), ("catalogue", "#3f8f5f"), ("simple", "#5b9bd5")):
        heights = np.array(load.of(kind)) / 60 * load.burst * load.tokens
        axes.bar(hours + 0.5, heights, width=0.95, bottom=below, color=colour, label=kind)
        below += heights
    for window, size in zip(advice.terms.policy.windows, advice.sizes, strict=False):
        carried = size.units * size.unit_tokens_per_minute
        label = f"{size.window}: {size.units} unit{'s' if size.units > 1 else ''}"
        span = (window.start_minute / 60, (window.end_minute / 60) or 24)
        axes.plot(span, (carried, carried), color="#222", linewidth=2, label=label)
    axes.set_xlim(0, 24)
    axes.set_xticks(range(0, 25, 3))
    axes.set_xlabel("hour of Japan")
    axes.yaxis.set_major_formatter(counts)
    said = "Tokens in an hour's busiest minute, by kind of question; the lines are what each window's units carry."
    return _figure("Demand and the windows", plot, axes, said)


def use(advice: Advice) -> Figure:
    """How much of what is bought by the hour would be used."""
    plot, axes = _plot()
    bars = [
        (f"{it.pattern.title}: {what}", share)
        for it in advice.projections
        for what, share in (
            *((f"{units.units} x {units.target}", units.used_share) for units in it.plan.units),
            *((("instances", it.plan.instances.used_share),) if it.plan.instances else ()),
        )
    ][::-1]
    axes.barh([name for name, _ in bars], [1.0] * len(bars), color="#eef0f3")
    axes.barh([name for name, _ in bars], [share for _, share in bars], color="#3a5f8a")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlim(0, 1)
    axes.tick_params(axis="y", labelsize=8)
    return _figure("Utilisation", plot, axes, "Used, of what is paid for by the hour; the rest is idle.")


def latency(advice: Advice) -> Figure:
    """Time to first text by pattern: the median and what 95 of 100 wait at most."""
    plot, axes = _plot()
    shown = [it for it in advice.projections if it.latency][::-1]
    names = [it.pattern.title for it in shown]
    late = [it.latency.first_text_p95_ms for it in shown if it.latency]
    early = [it.latency.first_text_p50_ms for it in shown if it.latency]
    axes.barh(names, late, color="#dfe4ea", label="95 of 100")
    axes.barh(names, early, color="#3a5f8a", label="half")
    axes.axvline(advice.profile.first_text_ms, color="#888", linestyle="--", linewidth=1, label="wanted")
    axes.set_xlabel("ms to the first text")
    return _figure("Latency", plot, axes, "Out of the policy's estimates of each target, not out of measurements.")


def _plot() -> tuple[Plot, Axes]:
    plot = Plot(figsize=(WIDTH, HEIGHT))
    return plot, plot.add_subplot()


def _figure(title: str, plot: Plot, axes: Axes, caption: str) -> Figure:
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        plot.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, 1.1), ncols=4, frameon=False, fontsize=9)
    return figure(title, plot, caption)
