"""What a run was worth: counts, percentiles, what the twin took of the machine, and the verdict."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tools.endpoint_load import percentile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from load.run import Run, Sample
    from load.schedule import Traffic
    from load.shopper import Asked

PROMISE_MS = 3_000
PROMISED_SHARE = 0.99
NEVER = math.inf
COMPLETE, CATALOGUE, KEPT = "complete", "catalogue", "kept"  # as `end` has them: finish, targets
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
BUSY_CORES = 0.85  # of all cores: nothing is left for more
SETTLING_SHARE = 0.3  # of a run, after which memory, threads and sockets should not grow any more
# What must not grow, by which of a sample's figures, and by how much a mean may move. Pools keep as many connections as
# were ever in use at once, and a rare burst adds a few; in a soak, one left behind by each stall would be a hundred.
# The twin's own memory may grow: its emulators keep every turn.
STEADY: Mapping[str, tuple[str, float]] = {
    "MB of the functions' processes": ("environments_memory_mb", 10.0),
    "threads of the functions' processes": ("environments_threads", 2.0),
    "sockets of the functions' processes": ("environments_sockets", 10.0),
    "threads of the twin": ("threads", 6.0),
    "sockets of the twin": ("sockets", 12.0),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run in figures; times are percentiles in milliseconds by name, None where nothing was timed."""

    rate: float
    seconds: float
    wanted_share: float  # of turns that must be served whole by a model, or a kept answer
    asked: int  # with those of the warm-up
    started: int
    ended_per_s: float
    shoppers: int
    reconnects: int
    first_text_ms: dict[str, float | None]  # a turn without any comes after all others
    total_ms: dict[str, float | None]
    late_ms: dict[str, float | None]
    within_promise: float  # share of all turns
    answered: int  # whole, by a model or a kept answer
    kept: int  # of them
    posts_per_answer: float
    outcomes: dict[str, int]
    targets: dict[str, int]
    lost: int  # of all that were asked
    sent_again: int  # questions, after a silence: more than was planned for the place to do
    refused: dict[str, int]  # tries to connect, by what came of them
    twin_cores: float | None
    environments_cores: float | None
    load_cores: float | None
    memory_mb: float | None
    drift: dict[str, tuple[float, float]]  # by what must not grow: its mean once settled, and at the end
    left: dict[str, int]

    @property
    def answered_share(self) -> float:
        """Whole answers of a model, or kept ones, of all turns that were counted."""
        return self.answered / self.started if self.started else 0.0

    @property
    def failures(self) -> list[str]:
        """Why the run failed, in words; none where it held."""
        found = [f"{self.lost} turns were lost"] if self.lost else []
        return found + [f"{count} {what} were left at rest" for what, count in self.left.items()]

    @property
    def growing(self) -> list[str]:
        """What grew though it must not, or is not known, in words; none where all was steady."""
        return [f"nothing is known of {name}" for name in STEADY if name not in self.drift] + [
            f"{name} grew from {began:.1f} to {ended:.1f}"
            for name, (began, ended) in self.drift.items()
            if ended - began > STEADY[name][1]
        ]

    @property
    def unsteady(self) -> list[str]:
        """Why it could not go on like this for ever, in words."""
        return [*([] if self.holds() else [f"{self.rate:g} turns a second were not held"]), *self.growing]

    def holds(self) -> bool:
        """Whether the place served this rate as it should: nothing lost or failed, models asked, text in time."""
        errors = any(name.startswith("error") for name in self.outcomes)
        return (
            not self.failures
            and not errors
            and self.answered_share >= self.wanted_share
            and self.within_promise >= PROMISED_SHARE
        )

    def busy_cores(self) -> float | None:
        """Cores that twin, environments and load took together."""
        if self.twin_cores is None:
            return None
        return self.twin_cores + (self.environments_cores or 0) + (self.load_cores or 0)

    def limited_by(self, cores: int) -> str:
        """What more turns a second would run into, as far as figures tell."""
        busy = self.busy_cores()
        if busy is None:
            return "unknown: only a twin tells what it takes"
        parts = (self.twin_cores or 0, self.environments_cores or 0, self.load_cores or 0)
        told = "{:.2f} of {} cores are busy (twin {:.2f}, functions {:.2f}, load {:.2f})".format(busy, cores, *parts)
        if parts[0] >= BUSY_CORES:
            return f"the one process of the twin, in which AWS and the gateway are emulated: {told}"
        return f"the machine: {told}" if busy >= BUSY_CORES * cores else f"not the machine: {told}"


