"""What is asked, and how to tell that what came back is exactly what a model said.

Every question is asked once, so that none is answered from the cache. The emulated model's answer to it is known in
advance, but for the sentence that names what the catalogue had at that moment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from local import answers
from mangaassist.chat import phrases

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
        return text == head + middle + tail and (not middle or NAMED.fullmatch(middle) is not None)

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
    """Whether a turn's text is what it should be with such an end; of the system's own words, that there are some."""
    expected = Expected(asked)
    if finish == "complete":
        return expected.is_whole(text)
    if finish == "catalogue":
        said, interrupted, _ = text.partition(f"\n\n{phrases.interrupted(phrases.language_of(asked))}\n")
        return bool(text.strip()) and (not interrupted or expected.is_begun(said))
    return expected.is_begun(text)


def _names(rest: str, tail: str) -> bool:
    """Whether a sentence about the catalogue is under way, or done and followed by the beginning of the tail."""
    ends = (place for place in range(1, len(rest) + 1) if NAMED.fullmatch(rest[:place]))
    under_way = any(rest.startswith(start[: len(rest)]) for start in ("カタログには", "The catalogue has "))
    return under_way and (NAMED.match(rest) is None or any(tail.startswith(rest[end:]) for end in ends))
