"""Time as a value: one deadline bounds the whole of a turn."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

GATEWAY_GIVES_UP_S = 29.0  # WebSocket integration timeout, not adjustable (API Gateway quotas)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A monotonic instant that a turn must not cross, when the turn arrived, and the clock to read both with."""

    at: float
    arrived_at: float = 0.0
    monotonic: Callable[[], float] = time.monotonic

    @classmethod
    def of_turn(
        cls,
        *,
        arrived_ms: float,
        now_ms: float,
        remaining_ms: int,
        turn_ms: int,
        reserve_ms: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Deadline:
        """Bound a turn by its arrival + `turn_ms` and by what the function has left less `reserve_ms`.

        An age outside 0..29 s belongs to a replayed sample or a skewed clock and counts as none:
        the gateway would have given up on a message that old.
        """
        age_ms = now_ms - arrived_ms
        if not 0 <= age_ms <= GATEWAY_GIVES_UP_S * 1000:
            age_ms = 0
        left_ms = max(0.0, min(turn_ms - age_ms, remaining_ms - reserve_ms))
        now = monotonic()
        return cls(at=now + left_ms / 1000, arrived_at=now - age_ms / 1000, monotonic=monotonic)

    def left_s(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self.at - self.monotonic())

    def less(self, reserve_s: float) -> Deadline:
        """The same deadline, drawn nearer by `reserve_s` seconds."""
        return Deadline(at=self.at - reserve_s, arrived_at=self.arrived_at, monotonic=self.monotonic)
