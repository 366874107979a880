"""What shoppers would wait, out of the policy's estimates of each target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mangaassist.routing.policy import Policy

LATENCY_SPREAD = 0.3  # of the logarithm of times to first text: an assumption
OVERHEAD_MS = 60  # of a turn before its first call: tables and search
SLOWEST_MS = 120_000
STEPS = 40  # of a bisection: below a microsecond


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from a message's arrival; the whole answer is what the median one takes."""

    first_text_p50_ms: float
    first_text_p95_ms: float
    answer_ms: float


def latency(served: Mapping[str, float], policy: Policy, output_tokens: int) -> Latency | None:
    """Of messages by the target that answers them; None where nobody does."""
    parts = [(weight, policy.targets[name].estimate) for name, weight in served.items() if weight > 0]
    whole = sum(weight for weight, _ in parts)
    if not whole:
        return None
    medians = [(weight / whole, float(estimate.first_text_ms)) for weight, estimate in parts]
    answer_ms = sum(w / whole * (it.first_text_ms + output_tokens * it.token_ms) for w, it in parts)
    return Latency(
        OVERHEAD_MS + _quantile(medians, 0.5), OVERHEAD_MS + _quantile(medians, 0.95), OVERHEAD_MS + answer_ms
    )


def _quantile(medians: list[tuple[float, float]], share: float) -> float:
    """Of a mixture of lognormal times, given as weights and medians."""
    low, high = 0.0, float(SLOWEST_MS)
    for _ in range(STEPS):
        middle = (low + high) / 2
        below = sum(weight * _within(middle / median) for weight, median in medians)
        low, high = (middle, high) if below < share else (low, middle)
    return high


def _within(ratio: float) -> float:
    """The share of times that are at most this many times their median."""
    return 0.5 * (1 + math.erf(math.log(ratio) / LATENCY_SPREAD / math.sqrt(2))) if ratio > 0 else 0.0
