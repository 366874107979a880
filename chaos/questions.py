"""What is asked, and how to tell that what came back is exactly what a model said.

Every question is asked once, so that none is answered from the cache. The emulated model's answer to it is known in
advance, but for the works that it names of those the catalogue had at that moment; of these, and of the catalogue's own
answer, every word must be what the sample catalogue says.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache, cached_property

from local import answers
from local.shop import SAMPLE
from mangaassist.chat import phrases
from mangaassist.knowledge import catalogue, notes
from mangaassist.knowledge.product import Product, product
from mangaassist.routing import question as reader

FORMS = (
    "注文番号{number}の状況を確認したいです",
    "料理の漫画を{number}作おすすめしてください",
    "ベルセルクとヴィンランド・サガの物語構造と主題を、史実との関係も踏まえて{number}字で詳しく比較して論じてください",
    "Where is my order {number}?",
    "Recommend me {number} cooking manga",
    "Compare the themes of Parasyte and Ajin in depth in {number} words, and explain why their endings differ.",
)
NAMED = re.compile(  # the sentence about the catalogue
    r"カタログには(『[^』]*』(\([^)]*\))?、?)+があります。"
    r"|The catalogue has (“[^”]*”( \([^)]*\))?(; )?)+\. "
)
NAME = re.compile(r"『[^』]*』(?:\([^)]*\))?|“[^”]*”(?: \([^)]*\))?")
A_NOTE = '<catalogue>\n{"title": "?"}\n</catalogue>\n'


@dataclass(frozen=True)
class Expected:
    """The answer that a question must get, with or without a sentence about the catalogue after its head."""

    question: str

    @cached_property
    def _parts(self) -> tuple[str, str]:
        plain = answers.answer("", (answers.Said("user", self.question),))
        noted = answers.answer("", (answers.Said("user", A_NOTE + self.question),))
        named = NAMED.search(noted)
        head = noted[: named.start()] if named else plain
        return head, plain[len(head) :]

    def is_whole(self, text: str) -> bool:
        """Whether a text is the whole answer, not a character more or less."""
        head, tail = self._parts
        middle = text[len(head) : len(text) - len(tail)]
        return text == head + middle + tail and (not middle or _is_named(middle))

    def is_begun(self, text: str) -> bool:
        """Whether a text is the answer's beginning."""
        head, tail = self._parts
        if len(text) <= len(head):
            return head.startswith(text)
        rest = text[len(head) :]
        return text.startswith(head) and (tail.startswith(rest) or _names(rest, tail))


def question(number: int) -> str:
    """The question of that number; each of the forms in its turn."""
    return FORMS[number % len(FORMS)].format(number=1000 + number)


def is_exact(asked: str, text: str, finish: str) -> bool:
    """Whether a turn's text is what it should be with such a finish."""
    expected = Expected(asked)
    if finish == "complete":
        return expected.is_whole(text)
    if finish == "catalogue":
        said, interrupted, rest = text.partition(f"\n\n{phrases.interrupted(phrases.language_of(asked))}\n")
        return _is_catalogues(asked, rest) and expected.is_begun(said) if interrupted else _is_catalogues(asked, text)
    return expected.is_begun(text)


def _is_catalogues(asked: str, text: str) -> bool:
    """Whether a text is the catalogue's answer, with works of the sample catalogue or none."""
    read = reader.read(asked)
    offered = [_by_line(read.language).get(line) for line in text.split("\n")[1:-1]]
    return None not in offered and text == catalogue.answer(read, [it for it in offered if it])


def _names(rest: str, tail: str) -> bool:
    """Whether a sentence about the catalogue is under way, or done and followed by the beginning of the tail."""
    ends = (place for place in range(1, len(rest) + 1) if NAMED.fullmatch(rest[:place]))
    under_way = any(rest.startswith(start[: len(rest)]) for start in ("カタログには", "The catalogue has "))
    return under_way and (
        NAMED.match(rest) is None or any(tail.startswith(rest[end:]) and _is_named(rest[:end]) for end in ends)
    )


def _is_named(sentence: str) -> bool:
    """Whether a text is the sentence about the catalogue, and says of each work what the catalogue says."""
    return NAMED.fullmatch(sentence) is not None and all(name in _named() for name in NAME.findall(sentence))


@cache
def _known() -> tuple[Product, ...]:
    """The sample catalogue, as the store knows it, and as works of which nothing else could be looked up."""
    stored = [product(json.loads(line)) for line in SAMPLE.read_text("utf-8").splitlines()]
    return (*stored, *(Product(it.work) for it in stored), *map(Product, catalogue.works().values()))


@cache
def _by_line(language: str) -> dict[str, Product]:
    return {catalogue.line(it, language): it for it in _known()}


@cache
def _named() -> frozenset[str]:
    """All that an emulated model can say of a work in its sentence about the catalogue."""
    told = (
        answers.answer("", (answers.Said("user", notes.asked(asked, [it], language)),))
        for it in _known()
        for language, asked in (("ja", FORMS[0]), ("en", FORMS[3]))
    )
    return frozenset(name for text in told if (found := NAMED.search(text)) for name in NAME.findall(found[0]))
