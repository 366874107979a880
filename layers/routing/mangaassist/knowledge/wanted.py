"""What a question wants of the catalogue: names to match, a text to embed, kinds, status, and what was declined."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from mangaassist.knowledge import catalogue, spelling
from mangaassist.routing import question as reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mangaassist.routing.question import Question

READ_CHARACTERS = 240  # of a question: names and tastes are said early, and every span is a term of the search
NAME_CHARACTERS = 24  # of the longest name that is looked for
LEAST_KANA = 4  # a shorter hiragana name would be found inside ordinary words
LEAST_OTHER = 2
FOLLOW_UP_CHARACTERS = 24  # a question this short without a name or kind goes on from the one before it
EMBEDDED_CHARACTERS = 500

_COMPLETED = re.compile(
    r"完結(?!して(い)?な|してません|していません|前|まで)|終わって(る|い)"
    r"|(?<!not )(?<!n't )\b(completed?|finished|ended)\b",
    re.IGNORECASE,
)
_ONGOING = re.compile(
    r"連載中|続いて(る|い)|未完|完結して(い)?(な|ません)"
    r"|\b(ongoing|still running|not (yet )?(completed?|finished))\b",
    re.IGNORECASE,
)
_LIKENESS = re.compile(
    r"似|みたい|のような|っぽい|系の|近い|同じ|\b(like|similar|similarly|vein|vibes?)\b", re.IGNORECASE
)
_EXCLUDED = re.compile(
    r"以外|いがい|除い|除く|抜き|じゃなく|ではなく"
    r"|\b(except|excluding|other than|besides|apart from|instead of|rather than|but not)\b",
    re.IGNORECASE,
)
_DECLINED = re.compile(
    _EXCLUDED.pattern + r"|もう(全部)?(読|持|買)|既に|すでに|読んだ|読みました|持って(る|い)|嫌い|きらい|苦手"
    r"|好きじゃな|好きではな|興味(は|が)?な|いらな|要らな|合わな|飽き"
    r"|\b(already|have read|'ve read|don'?t (like|want|enjoy|care)|didn'?t (like|enjoy)"
    r"|not (a fan|into|interested|for me)|hate|dislike|no more|(tired|bored|sick) of)\b",
    re.IGNORECASE,
)
_OTHERS = re.compile(
    r"^(他に|ほかに|他の|ほかの|別の|べつの|もっと|それ以外)|(他に|ほかに)(は|も)?(ない|ある|あり)"
    r"|\b(anything|something|what|any(one)?) else\b|\b(others|another|something different)\b"
    r"|\bmore like (this|that|these)\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[。！？!?\n、,]|\.(?=\s)")
_SENTENCE = re.compile(r"[。！？!?\n]|\.(?=\s)")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for; works and kinds are ids of the catalogue that ships."""

    text: str  # to embed
    names: tuple[str, ...]  # solid spans of the question that may be names
    works: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()
    status: str | None = None
    likeness: bool = False  # works that are like the named ones, not these themselves
    excluded: str = ""  # what the question says of unwanted works, solid, one saying to a line
    declined: str = ""  # what was said of them before

    def refuses(self, titles: Sequence[str], *, named: bool) -> bool:
        """Whether a product with these title keys is unwanted; one that the question names is wanted again."""
        told = self.excluded if named and not self.likeness else f"{self.excluded}\n{self.declined}"
        return any(title in told for title in titles if _is_telling(title))


def read(question: Question, history: Sequence[str] = ()) -> Wanted:
    """Read what a question wants; `history` is what shopper and assistant said in turn before it."""
    asked = question
    if not (question.works or catalogue.kinds_in(question.text)) and len(question.text) <= FOLLOW_UP_CHARACTERS:
        before = history[-2] if len(history) > 1 else ""
        asked = reading.read(f"{before}\n{question.text}") if before else question
    text = asked.text[:READ_CHARACTERS]
    kinds = frozenset(catalogue.kinds_in(text))
    likeness = bool(asked.works and "similar" in asked.families and _LIKENESS.search(text))
    return Wanted(
        text=_embedded(text, asked.works if likeness else (), kinds),
        names=tuple(spans(text)),
        works=asked.works,
        kinds=kinds,
        status=_status(text),
        likeness=likeness,
        excluded="\n".join(_sayings(question.text, _EXCLUDED)),
        declined="\n".join(_declined(question.text, history)),
    )


def is_about_catalogue(question: Question, history: Sequence[str] = ()) -> bool:
    """Whether the catalogue may help to answer: the question asks for it, names a work, or follows one that did."""
    if question.catalogue or question.works:
        return True
    if question.service or len(history) < 2 or len(question.text) > FOLLOW_UP_CHARACTERS:
        return False
    before = reading.read(history[-2])
    return before.catalogue or bool(before.works)


def spans(text: str) -> Iterator[str]:
    """Every part of a text that may be a name, as a search key: whole Latin words, anything of a Japanese run."""
    seen = set()
    for sentence in _SENTENCE.split(text):
        cuts, joined = _cuts(sentence)
        for place, start in enumerate(cuts):
            for end in takewhile(lambda cut, start=start: cut - start <= NAME_CHARACTERS, cuts[place + 1 :]):  # type: ignore[misc]
                key = joined[start:end]
                if key not in seen and _is_telling(key):
                    seen.add(key)
                    yield key


def _cuts(sentence: str) -> tuple[list[int], str]:
    """The places where a name may begin or end, and the solid text that they count in."""
    cuts, joined = [0], ""
    for word in spelling.tokens(spelling.folded(spelling.normalised(sentence))):
        if word in spelling.MARKS:
            continue
        solid = spelling.solid(word)
        inside = range(1, len(solid)) if spelling.is_run(word) else ()
        cuts += [len(joined) + step for step in inside]
        joined += solid
        cuts.append(len(joined))
    return cuts, joined


def _is_telling(key: str) -> bool:
    """Whether a key is long enough to be a name and not a piece of an ordinary word."""
    if all("ぁ" <= character <= "ー" for character in key):
        return len(key) >= LEAST_KANA
    return len(key) >= LEAST_OTHER and not key.isdigit()


def _embedded(text: str, like: Sequence[str], kinds: frozenset[str]) -> str:
    """The question, and the kinds of the works that others should be like: these say more than their names."""
    models = [catalogue.works()[work] for work in like if work in catalogue.works()]
    wanted = {*kinds, *(kind for work in models for kind in (*work.genres, work.demographic))}
    words = [word for kind in sorted(wanted) for word in catalogue.kinds().get(kind, ())[:2]]
    return " ".join((text, *words))[:EMBEDDED_CHARACTERS]


def _status(text: str) -> str | None:
    if _ONGOING.search(text):
        return "ongoing"
    return "completed" if _COMPLETED.search(text) else None


def _declined(text: str, history: Sequence[str]) -> Iterator[str]:
    """What was said of unwanted works: by the shopper, and by the assistant before the shopper asked for others."""
    said = [*history, text]
    for place in range(0, len(said), 2):  # the shopper speaks first and last
        if place < len(history):
            yield from _sayings(said[place], _DECLINED)
        if place and _OTHERS.search(said[place]):
            yield spelling.solid(said[place - 1])


def _sayings(text: str, unwanted: re.Pattern[str]) -> Iterator[str]:
    for clause in _CLAUSE.split(text):
        if unwanted.search(clause):
            yield spelling.solid(clause)
