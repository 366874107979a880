"""The instances of the emulated SageMaker endpoint: how many serve, how full they are, and how load makes them more.

What is due happens when somebody looks: between two looks nobody came or left, so the clock may have been moved over
minutes and the outcome is the same. Scaling tracks a target as Application Auto Scaling does: load that would take more
instances for `out_after_s` starts them, load that would take fewer for `in_after_s` ends them. Without any instance a
call that finds none starts one, as the usual alarm would.
"""

from __future__ import annotations

import math
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.clock import Clock
    from local.profiles import Endpoint

MOST_LEVELS = 100_000


class NoInstance(Exception):
    """None serves; one may be on its way."""


class Full(Exception):
    """Every place is taken, and every one to wait in."""


@dataclass(eq=False)
class Place:
    """What a request has on the endpoint."""

    serves: bool = False  # or waits


@dataclass(frozen=True)
class Level:
    """How busy the endpoint has been since a moment."""

    since_s: float  # of Unix time, by the twin's clock
    requests: int
    instances: int


@dataclass
class Fleet:
    """All instances; any of their places is as good as another, so requests go where there is room."""

    profile: Endpoint
    clock: Clock
    levels: deque[Level] = field(default_factory=lambda: deque(maxlen=MOST_LEVELS))
    in_service: int = 0
    _places: list[Place] = field(default_factory=list)
    _over_since_s: float | None = None
    _under_since_s: float | None = None

    def __post_init__(self) -> None:
        self.created_s = self.modified_s = self.clock.now().timestamp()
        self.desired = max(1, self.profile.minimum)
        self._starting = [self.clock.passed_s() + self.profile.starting_s] * self.desired
        self._created = False
        self.settle()

    @property
    def status(self) -> str:
        """The endpoint's, as DescribeEndpoint names it."""
        self.settle()
        if not self._created:
            return "Creating"
        return "InService" if self.in_service == self.desired else "Updating"

    @property
    def serving(self) -> int:
        return sum(place.serves for place in self._places)

    @property
    def waiting(self) -> int:
        return len(self._places) - self.serving

    def starting_in_s(self) -> list[float]:
        """How long each instance that is in the making still takes."""
        now_s = self.clock.passed_s()
        return [ready_s - now_s for ready_s in self._starting]

    @contextmanager
    def place(self) -> Iterator[Place]:
        """A place while a request lasts; raises NoInstance or Full."""
        self.settle()
        if not self.in_service:
            self._wake()
            raise NoInstance
        each = self.profile.requests_per_instance + self.profile.queue_per_instance
        if len(self._places) >= each * self.in_service:
            raise Full
        place = Place()
        self._places.append(place)
        self._watch(self.clock.passed_s())
        try:
            yield place
        finally:
            self.settle()
            self._places.remove(place)
            self._watch(self.clock.passed_s())

    def serves(self, place: Place) -> bool:
        """Whether it is the turn of a request; who came first is served first."""
        self.settle()
        if not place.serves and self.serving < self._capacity:
            place.serves = next(one for one in self._places if not one.serves) is place
        return place.serves

    def pace(self) -> float:
        """How much longer everything takes at this load than alone."""
        return 1 + self.profile.slowdown * min(1.0, (self.serving - 1) / max(1, self._capacity - 1))

    def settle(self) -> None:
        """Let happen what was due by now."""
        now_s = self.clock.passed_s()
        while (due_s := min(self._dues(), default=math.inf)) <= now_s:
            self._happen(due_s)

    @property
    def _capacity(self) -> int:
        return self.in_service * self.profile.requests_per_instance

    def _wanted(self) -> int:
        """How many instances the load would take."""
        wanted = math.ceil(len(self._places) / self.profile.target)
        return min(self.profile.maximum, max(self.profile.minimum, wanted))

    def _dues(self) -> Iterator[float]:
        yield from self._starting
        if self._over_since_s is not None:
            yield self._over_since_s + self.profile.out_after_s
        if self._under_since_s is not None:
            yield self._under_since_s + self.profile.in_after_s

    def _happen(self, at_s: float) -> None:
        if any(ready_s <= at_s for ready_s in self._starting):
            self.in_service += sum(ready_s <= at_s for ready_s in self._starting)
            self._starting = [ready_s for ready_s in self._starting if ready_s > at_s]
            self._created = True
        elif self._over_since_s is not None:
            self._start(self._wanted(), at_s + self.profile.starting_s)
        else:
            self.desired = self.in_service = self._wanted()
        self.modified_s = self._told_s(at_s)
        self._watch(at_s)

    def _wake(self) -> None:
        if not self.desired:
            self._start(1, self.clock.passed_s() + self.profile.out_after_s + self.profile.starting_s)

    def _start(self, desired: int, ready_s: float) -> None:
        self._starting += [ready_s] * (desired - self.desired)
        self.desired = desired

    def _watch(self, at_s: float) -> None:
        """Note how busy it is from then on, and since when that has called for more or fewer instances."""
        wanted = self._wanted()
        over = self.in_service > 0 and wanted > self.desired
        under = self.in_service == self.desired and wanted < self.desired
        self._over_since_s = None if not over else at_s if self._over_since_s is None else self._over_since_s
        self._under_since_s = None if not under else at_s if self._under_since_s is None else self._under_since_s
        self.levels.append(Level(self._told_s(at_s), len(self._places), self.in_service))

    def _told_s(self, at_s: float) -> float:
        """The Unix time of a moment."""
        return self.clock.now().timestamp() - (self.clock.passed_s() - at_s)
