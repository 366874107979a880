"""The circuit breaker as arithmetic: what a failure or a success makes of a target's health."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mangaassist.routing.situation import Health

if TYPE_CHECKING:
    from mangaassist.routing.policy import Breaker

TRIPS_AT_ONCE = frozenset({"retired"})  # an end-of-life model does not come back by itself
NOT_THE_TARGETS_FAULT = frozenset(
    {"throttled", "refused", "denied", "invalid", "cancelled", "deadline", "gone", "filtered"}
)


def after_failure(health: Health, outcome: str, breaker: Breaker, now_s: float) -> Health:
    """Count a failure; open the breaker at the threshold, or again, with a doubled cooldown, after a failed probe.

    A failure that comes in while the breaker is already open is a call from before, and changes nothing.
    """
    if health.open_until_s > now_s:
        return health
    together = now_s - health.last_failure_s <= breaker.forget_ms / 1000
    failures = health.failures + 1 if together else 1
    was_open = health.open_until_s > 0
    if not was_open and failures < breaker.failures and outcome not in TRIPS_AT_ONCE:
        return Health(failures=failures, last_failure_s=now_s)
    doubled = health.cooldown_ms * 2 if was_open else breaker.cooldown_ms
    cooldown_ms = min(max(doubled, breaker.cooldown_ms), breaker.cooldown_max_ms)
    return Health(
        failures=failures,
        last_failure_s=now_s,
        open_until_s=now_s + cooldown_ms / 1000,
        cooldown_ms=cooldown_ms,
    )


def counts(outcome: str) -> bool:
    """Whether an outcome speaks against the target's health: a throttled or refused call says nothing of it."""
    return outcome not in NOT_THE_TARGETS_FAULT
