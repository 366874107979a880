"""What a turn finds out before a model is asked: an answer that is kept, else what the catalogue says.

The way of the data: question and history -> what is wanted -> products (or a kept answer) -> notes for the model ->
citations in the `end` frame -> an answer to keep.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mangaassist.chat import report
from mangaassist.knowledge import catalogue, claims, notes, wanted
from mangaassist.knowledge.product import Product
from mangaassist.knowledge.search import Found
from mangaassist.money.ledger import Charge
from mangaassist.routing.policy import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from datetime import date

    from mangaassist.knowledge.cache.kept import Inquiry, Kept, KeptAnswers
    from mangaassist.knowledge.search import Lookup, Search
    from mangaassist.routing.policy import Policy
    from mangaassist.routing.question import Question

FALLBACK_WORKS = 5  # of the catalogue answer


@dataclass
class Findings:
    """What one turn has found out: nothing yet, or what `Research` has put in."""

    policy: Policy
    about_catalogue: bool = False
    inquiry: Inquiry | None = None
    lookup: Lookup | None = None
    found: Found = field(default_factory=Found)
    kept: Kept | None = None
    claimed: bool = False
    offered: tuple[Product, ...] = ()  # by the catalogue answer

    @property
    def products(self) -> tuple[Product, ...]:
        """The products that the answer rests on."""
        return self.kept.products if self.kept else self.offered or self.found.products

    def system_prompt(self, *, short: bool = False) -> str:
        """The policy's system prompt, with the rules of grounding where they apply, and the wish for a short answer."""
        answer = self.policy.answer
        prompt = f"{answer.system_prompt} {answer.short_prompt}" if short else answer.system_prompt
        return notes.system(prompt, self.products, about_catalogue=self.about_catalogue)

    def catalogue_answer(self, question: Question) -> str:
        """What can be said without a model; what it offers can be cited then."""
        products: Sequence[Product] = self.found.products
        if not products and not self.found.priced:  # nothing was looked up, or the table is out of reach
            products = [Product(work) for work in catalogue.matching(question, FALLBACK_WORKS)]
        self.offered = tuple(products[:FALLBACK_WORKS])
        return catalogue.answer(question, self.offered)

    def correction(self, question: Question, text: str) -> str:
        """What has to follow an answer that states prices which the catalogue does not; usually nothing."""
        if not self.about_catalogue or self.kept or not claims.unfounded_prices(text, self.products, question.text):
            return ""
        return claims.correction(question.language, self.products, text)

    def charge(self, day: date) -> Charge | None:
        """What the embedding cost on a JST day; None when there was none."""
        if self.lookup is None or self.lookup.sent is None:
            return None
        found = self.found.embedded
        model, tokens, estimated = (found.model, found.tokens, found.estimated) if found else (*self.lookup.sent, True)
        price = self.policy.knowledge.embedding_prices.get(model)
        cost_nano_usd = tokens * price.input_nano_usd if price else 0
        return Charge(model, tokens, estimated, cost_nano_usd, day.isoformat())

    def may_be_kept(self, *, target: str, finish: str, voices: int, wants_quality: bool) -> bool:
        """Whether an answer holds for everybody: whole, by one model of the class that was wanted, from sure facts."""
        if self.inquiry is None or self.kept or target == CATALOGUE or finish != "complete" or voices != 1:
            return False
        if wants_quality and self.policy.targets[target].quality != "quality":
            return False
        return self.is_sure()

    def is_sure(self) -> bool:
        """Whether all that an answer may rest on was found: only then can it be kept, or waited for."""
        return self.found.priced and bool(self.found.products) and not self.found.missing


class Research:
    """Finds out; `answers` is None where no answers are kept. No method raises: a turn goes on without knowledge."""

    def __init__(self, search: Search, answers: KeptAnswers | None) -> None:
        self._search = search
        self._answers = answers

    def begin(self, question: Question, history: Sequence[str], policy: Policy, *, may_spend: bool) -> Findings:
        """Look for a kept answer, and begin the search when there is none; the caller goes on meanwhile."""
        findings = Findings(policy)
        with _guarded():
            findings.about_catalogue = wanted.is_about_catalogue(question, history)
            if self._answers and not history:
                self._look(question, findings, self._answers)
            if findings.about_catalogue and findings.kept is None:
                lookup_s = policy.knowledge.lookup_ms / 1000
                findings.lookup = self._search.begin(wanted.read(question, history), lookup_s, may_spend=may_spend)
        return findings

    def finish(self, findings: Findings, spare_s: Callable[[], float]) -> None:
        """End the search, look for an answer to another wording, and let one turn alone answer a burst.

        `spare_s` tells, at any moment, how long the turn can still wait for another one's answer to the same question.
        """
        with _guarded():
            if findings.lookup is not None:
                findings.found = findings.lookup.finish(findings.policy.knowledge.results)
            if self._answers and findings.inquiry and findings.kept is None:
                self._share(findings, self._answers, findings.inquiry, spare_s)

    def keep(self, findings: Findings, text: str, *, target: str, model: str) -> None:
        """Keep an answer for the next shopper who asks the same."""
        if self._answers is None or findings.inquiry is None:
            return
        knowledge = findings.policy.knowledge
        with _guarded():
            self._answers.keep(
                findings.inquiry,
                text,
                target=target,
                model=model,
                products=findings.found.products,
                vector=findings.found.vector,
                life_s=knowledge.cache_ttl_s,
                limit_s=knowledge.cache_ms / 1000,
            )

    def end(self, findings: Findings) -> None:
        """Give up what is still held: calls under way, and the claim to answer a question."""
        if findings.lookup is not None:
            findings.lookup.close()
        if findings.claimed and self._answers and findings.inquiry:
            findings.claimed = False
            self._answers.release(findings.inquiry, findings.policy.knowledge.cache_ms / 1000)

    @staticmethod
    def _look(question: Question, findings: Findings, answers: KeptAnswers) -> None:
        limit_s = findings.policy.knowledge.cache_ms / 1000
        findings.inquiry = answers.look(question, _context(findings.policy), limit_s)
        if findings.inquiry is not None:
            findings.kept = answers.exact(findings.inquiry, limit_s)

    @staticmethod
    def _share(findings: Findings, answers: KeptAnswers, inquiry: Inquiry, spare_s: Callable[[], float]) -> None:
        """Find another wording's answer, or claim the question, or wait for who has."""
        knowledge = findings.policy.knowledge
        limit_s = knowledge.cache_ms / 1000
        if findings.found.vector is not None:
            findings.kept = answers.near(inquiry, findings.found.vector, knowledge.near_similarity, limit_s)
        if findings.kept is not None or not findings.is_sure():
            return
        findings.claimed = answers.claim(inquiry, limit_s)
        if not findings.claimed:
            wait_s = min(spare_s(), knowledge.same_question_wait_ms / 1000)
            findings.kept, findings.claimed = answers.awaited(inquiry, wait_s, limit_s)


@contextmanager
def _guarded() -> Generator[None]:
    """The boundary of finding out: a defect in it costs a turn the knowledge, and the operators get the stack."""
    try:
        yield
    except Exception:
        report.unfinished("finding out")


def _context(policy: Policy) -> tuple[str, ...]:
    """What an answer depends on beside its question."""
    return (policy.answer.system_prompt, notes.RULES)
