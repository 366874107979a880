"""What a question wants of the catalogue: names to match, a text to embed, kinds, status, and what was declined."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mangaassist.knowledge import catalogue, names, spelling
from mangaassist.routing import question as reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence, Set

    from mangaassist.routing.question import Question

READ_CHARACTERS = 240  # of a question: names and tastes are said early, and every span is a term of the search
NAME_CHARACTERS = 24  # of the longest name that is looked for
LEAST_KANA = 4  # a shorter hiragana name would be found inside ordinary words
LEAST_OTHER = 2
FOLLOW_UP_CHARACTERS = 24  # a question this short without a name or kind goes on from the one before it
EMBEDDED_CHARACTERS = 500

_COMPLETED = re.compile(
    r"連載中(じゃな|ではな|以外)|完結(?!じゃな|ではな|以外|して(い)?な|してません|していません|前|まで)|終わって(る|い)"
    r"|(?<!not )(?<!n't )\b(completed?|finished|ended)\b",
    re.IGNORECASE,
)
_ONGOING = re.compile(
    r"連載中(?!じゃな|ではな|以外)|続いて(る|い)|未完|完結して(い)?(な|ません)"
    r"|\b(ongoing|still running|not (yet )?(completed?|finished)|unfinished)\b",
    re.IGNORECASE,
)
_LIKENESS = re.compile(
    r"似(た|て)|みたいな|のような|っぽい|系の|に近い|同じ(ような)?(雰囲気|感じ|系統|テイスト)|(はま|ハマ)(り|っ)|(好き|すき)な(人|方|ひと|かた|子|友)|(好き|すき)なら|が(好き|面白かった|おもしろかった)"
    r"|\b(similar|similarly|in the vein|vibes?|loved|enjoyed|a fan of|after (reading|finishing))\b"
    r"|(?<!would )(?<!'d )(?<!\bi )\blike\b|\bi (really )?like\b",
    re.IGNORECASE,
)
_SAME_AUTHOR = re.compile(
    r"(作者|著者|作家|先生|描いた人|書いた人)(の|が|は|、)?(ほか|他|別|次|ほかに|他に)|同じ(作者|作家|人)"
    r"|ほかに何(を)?(描|書)|他に何(を)?(描|書)|\bsame (author|creator|writer|artist)\b"
    r"|\b(else|other|another|more)\b.{0,30}\b(author|creator|writer|mangaka|artist)\b"
    r"|\b(author|creator|writer|artist)\b.{0,40}\b(other|else|another|next)\b",
    re.IGNORECASE,
)
_WISHES = frozenset(("recommend", "similar", "want", "pick", "gift", "choose", "plan", "mood"))
_KANA = re.compile("[ぁ-ー]+")
_KATAKANA_WORD = re.compile(r"[ァ-ヺー]{2,}")
_EXCLUDED = re.compile(
    r"以外|いがい|除い|除く|抜き|じゃなく|ではなく"
    r"|\b(except|excluding|other than|besides|apart from|instead of|rather than|but not)\b",
    re.IGNORECASE,
)
_DECLINED = re.compile(
    _EXCLUDED.pattern + r"|もう(全部)?(読|持|買)|既に|すでに|読んだ(?!ことが?な|け(れ)?ど|ら|あと)|読みました"
    r"|持って(る|い)|嫌い|きらい|苦手|好きじゃな|好きではな|興味(は|が)?な|いらな|要らな|合わな|飽き|やめ(て|と)|はパス"
    r"|は(ちょっと|いまいち)$"
    r"|\b(already|have read|'ve read|don'?t (like|want|enjoy|care)|didn'?t (like|enjoy)"
    r"|not (a fan|into|interested|for me)|hate|dislike|no more|(tired|bored|sick) of)\b",
    re.IGNORECASE,
)
_OTHERS = re.compile(
    r"(^|[。！？!?、,\s])(他に|ほかに|他の|ほかの|別の|べつの|もっと|それ以外|違うの)|(他に|ほかに)(は|も)?(ない|ある|あり)"
    r"|それはパス|\b(no thanks|not (that|this) one)\b"
    r"|\b(anything|something|what|any(one)?) else\b|\b(others|another|something different)\b"
    r"|\bmore like (this|that|these)\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[。！？!?\n、,]|\.(?=\s)")
_SENTENCE = re.compile(r"[。！？!?\n]|\.(?=\s)")


@dataclass(frozen=True, slots=True)
class Unwanted:
    """Works that somebody does not want: those that the dictionary tells, and the sayings themselves for all others."""

    works: frozenset[str] = frozenset()
    sayings: str = ""  # solid, one to a line

    def has(self, work: str, titles: Sequence[str]) -> bool:
        """Whether a work, known by these title keys too, is among them."""
        return work in self.works or any(title in self.sayings for title in titles if _is_telling(title))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for; works and kinds are ids of the catalogue that ships."""

    text: str  # to embed
    names: tuple[str, ...]  # solid spans of the question that may be names
    works: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()
    unwanted: frozenset[str] = frozenset()  # kinds
    status: str | None = None
    likeness: bool = False  # other works are wanted than those that are named
    facts_only: bool = False  # something about the named works is asked, and no others are wished for
    like: frozenset[str] = frozenset()  # the kinds of works that others should be like
    excluded: Unwanted = field(default_factory=lambda: Unwanted())  # by the question itself
    declined: Unwanted = field(default_factory=lambda: Unwanted())  # in the conversation before it

    def refuses(self, work: str, titles: Sequence[str], *, named: bool) -> bool:
        """Whether a product with these title keys is unwanted; one that the question names is wanted again."""
        if self.excluded.has(work, titles):
            return True
        return not (named and not self.likeness) and self.declined.has(work, titles)


