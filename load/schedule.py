"""When every turn of a run is asked, and by whom: drawn before the run, so that a slow answer delays no arrival.

Turns come as a Poisson process whose rate follows a part of the store's day in Japan. Each goes to a shopper who has
thought long enough since the last question, or else to a new one; so there is think time, and yet the load is open.
"""

from __future__ import annotations

import heapq
import json
import random
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mangaassist.money.budget import STORE_CURVE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LABELLED = Path(__file__).resolve().parent.parent / "tests" / "data" / "questions.jsonl"
SIMPLE, CATALOGUE, COMPLEX = "simple", "catalogue", "complex"
LEAST_THINK_S = 1.0
RATE = 10.0  # turns per second that 2 cores hold also when they are slow

type Questions = Mapping[str, Sequence[str]]  # by kind


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a run brings: `rate` is the mean of turns per second, shares are of all turns."""

    rate: float = RATE
    seconds: float = 60.0
    warm_up_s: float = 15.0  # in which the rate rises from nothing; its turns are asked and not counted
    hours: tuple[int, int] = (18, 24)  # of Japan, whose curve the run follows
    think_s: float = 15.0  # on average, from the instant of one question to that of the next
    turns_each: float = 4.0  # that a shopper asks on average
    complex_share: float = 0.1
    catalogue_share: float = 0.3
    drop_share: float = 0.02  # turns that lose their connection while they are answered
    stall_share: float = 0.0  # calls of models that stall


@dataclass(frozen=True, slots=True)
class Planned:
    """One question to come; instants are seconds since the counted part began, negative while it warms up."""

    at_s: float
    shopper: int
    kind: str
    question: str
    drops: bool = False

    @property
    def counts(self) -> bool:
        """Whether it belongs to the counted part."""
        return self.at_s >= 0


@dataclass(order=True)
class _Idle:
    free_at_s: float
    shopper: int
    turns_left: int = field(compare=False)


def labelled(path: Path = LABELLED) -> Questions:
    """The labelled questions by kind; one that is complex and about the catalogue is complex here."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in path.read_text("utf-8").splitlines():
        entry = json.loads(line)
        kind = COMPLEX if entry["complex"] else CATALOGUE if entry["catalogue"] else SIMPLE
        found[kind].append(entry["text"])
    return found


def plan(traffic: Traffic, questions: Questions, seed: int) -> list[Planned]:
    """Draw a run; the same seed draws the same one."""
    dice = random.Random(seed)  # noqa: S311 - repeatable
    return list(_asked(traffic, questions, dice))


def by_shopper(planned: Sequence[Planned]) -> dict[int, list[Planned]]:
    """Each shopper's questions, in order."""
    found: dict[int, list[Planned]] = defaultdict(list)
    for turn in planned:
        found[turn.shopper].append(turn)
    return found


def intensity(traffic: Traffic, at_s: float) -> float:
    """Turns per second at an instant of the run."""
    shares = STORE_CURVE[traffic.hours[0] : traffic.hours[1]]
    if at_s < 0:
        return traffic.rate * shares[0] * len(shares) / sum(shares) * (1 + at_s / traffic.warm_up_s)
    hour = min(len(shares) - 1, int(at_s / traffic.seconds * len(shares)))
    return traffic.rate * shares[hour] * len(shares) / sum(shares)


def _asked(traffic: Traffic, questions: Questions, dice: random.Random) -> Iterator[Planned]:
    idle: list[_Idle] = []
    shoppers = 0
    plain = 1 - traffic.complex_share - traffic.catalogue_share
    for at_s in _instants(traffic, dice):
        if idle and idle[0].free_at_s <= at_s:
            shopper = heapq.heappop(idle)
        else:
            shopper = _Idle(at_s, shoppers, _turns(traffic.turns_each, dice))
            shoppers += 1
        kind = dice.choices((SIMPLE, CATALOGUE, COMPLEX), (plain, traffic.catalogue_share, traffic.complex_share))[0]
        drops = dice.random() < traffic.drop_share
        yield Planned(at_s, shopper.shopper, kind, dice.choice(questions[kind]), drops)
        if shopper.turns_left > 1:
            think_s = LEAST_THINK_S + dice.expovariate(1 / max(0.001, traffic.think_s - LEAST_THINK_S))
            heapq.heappush(idle, _Idle(at_s + think_s, shopper.shopper, shopper.turns_left - 1))


def _instants(traffic: Traffic, dice: random.Random) -> Iterator[float]:
    """A Poisson process of the curve's rate, thinned from one of its highest."""
    highest = max(intensity(traffic, traffic.seconds * (step + 0.5) / 24) for step in range(24))
    at_s = -traffic.warm_up_s
    while (at_s := at_s + dice.expovariate(highest)) < traffic.seconds:
        if dice.random() * highest < intensity(traffic, at_s):
            yield at_s


def _turns(mean: float, dice: random.Random) -> int:
    """A geometric number of turns, at least one."""
    turns = 1
    while dice.random() > 1 / mean:
        turns += 1
    return turns
