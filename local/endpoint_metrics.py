"""What SageMaker would tell CloudWatch of the endpoint, from what it really served.

Times are those of the twin's clock. Latencies are in microseconds, and how long a call really took, wherever the clock
was moved meanwhile.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.endpoint import Fleet, Level

NAMESPACE = "AWS/SageMaker"
VARIANT = "main"
SAMPLE_S = 10  # how often concurrency is told
MOST_INVOCATIONS = 200_000
NO_CAPACITY = "NoCapacityInvocationFailures"
CONCURRENCY = "ConcurrentRequestsPerModel"
OF_COMPONENTS = {"InvocationsPerCopy": "InvocationsPerInstance", "ConcurrentRequestsPerCopy": CONCURRENCY}

type Point = tuple[float, float]  # when, in seconds of Unix time, and what


@dataclass(frozen=True)
class Invocation:
    """One call that reached the endpoint; latencies only where the container answered."""

    at_s: float
    instances: int
    status: int
    model_us: float | None = None
    overhead_us: float | None = None
    first_chunk_us: float | None = None
    broke: bool = False


MEASURES: dict[str, tuple[str, Callable[[Invocation], float | None]]] = {
    "Invocations": ("None", lambda one: 1),
    "InvocationsPerInstance": ("None", lambda one: 1 / max(1, one.instances)),
    "Invocation4XXErrors": ("None", lambda one: 400 <= one.status < 500),
    "Invocation5XXErrors": ("None", lambda one: one.status >= 500),
    "ModelLatency": ("Microseconds", lambda one: one.model_us),
    "OverheadLatency": ("Microseconds", lambda one: one.overhead_us),
    "FirstChunkLatency": ("Microseconds", lambda one: one.first_chunk_us),
    "MidStreamErrors": ("None", lambda one: one.broke),
}


class Metrics:
    """Everything that one endpoint has to tell."""

    def __init__(self, name: str, component: str, fleet: Fleet) -> None:
        self._fleet = fleet
        self._whose = [{"EndpointName": name, "VariantName": VARIANT}]
        self._component = {"InferenceComponentName": component} if component else None
        self._invocations: deque[Invocation] = deque(maxlen=MOST_INVOCATIONS)
        self._asleep: deque[float] = deque(maxlen=MOST_INVOCATIONS)

    def invoked(self, invocation: Invocation) -> None:
        """Count a call."""
        self._invocations.append(invocation)

    def found_nobody(self, at_s: float) -> None:
        """Count a call that came while the component had no copy."""
        self._asleep.append(at_s)

    def unit(self, name: str) -> str:
        """The unit of a metric."""
        return MEASURES[name][0] if name in MEASURES else "None"

    def points(self, name: str, dimensions: dict[str, str], start_s: float, end_s: float) -> list[Point]:
        """What was told of a metric in a span of time; nothing of an unknown one, as CloudWatch has it."""
        if dimensions == self._component:
            if name == NO_CAPACITY:
                return [(at_s, 1) for at_s in self._asleep if start_s <= at_s < end_s]
            name = OF_COMPONENTS.get(name, name)
        elif dimensions not in self._whose:
            return []
        if name == CONCURRENCY:
            self._fleet.settle()
            return _sampled(list(self._fleet.levels), start_s, min(end_s, self._fleet.clock.now().timestamp()))
        if name not in MEASURES:
            return []
        measure = MEASURES[name][1]
        told = ((one.at_s, measure(one)) for one in self._invocations if start_s <= one.at_s < end_s)
        return [(at_s, float(value)) for at_s, value in told if value is not None]


def _sampled(levels: list[Level], start_s: float, end_s: float) -> list[Point]:
    """The most requests at a time that each instance had, for each span of ten seconds in which any instance served."""
    points = []
    place, at_s = 0, math.ceil(start_s / SAMPLE_S) * SAMPLE_S
    while at_s < end_s:
        while place + 1 < len(levels) and levels[place + 1].since_s <= at_s:
            place += 1
        within = [level for level in _from(levels, place, at_s + SAMPLE_S) if level.instances]
        if within:
            points.append((float(at_s), max(level.requests / level.instances for level in within)))
        at_s += SAMPLE_S
    return points


def _from(levels: list[Level], place: int, until_s: float) -> list[Level]:
    """The level at a place and those that begin after it and before a moment."""
    found = []
    while place < len(levels) and levels[place].since_s < until_s:
        found.append(levels[place])
        place += 1
    return found