def read(question: Question, history: Sequence[str] = ()) -> Wanted:
    """Read what a question wants; `history` is what shopper and assistant said in turn before it."""
    asked = question
    if not (question.works or catalogue.kinds_in(question.text)) and len(question.text) <= FOLLOW_UP_CHARACTERS:
        before = history[-2] if len(history) > 1 else ""
        asked = reading.read(f"{before}\n{question.text}") if before else question
    text = asked.text[:READ_CHARACTERS]
    kinds, unwanted = map(frozenset, catalogue.kinds_asked(text))
    same_author = bool(asked.works and _SAME_AUTHOR.search(text))
    like = _kinds_of(asked.works) if asked.works and not same_author and _LIKENESS.search(text) else frozenset()
    return Wanted(
        text=_embedded(_registered(asked), kinds | like),
        names=(*spans(text), *(_authors_of(asked.works) if same_author else ())),
        works=asked.works,
        kinds=kinds,
        unwanted=unwanted,
        status=_status(text),
        likeness=bool(like) or same_author,
        facts_only=bool(asked.works) and not (like or same_author or kinds or asked.families & _WISHES),
        like=like,
        excluded=_unwanted(_sayings(question.text, _EXCLUDED)),
        declined=_unwanted(_declined(question.text, history)),
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
    seen = {spelling.solid(word) for word in _KATAKANA_WORD.findall(spelling.normalised(text))}
    yield from seen
    for sentence in _SENTENCE.split(text):
        cuts, joined = _cuts(sentence)
        for place, start in enumerate(cuts):
            for end in cuts[place + 1 :]:
                if end - start > NAME_CHARACTERS:
                    break
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
    if len(key) < LEAST_KANA and (len(key) < LEAST_OTHER or _KANA.fullmatch(key)):
        return False
    return not key.isdigit()


def _embedded(text: str, kinds: Set[str]) -> str:
    """The question, and the kinds that are wanted in the catalogue's own words."""
    words = [word for kind in sorted(kinds) for word in catalogue.kinds().get(kind, ())[:2]]
    return " ".join((text, *words))[:EMBEDDED_CHARACTERS]


def _registered(question: Question) -> str:
    """The question with every title as it is registered: other spellings would have other vectors."""
    folded = spelling.folded(question.text)
    places, text, at = spelling.places(folded), "", 0
    if len(folded) != len(question.text):  # a letter that folds into two: the places would be wrong
        return question.text
    for span in question.spans:
        start, end = places[span.first][0] + span.start, places[span.last][0] + span.end
        work = catalogue.works().get(span.works[0])
        if start >= at and work is not None and not span.author:
            text, at = f"{text}{question.text[at:start]}{work.title_ja}", end
    return (text + question.text[at:])[:READ_CHARACTERS]


def _kinds_of(works: Sequence[str]) -> frozenset[str]:
    known = [catalogue.works()[work] for work in works if work in catalogue.works()]
    return frozenset(kind for work in known for kind in (*work.genres, work.demographic))


def _authors_of(works: Sequence[str]) -> Iterator[str]:
    for work in works:
        if work in catalogue.works():
            yield from names.search_keys(catalogue.works()[work])[1]


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
            yield said[place - 1]


def _sayings(text: str, unwanted: re.Pattern[str]) -> Iterator[str]:
    for clause in _CLAUSE.split(text):
        if unwanted.search(clause):
            yield clause


def _unwanted(sayings: Iterable[str]) -> Unwanted:
    told = tuple(sayings)
    works = frozenset(work for saying in told for work in reading.read(saying).works)
    return Unwanted(works, "\n".join(map(spelling.solid, told)))
