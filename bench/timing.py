"""How samples are taken: interleaved, so that a machine that slows down slows all that is compared."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass
class Samples:
    """Times of one contender in milliseconds: CPU of the calling thread, and wall."""

    cpu_ms: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)

    @property
    def cpu_p50_ms(self) -> float:
        """The median of CPU."""
        return statistics.median(self.cpu_ms)

    @property
    def wall_p50_ms(self) -> float:
        """The median of wall time."""
        return statistics.median(self.wall_ms)


def interleaved(contenders: Mapping[str, Callable[[], object]], rounds: int, warm_up: int) -> dict[str, Samples]:
    """Run all contenders once in each round; the first `warm_up` rounds do not count."""
    samples = {name: Samples() for name in contenders}
    for number in range(warm_up + rounds):
        for name, run in contenders.items():
            wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
            run()
            cpu, wall = time.thread_time_ns() - cpu, time.perf_counter_ns() - wall
            if number >= warm_up:
                samples[name].cpu_ms.append(cpu / 1e6)
                samples[name].wall_ms.append(wall / 1e6)
    return samples


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so many of all are not over, by the nearest rank; raises IndexError for no values."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
