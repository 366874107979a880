"""What a simulated day has of finite capacity: model units as token buckets, instances as places."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

BURST_S = 60.0  # a unit's tokens per minute may be used within a minute as they come


@dataclass(slots=True)
class Units:
    """Provisioned model units: a token bucket that holds a minute's throughput."""

    tokens_per_minute: int
    left: float = 0.0
    at_s: float = 0.0

    def __post_init__(self) -> None:
        self.left = float(self.tokens_per_minute)

    def take(self, tokens: int, now_s: float) -> bool:
        """Use throughput, if there is enough; a call that finds too little is throttled."""
        refilled = self.left + (now_s - self.at_s) * self.tokens_per_minute / BURST_S
        self.left, self.at_s = min(float(self.tokens_per_minute), refilled), now_s
        if tokens > self.left:
            return False
        self.left -= tokens
        return True


@dataclass(slots=True)
class Places:
    """Instances of an endpoint: so many answers at a time."""

    count: int
    _until_s: list[float] = field(default_factory=list)

    def free(self, now_s: float) -> bool:
        """Whether there is a place."""
        while self._until_s and self._until_s[0] <= now_s:
            heapq.heappop(self._until_s)
        return len(self._until_s) < self.count

    def take(self, until_s: float) -> None:
        """Occupy one until an instant."""
        heapq.heappush(self._until_s, until_s)
