"""Live estimates of how fast each target is, started from the policy and moved by every answer of this environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mangaassist.routing.policy import Target

WEIGHT = 0.2  # of the newest measurement in the moving average


class Estimates:
    """Exponentially weighted times to first text and per token, by target, in milliseconds."""

    def __init__(self) -> None:
        self._first_text_ms: dict[str, float] = {}
        self._token_ms: dict[str, float] = {}

    def first_text_ms(self, target: Target) -> float:
        """Expected time from the call to its first text."""
        return self._first_text_ms.get(target.name, target.estimate.first_text_ms)

    def tokens_within(self, target: Target, left_s: float) -> int:
        """How many tokens the target is expected to finish in `left_s` seconds, from the call on."""
        token_ms = self._token_ms.get(target.name, target.estimate.token_ms)
        return max(0, int((left_s * 1000 - self.first_text_ms(target)) / token_ms))

    def observe(self, target: Target, *, first_text_ms: float, total_ms: float, output_tokens: int) -> None:
        """Learn from an answered attempt."""
        self._move(self._first_text_ms, target.name, self.first_text_ms(target), first_text_ms)
        if output_tokens > 1:
            started = self._token_ms.get(target.name, target.estimate.token_ms)
            measured = max(0.01, (total_ms - first_text_ms) / (output_tokens - 1))
            self._move(self._token_ms, target.name, started, measured)

    def observe_silence(self, target: Target, waited_ms: float) -> None:
        """Learn that the first text takes longer than was waited for."""
        if waited_ms > self.first_text_ms(target):
            self._move(self._first_text_ms, target.name, self.first_text_ms(target), waited_ms)

    @staticmethod
    def _move(averages: dict[str, float], name: str, before: float, measured: float) -> None:
        averages[name] = before + WEIGHT * (measured - before)
