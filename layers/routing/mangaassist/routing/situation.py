"""What every turn must know of the world: spend, published capacity, target health, and the policy in force.

Frozen values only; `routing/store.py` reads them from the situation table with one query.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Capacity:
    """Provisioned throughput that serves; instants are epoch seconds."""

    arn: str
    units: int
    until_s: float  # no turn starts on it from then on
    saturated_until_s: float = 0.0
    window: str = ""  # that it was bought for
    day: str = ""  # JST day on which that window began


@dataclass(frozen=True, slots=True)
class Health:
    """A target's circuit breaker, shared by all environments; instants are epoch seconds.

    Closed while `open_until_s` is 0; open before that instant; half-open after it, for the one environment
    that holds the probe.
    """

    failures: int = 0
    last_failure_s: float = 0.0
    open_until_s: float = 0.0
    cooldown_ms: int = 0
    probe_until_s: float = 0.0

    def is_open(self, now_s: float) -> bool:
        """Whether no call may be made: cooling down, or somebody else is probing."""
        return self.open_until_s > now_s or self.probe_until_s > now_s

    def is_half_open(self, now_s: float) -> bool:
        """Whether one call may be made to see if the target lives again."""
        return 0 < self.open_until_s <= now_s and self.probe_until_s <= now_s


@dataclass(frozen=True, slots=True)
class Situation:
    """The world as last read from the situation table."""

    committed_nano_usd: int = 0  # spent and reserved on this JST day
    capacity: Mapping[str, Capacity] = field(default_factory=dict)
    health: Mapping[str, Health] = field(default_factory=dict)
    backends: frozenset[str] = frozenset(("bedrock",))  # those that the deployment has