def of(run: Run, traffic: Traffic) -> Outcome:
    """Put a run in figures, of its counted part where nothing else is said."""
    counted = [asked for asked in run.asked if asked.planned.counts]
    first = [NEVER if asked.first_text_ms is None else asked.first_text_ms for asked in counted]
    total = [NEVER if asked.total_ms is None else asked.total_ms for asked in counted]
    began, ended = _within(run.samples, traffic.seconds)
    return Outcome(
        rate=traffic.rate,
        seconds=traffic.seconds,
        # Who meets a stall may end with the catalogue, and while it keeps a breaker open as many others.
        wanted_share=PROMISED_SHARE - 2 * traffic.stall_share,
        asked=len(run.asked),
        started=len(counted),
        ended_per_s=_ended_within(run.asked, traffic.seconds) / traffic.seconds,
        shoppers=len({asked.planned.shopper for asked in run.asked}),
        reconnects=sum(asked.reconnects for asked in counted),
        first_text_ms=_percentiles(first),
        total_ms=_percentiles(total),
        late_ms=_percentiles([asked.late_ms for asked in counted]),
        within_promise=sum(value <= PROMISE_MS for value in first) / len(first) if first else 0.0,
        answered=sum(asked.outcome == COMPLETE and asked.target != CATALOGUE for asked in counted),
        kept=sum(asked.outcome == COMPLETE and asked.target == KEPT for asked in counted),
        posts_per_answer=sum(asked.posts for asked in counted) / len(counted) if counted else 0.0,
        outcomes=dict(Counter(asked.outcome for asked in counted).most_common()),
        targets=dict(Counter(asked.target for asked in counted).most_common()),
        lost=sum(asked.lost for asked in run.asked),
        sent_again=sum(asked.sent_again for asked in run.asked),
        refused=dict(run.refused.most_common()),
        twin_cores=_cores(began, ended, "cpu_s"),
        environments_cores=_cores(began, ended, "environments_cpu_s"),
        load_cores=_cores(began, ended, "own_cpu_s"),
        memory_mb=max(
            (it.environments_memory_mb for it in run.samples if it.environments_memory_mb is not None), default=None
        ),
        drift=drift(run.samples, traffic.seconds),
        left=run.left,
    )


def per_second(instants: Sequence[float], seconds: float) -> list[int]:
    """How many instants fell into each second of the counted part."""
    counts = Counter(int(at) for at in instants if 0 <= at < seconds)
    return [counts[second] for second in range(int(seconds))]


def drift(samples: Sequence[Sample], seconds: float) -> dict[str, tuple[float, float]]:
    """Means of what must not grow over the first and the last fifth of the counted part's last two thirds."""
    settled = [it for it in samples if SETTLING_SHARE * seconds <= it.at_s <= seconds]
    fifth = len(settled) // 5
    found = {}
    for name, (figure, _) in STEADY.items():
        began, ended = (_mean([getattr(it, figure) for it in part]) for part in (settled[:fifth], settled[-fifth:]))
        if fifth and began is not None and ended is not None:
            found[name] = (round(began, 1), round(ended, 1))
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def cores_over_time(samples: Sequence[Sample]) -> list[tuple[float, float, float]]:
    """At each sample the cores that the twin's process and the environments took since the one before."""
    return [
        (
            after.at_s,
            (after.cpu_s - before.cpu_s) / (after.at_s - before.at_s),
            (after.environments_cpu_s - before.environments_cpu_s) / (after.at_s - before.at_s),
        )
        for before, after in pairwise(samples)
        if after.at_s > before.at_s
    ]


def _percentiles(values: Sequence[float]) -> dict[str, float | None]:
    return {name: _rounded(percentile(values, share)) for name, share in SHARES.items()}


def _rounded(value: float | None) -> float | None:
    return None if value in (None, NEVER) else round(value, 1)


def _ended_within(asked: Sequence[Asked], seconds: float) -> int:
    return sum(it.total_ms is not None and 0 <= it.planned.at_s + it.total_ms / 1000 < seconds for it in asked)


def _within(samples: Sequence[Sample], seconds: float) -> tuple[Sample | None, Sample | None]:
    """The first and the last sample of the counted part."""
    inside = [it for it in samples if 0 <= it.at_s <= seconds]
    return (inside[0], inside[-1]) if len(inside) > 1 else (None, None)


def _cores(began: Sample | None, ended: Sample | None, name: str) -> float | None:
    if began is None or ended is None or ended.at_s <= began.at_s:
        return None
    used: Any = getattr(ended, name) - getattr(began, name)
    return round(float(used) / (ended.at_s - began.at_s), 2)
