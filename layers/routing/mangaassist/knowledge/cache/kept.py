"""Answers that all shoppers share: found by the same question, and checked against the products as they are now.

An answer is served only while every product that its model was shown still looks the same, price and stock included.
Of a burst of one question the first to claim it answers, and the others wait a moment for that answer. A place that
fails is left alone for a while, so that an outage costs its time limit once and not in every turn.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mangaassist.clock import Clock
from mangaassist.errors import KnowledgeUnavailable
from mangaassist.knowledge import notes, spelling
from mangaassist.knowledge.cache import sameness
from mangaassist.knowledge.cache.answers import Answer, packed, unpacked
from mangaassist.metric import Metric
from mangaassist.observability import logger, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mangaassist.knowledge.cache.answers import AnswerStore
    from mangaassist.knowledge.product import Product
    from mangaassist.knowledge.shelf import Shelf
    from mangaassist.routing.question import Question

LEFT_ALONE_S = 5.0
CLAIM_S = 30.0  # longer than a turn can last: that of a turn which died
LOOK_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question's place among the kept answers, and what was there."""

    bucket: str
    wording: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that may be served, with the products that it rests on as they are now."""

    answer: Answer
    products: tuple[Product, ...]
    how: Literal["exact", "near", "awaited"]


class KeptAnswers:
    """The kept answers of one place; no method raises."""

    def __init__(self, store: AnswerStore, shelf: Shelf, clock: Clock | None = None) -> None:
        self._store = store
        self._shelf = shelf
        self._clock = clock or Clock()
        self._out_until = 0.0  # monotonic

    def look(self, question: Question, context: Sequence[str], limit_s: float) -> Inquiry | None:
        """What is kept of a question; `context` is all else that an answer depends on. None: nobody may share it."""
        if not sameness.is_keepable(question):
            return None
        bucket = sameness.digest((question.language, *context, *sameness.reduced(question)))
        inquiry = Inquiry(bucket, sameness.digest((spelling.folded(question.text),)), ())
        return self._read(inquiry, limit_s)

    def exact(self, inquiry: Inquiry, limit_s: float) -> Kept | None:
        """The answer to the same wording."""
        same = (answer for answer in inquiry.answers if answer.wording == inquiry.wording)
        return self._sound(inquiry, next(same, None), "exact", limit_s)

    def near(self, inquiry: Inquiry, vector: Sequence[float], least: float, limit_s: float) -> Kept | None:
        """The answer to the nearest other wording of the same question, if its vector is near enough."""
        others = [answer for answer in inquiry.answers if answer.wording != inquiry.wording]  # that one was looked at
        nearest = max(others, key=lambda answer: _similarity(vector, answer), default=None)
        if nearest is None or _similarity(vector, nearest) < least:
            return None
        return self._sound(inquiry, nearest, "near", limit_s)

    def claim(self, inquiry: Inquiry, limit_s: float) -> bool:
        """Whether this turn is the one to answer; also when that cannot be known."""
        claimed = self._asked(lambda: self._store.claim(inquiry.bucket, inquiry.wording, CLAIM_S, limit_s))
        return claimed is not False

    def awaited(self, inquiry: Inquiry, wait_s: float, limit_s: float) -> tuple[Kept | None, bool]:
        """The answer that another turn is about to give, waited for at most `wait_s`; or the claim that it gave up."""
        until = self._clock.monotonic() + wait_s
        while self._clock.monotonic() + LOOK_AGAIN_S <= until:
            self._clock.sleep(LOOK_AGAIN_S)
            now = self._read(inquiry, limit_s)
            if now is None:
                return None, False
            same = next((answer for answer in now.answers if answer.wording == inquiry.wording), None)
            if same is not None:
                return self._sound(now, same, "awaited", limit_s), False
            if self.claim(inquiry, limit_s):
                return None, True
        return None, False

    def keep(
        self,
        inquiry: Inquiry,
        text: str,
        *,
        target: str,
        model: str,
        products: Sequence[Product],
        vector: Sequence[float] | None,
        life_s: float,
        limit_s: float,
    ) -> None:
        """Keep an answer."""
        answer = Answer(
            wording=inquiry.wording,
            text=text,
            target=target,
            model=model,
            stamps={product.id: notes.stamp(product) for product in products},
            expires_at=int(self._clock.now_s() + life_s),
            vector=packed(vector) if vector else b"",
        )
        self._asked(lambda: self._store.write(inquiry.bucket, answer, limit_s))

    def release(self, inquiry: Inquiry, limit_s: float) -> None:
        """Give up a claim, so that the next turn need not wait for an answer that will not come."""
        self._asked(lambda: self._store.release(inquiry.bucket, inquiry.wording, limit_s))

    def _read(self, inquiry: Inquiry, limit_s: float) -> Inquiry | None:
        now_s = self._clock.now_s()
        answers = self._asked(lambda: self._store.read(inquiry.bucket, limit_s))
        if answers is None:
            return None
        alive = tuple(answer for answer in answers if answer.expires_at > now_s)
        return Inquiry(inquiry.bucket, inquiry.wording, alive)

    def _sound(
        self, inquiry: Inquiry, answer: Answer | None, how: Literal["exact", "near", "awaited"], limit_s: float
    ) -> Kept | None:
        """The answer if its products are as its model saw them; one that is outdated is dropped."""
        if answer is None:
            return None
        by = self._clock.monotonic() + limit_s
        try:
            call = self._shelf.begin(tuple(answer.stamps), limit_s)
            products = call.wait(max(0.0, by - self._clock.monotonic()))
        except KnowledgeUnavailable:
            return None
        if {one: notes.stamp(product) for one, product in products.items()} == answer.stamps:
            return Kept(answer, tuple(products[one] for one in answer.stamps), how)
        measure(Metric.CacheOutdated)
        wording = answer.wording
        self._asked(lambda: self._store.drop(inquiry.bucket, wording, limit_s))
        return None

    def _asked[T](self, ask: Callable[[], T]) -> T | None:
        """What the place says; None after a failure, and for a while from then on."""
        if self._clock.monotonic() < self._out_until:
            return None
        try:
            return ask()
        except KnowledgeUnavailable as error:
            self._out_until = self._clock.monotonic() + LEFT_ALONE_S
            logger.warning("the answer cache is out of reach", extra={"why": error.why})
            measure(Metric.CacheUnavailable)
            return None


def _similarity(vector: Sequence[float], answer: Answer) -> float:
    try:
        return sameness.similarity(vector, unpacked(answer.vector))
    except (struct.error, ValueError):  # not embedded, or by a model with other vectors
        return -1.0
