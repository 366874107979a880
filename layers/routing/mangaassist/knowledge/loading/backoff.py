"""How often a call is repeated, and after what waits: with full jitter, so that the refused do not return together."""

from __future__ import annotations

import random
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TRIES = 8
FIRST_S = 0.25  # the longest wait before the second try; it doubles with each
LONGEST_S = 10.0


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that was not done however often it was tried, by the service's name of the reason."""

    reason: str


class Backoff:
    """Tries of a call; safe to share between threads. `sleep` and `uniform` (0 to its argument) are for tests."""

    def __init__(
        self, sleep: Callable[[float], object] | None = None, uniform: Callable[[float], float] | None = None
    ) -> None:
        self._stopped = Event()
        self._sleep = sleep or self._stopped.wait
        self._uniform = uniform or _uniform

    def tries(self) -> Iterator[int]:
        """The numbers of the tries from 0, each but the first after a wait; fewer when it is stopped meanwhile."""
        for number in range(TRIES):
            if number:
                if not self._stopped.is_set():
                    self._sleep(self._uniform(min(LONGEST_S, FIRST_S * 2 ** (number - 1))))
                if self._stopped.is_set():
                    return
            yield number

    def stop(self) -> None:
        """End all waits and repeat nothing more, in any thread."""
        self._stopped.set()

    def restart(self) -> None:
        """Repeat calls again."""
        self._stopped.clear()


def _uniform(most_s: float) -> float:
    return random.uniform(0, most_s)  # noqa: S311 - jitter
