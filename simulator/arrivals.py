"""The messages of a simulated day: when they come, what kind of question each is, how long it and its answer are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mangaassist.advice.latency import LATENCY_SPREAD
from mangaassist.money.budget import STORE_CURVE
from mangaassist.routing import question

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mangaassist.routing.question import Question

SIMPLE, COMPLEX, CATALOGUE = range(3)
WORDED = {  # one of each kind, read by the real reader
    SIMPLE: "送料はいくらですか?",
    COMPLEX: "『寄生獣』と『亜人』の主題を比べて、それぞれの結末が何を問いかけているか詳しく論じてください。",
    CATALOGUE: "ワンピースに似た完結済みの作品は?",
}
LENGTH_SPREAD = 0.35  # of the logarithm of tokens: an assumption


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a day brings: shares are of all messages, tokens are means."""

    messages: int = 1_000_000
    complex_share: float = 0.1
    catalogue_share: float = 0.3
    input_tokens: int = 350
    output_tokens: int = 150
    curve: Sequence[float] = STORE_CURVE


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The messages in the order in which they come; `second` counts from midnight in Japan."""

    second: NDArray[np.float64]
    kind: NDArray[np.int8]
    input_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    luck: NDArray[np.float64]  # the factor of the first call's time to first text
    second_luck: NDArray[np.float64]  # and of every later call's
    chance: NDArray[np.float64]  # in [0, 1): what befalls its first call


def questions() -> tuple[Question, ...]:
    """A question of each kind, as the router sees it."""
    return tuple(question.read(WORDED[kind]) for kind in (SIMPLE, COMPLEX, CATALOGUE))


def arrivals(traffic: Traffic, seed: int) -> Arrivals:
    """Draw a day; the same seed draws the same one. Each hour's messages come independently of each other."""
    dice = np.random.default_rng(seed)
    share = np.asarray(traffic.curve, dtype=np.float64)
    hour = dice.choice(24, size=traffic.messages, p=share / share.sum())
    second = np.sort((hour + dice.random(traffic.messages)) * 3600)
    plain = max(0.0, 1 - traffic.complex_share - traffic.catalogue_share)
    shares = np.array([plain, traffic.complex_share, traffic.catalogue_share])
    kinds = np.array([SIMPLE, COMPLEX, CATALOGUE], dtype=np.int8)
    return Arrivals(
        second=second,
        kind=dice.choice(kinds, size=traffic.messages, p=shares / shares.sum()),
        input_tokens=_around(dice, traffic.input_tokens, traffic.messages),
        output_tokens=_around(dice, traffic.output_tokens, traffic.messages),
        luck=np.exp(dice.normal(0, LATENCY_SPREAD, traffic.messages)),
        second_luck=np.exp(dice.normal(0, LATENCY_SPREAD, traffic.messages)),
        chance=dice.random(traffic.messages),
    )


def _around(dice: np.random.Generator, mean: int, size: int) -> NDArray[np.int64]:
    """Whole numbers from 1, lognormal, of this mean."""
    drawn = np.exp(dice.normal(np.log(mean) - LENGTH_SPREAD**2 / 2, LENGTH_SPREAD, size))
    return np.maximum(1, np.rint(drawn)).astype(np.int64)
