"""The plots of a run: what was asked and answered, how long it took, and what the twin took, second by second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure as Plot

from load.outcome import PROMISE_MS, cores_over_time, per_second
from reporting.page import figure
from tools.endpoint_load import percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from load.run import Run, Sample
    from load.shopper import Asked
    from reporting.page import Figure

WIDTH, HEIGHT = 9.0, 3.0  # inches
BUCKETS = 30


def over_time(run: Run, seconds: float) -> list[Figure]:
    """All plots of a run."""
    plots = [_throughput(run.asked, seconds), _latency(run.asked, seconds)]
    return plots + ([_machine(run.samples), _memory(run.samples)] if run.samples else [])


def _throughput(asked: Sequence[Asked], seconds: float) -> Figure:
    plot, axes = _plot("turns a second")
    ends = [it.planned.at_s + it.total_ms / 1000 for it in asked if it.total_ms is not None]
    for label, colour, instants in (
        ("asked", "#3a5f8a", [it.planned.at_s for it in asked]),
        ("ended", "#b3123f", ends),
    ):
        axes.step(range(int(seconds)), per_second(instants, seconds), where="post", label=label, color=colour)
    return _figure("Turns", plot, "Asked when they were to be, and ended.")


def _latency(asked: Sequence[Asked], seconds: float) -> Figure:
    plot, axes = _plot("ms to the first text")
    width = seconds / BUCKETS
    middles = [(bucket + 0.5) * width for bucket in range(BUCKETS)]
    for share, colour in ((0.5, "#5b9bd5"), (0.9, "#1f4e79"), (0.99, "#b3123f")):
        values = [
            percentile(
                [
                    it.first_text_ms
                    for it in asked
                    if it.first_text_ms is not None and it.planned.counts and it.planned.at_s // width == bucket
                ],
                share,
            )
            for bucket in range(BUCKETS)
        ]
        known = [(middle, value) for middle, value in zip(middles, values, strict=True) if value is not None]
        axes.plot(*zip(*known, strict=True) if known else ((), ()), color=colour, label=f"p{share * 100:g}")
    axes.axhline(PROMISE_MS, color="#888", linestyle="--", label="the promise")
    return _figure("Time to first text", plot, "By the instant at which the question was to be asked.")


def _machine(samples: Sequence[Sample]) -> Figure:
    plot, axes = _plot("cores")
    used = cores_over_time(samples)
    axes.stackplot(
        [at_s for at_s, _, _ in used],
        [twin for _, twin, _ in used],
        [functions for _, _, functions in used],
        labels=["emulated AWS and gateway", "functions"],
        colors=["#b0b7c0", "#5b9bd5"],
    )
    return _figure("Processors", plot, "What the twin's process and its environments took.")


def _memory(samples: Sequence[Sample]) -> Figure:
    plot, axes = _plot("MB")
    known = [(it.at_s, it.environments_memory_mb) for it in samples if it.environments_memory_mb is not None]
    axes.plot([at_s for at_s, _ in known], [memory_mb for _, memory_mb in known], color="#7a1f3d", label="memory")
    beside = axes.twinx()
    beside.plot([it.at_s for it in samples], [it.under_way for it in samples], color="#3f8f5f", label="turns under way")
    beside.set_ylabel("turns under way")
    axes.set_ylim(bottom=0)
    return _figure("Memory", plot, "Of the functions' processes, and the turns that were under way.")


def _plot(label: str) -> tuple[Plot, Axes]:
    plot = Plot(figsize=(WIDTH, HEIGHT))
    axes = plot.subplots()
    axes.set_ylabel(label)
    axes.set_xlabel("seconds")
    axes.spines[["top", "right"]].set_visible(False)
    return plot, axes


def _figure(title: str, plot: Plot, caption: str) -> Figure:
    plot.legend(loc="upper center", bbox_to_anchor=(0.5, 1.06), ncols=6, frameon=False, fontsize=9)
    return figure(title, plot, caption)
