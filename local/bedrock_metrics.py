"""What Bedrock would tell CloudWatch of its runtime, from what the emulated one really did."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.endpoint_metrics import Point

NAMESPACE = "AWS/Bedrock"
MOST_CALLS = 200_000


@dataclass(frozen=True)
class Counted:
    """One call that a model was run for."""

    at_s: float
    region: str
    model_id: str
    input_tokens: int
    output_tokens: int


MEASURES: dict[str, Callable[[Counted], float]] = {
    "Invocations": lambda one: 1,
    "InputTokenCount": lambda one: one.input_tokens,
    "OutputTokenCount": lambda one: one.output_tokens,
}


class ModelMetrics:
    """Every call of every model."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._calls: deque[Counted] = deque(maxlen=MOST_CALLS)

    def count(self, region: str, model_id: str, input_tokens: int, output_tokens: int) -> None:
        """Remember a call that ends now."""
        self._calls.append(Counted(self._now_s(), region, model_id, input_tokens, output_tokens))

    def of(self, region: str) -> RegionMetrics:
        """What a region has to tell."""
        return RegionMetrics([call for call in self._calls if call.region == region])


@dataclass(frozen=True)
class RegionMetrics:
    """The calls of one region."""

    calls: list[Counted]

    def unit(self, name: str) -> str:
        """The unit of a metric."""
        return "Count" if name in MEASURES else "None"

    def points(self, name: str, dimensions: dict[str, str], start_s: float, end_s: float) -> list[Point]:
        """What was told of a metric of one model in a span of time."""
        measure = MEASURES.get(name)
        if measure is None or set(dimensions) != {"ModelId"}:
            return []
        mine = (it for it in self.calls if start_s <= it.at_s < end_s and it.model_id == dimensions["ModelId"])
        return [(it.at_s, measure(it)) for it in mine]
