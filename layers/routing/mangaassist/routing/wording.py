"""What a question says, as counts of cues: one pass over its words, in Japanese and English alike.

The lexicon holds families of cues ("why", "compare", "ops" …). A Latin cue is a sequence of whole words; a Japanese
cue is looked for inside runs of kana and kanji, leftmost and longest first, so that a longer word eats a shorter cue
within it (間違い is no 違い, どうしても no どうして) and a title eats its own words (君に届け is no delivery).

Written in the lexicon: `(a|b)` either, `^` and `$` the ends of a run, `#` a number, `~` a particle or the end.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mangaassist.knowledge import catalogue, names, spelling

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEXICON = Path(__file__).with_name("lexicon.json")
_PARTICLES = "(が|の|に|は|も|と|へ|を|で|や|って|$)"
_DENIABLE = frozenset(
    ("why", "reasons", "analyse", "explain", "compare", "plan", "depth", "summary", "recommend", "similar", "review")
)
_TASTES = ("wish", "exclude", "liked", "mood", "lead", "genre", "length", "done", "money", "person", "gift")
_CIRCUMSTANCES = ("turn", "limit", "each", "also", "count")
_TWICE = frozenset(("person", "exclude", "mood", "lead", "genre", "wish"))  # two of these are two conditions
_UNCERTAIN = _DENIABLE | {"deny", "allow"}
_FEW_CONDITIONS = 3
_FEW_PARTS = 2
_CHARACTERS_PER_WORD = 2.2
_DENIAL_REACH = 5  # words after "not" that it may still deny
_DENIED_JA = re.compile(
    r"(?:の?(?:はなし|話|じょうほう|情報))?(?:とか|なんか|など|なんて)?(?:まで)?[はもをが]?(?:し|され|せ)?"
    r"(?:いらな|要らな|いりませ|要りませ|いらん|ふよう|不要|ひつよう(?:は)?な|必要(?:は)?(?:な|ありませ)|けっこうです|結構です"
    r"|じゃな|ではな|でな(?!い?ら)|なくて|(?<=し)(?:ないで|なくて|な(?:い|く)て?も)|せず|なし(?:で|$)|無し(?:で|$)|抜き(?:で|$)|やめて"
    r"|もとめてい?な|求めてい?な|きょうみ(?:は)?な|興味(?:は)?な|よりも?)"
)


class Cue(NamedTuple):
    """What a spelling stands for: families of the lexicon, and for a name the works that it means."""

    families: tuple[str, ...]
    bits: int  # the families as one set
    plain: bool = True  # stands for itself wherever it is spelled; if not, its surroundings decide
    name: names.Name | None = None
    rest: tuple[str, ...] = ()  # of a spelling in mixed scripts, the tokens after the part it is indexed by


_END = Cue((), 0)
_DENIED = Cue(("denied",), 0)


class Lexicon(NamedTuple):
    """Every cue by its spelling, Latin by words and Japanese by characters, and the sizes of those that begin alike."""

    word_sizes: dict[str, tuple[int, ...]]  # first word -> sizes in words, longest first
    words: dict[tuple[str, ...], tuple[Cue, ...]]
    run_sizes: dict[str, tuple[int, ...]]  # first two characters -> sizes in characters, longest first
    runs: dict[str, tuple[Cue, ...]]
    bit: dict[str, int]

    def bits(self, *families: str) -> int:
        """Some families as one set."""
        return sum(self.bit[family] for family in families)


class Span(NamedTuple):
    """Where a name stands: from a character of one token up to a character of another, and the works that it means."""

    works: tuple[str, ...]
    author: bool
    first: int  # tokens, counted in `spelling.tokens` of the folded text
    start: int  # characters of the first token
    last: int
    end: int  # characters of the last token


@dataclass(slots=True)
class Wording:
    """What one pass over a question found."""

    counts: dict[str, int]  # cues by family
    sentences: list[int]  # the families of each sentence, as bits
    works: tuple[str, ...]  # ids, in order of mention
    titles: int
    latin: int  # words, those of names aside
    japanese: int  # characters, those of names aside
    in_japanese: bool  # has any Japanese, names included
    length: float  # in words, or in what is said in as many
    asked: int  # question marks
    quoted: bool  # something stands in quotes, as titles do
    parts: int  # of the text, between its commas and sentence ends
    spans: tuple[Span, ...]  # of the names, in order
    tastes: int = 0  # kinds of taste, occasion and reader named
    conditions: int = 0  # conditions put on what is asked for
    service: bool = False  # about the store's service, not about works

    def weigh(self) -> None:
        """Count conditions, and tell service from a stray such word in talk about works ("returns", 会員)."""
        counts = self.counts
        for kind in _TASTES:
            if kind in counts:
                self.tastes += 1
                self.conditions += 2 if counts[kind] > 1 and kind in _TWICE else 1
        for kind in _CIRCUMSTANCES:
            if kind in counts:
                self.conditions += 1
        if self.parts > _FEW_PARTS:
            self.conditions += 1
        if "ops" in counts:
            works = counts.get("theme", 0) + counts.get("aspect", 0) + counts.get("analyse", 0) + (self.titles > 0)
            wishes = ("recommend" in counts) + 2 * (self.conditions > _FEW_CONDITIONS)
            self.service = counts["ops"] >= max(works + wishes, 1)


def read(text: str) -> Wording:
    """The cues of a normalised text."""
    wording = _Reader(text, lexicon()).read()
    wording.weigh()
    return wording


class _Reader:
    """One pass over one text: finds the cues of each sentence, then counts them."""

    __slots__ = (
        "_denied_until",
        "_folded",
        "_found",
        "_known",
        "_named",
        "_named_in_run",
        "_raw",
        "_spans",
        "_text",
        "_words",
    )

    def __init__(self, text: str, known: Lexicon) -> None:
        self._text = text
        self._known = known
        self._folded = spelling.folded(text)
        self._words = spelling.tokens(self._folded)
        self._raw: tuple[str, ...] = ()
        self._spans: list[Span] = []
        self._found: list[Cue] = []  # in order; a sentence's end among them is _END
        self._named = 0  # Latin words of names
        self._named_in_run = 0  # Japanese characters of names
        self._denied_until = -1

    def read(self) -> Wording:
        """Walk over words, runs and marks; a Latin word that begins no cue costs one look."""
        words, known = self._words, self._known.word_sizes
        index = latin = japanese = asked = parts = 0
        inside = False  # a part of the text, not between parts
        while index < len(words):
            word = words[index]
            size = 1
            if word in spelling.MARKS:
                inside = False
                self._mark(word)
                asked += word == "?"
                index += 1
                continue
            parts += not inside
            inside = True
            if word > "。":
                japanese += len(word)
                self._run(index, f"^{word}$")
            else:
                if word in known or word.isdigit():
                    size = self._phrase(index, word)
                latin += size
            index += size
        counts, sentences, works, titles = _tally(self._found)
        length = latin + japanese / _CHARACTERS_PER_WORD
        quoted = "「" in self._folded or "『" in self._folded or '"' in self._folded
        in_japanese = japanese > 0
        latin, japanese = latin - self._named, japanese - self._named_in_run
        spans = tuple(self._spans)
        return Wording(
            counts, sentences, works, titles, latin, japanese, in_japanese, length, asked, quoted, parts, spans
        )

    def _mark(self, mark: str) -> None:
        self._denied_until = -1
        if mark in spelling.SENTENCE_ENDS:
            self._found.append(_END)

    def _phrase(self, index: int, word: str) -> int:
        """Take the longest cue that begins with this Latin word; gives how many words it took, at least one."""
        words, cues = self._words, self._known.words
        sizes = self._known.word_sizes.get(word)
        first = (word,)
        if sizes is None:
            first, sizes = ("#",), self._known.word_sizes["#"]
        for size in sizes:
            if index + size > len(words):
                continue
            for cue in cues.get(first + words[index + 1 : index + size], ()):
                if cue.plain:
                    self._found.append(cue)
                elif not self._fits(cue, index, size):
                    continue
                return size
        return 1

    def _fits(self, cue: Cue, index: int, size: int) -> bool:
        """Whether a Latin cue that depends on its surroundings stands here; if so, it is taken."""
        if cue.rest and not self._goes_on(cue.rest, index + size):
            return False
        if cue.name:
            ordinary = cue.name.ordinary
            if ordinary and not names.is_title(cue.name.folded, self._text, self._folded, self._words, index, size):
                return False
            self._named += size
            self._spans.append(self._span(cue, index, 0, index + size - 1))
        elif "deny" in cue.families:
            self._denied_until = index + _DENIAL_REACH
        elif "allow" in cue.families:
            self._denied_until = -1
        denied = index <= self._denied_until and not _DENIABLE.isdisjoint(cue.families)
        self._found.append(_DENIED if denied else cue)
        return True

    def _span(self, cue: Cue, first: int, start: int, last: int, end: int | None = None) -> Span:
        """Where a name stands that begins here and goes on with the cue's rest, if it has one."""
        rest = list(cue.rest)
        while rest:
            last += 1
            if self._words[last] not in spelling.MARKS:
                part = rest.pop(0)
                end = len(part) if spelling.is_run(part) else None
        name = cue.name
        works, author = (name.works, name.author) if name else ((), False)
        return Span(works, author, first, start, last, len(self._words[last]) if end is None else end)

    def _goes_on(self, rest: tuple[str, ...], index: int) -> bool:
        """Whether a spelling in mixed scripts goes on with these tokens; a run may be longer than its part."""
        words = self._words[index : index + 2 * len(rest)]
        follow = [word for word in words if word not in spelling.MARKS][: len(rest)]
        return len(follow) == len(rest) and all(
            word.startswith(part) if spelling.is_run(part) else word == part
            for word, part in zip(follow, rest, strict=True)
        )

    def _run(self, index: int, run: str) -> None:
        """Take the cues of a run of Japanese, which comes between `^` and `$`: leftmost first, then longest."""
        sizes_of, cues_of = self._known.run_sizes.get, self._known.runs.get
        at, last = 0, len(run) - 1
        while at < last:
            for size in sizes_of(run[at : at + 2], ()):
                cues = cues_of(run[at : at + size])
                if cues is None:
                    continue
                if cues[0].plain:
                    self._found.append(cues[0])
                elif not any(self._fits_in_run(cue, index, run, at, at + size) for cue in cues):
                    continue
                at += size
                break
            else:
                at += 1

    def _fits_in_run(self, cue: Cue, index: int, run: str, at: int, end: int) -> bool:
        """Whether a Japanese cue that depends on its surroundings stands here; if so, it is taken."""
        if cue.rest and not self._goes_on(cue.rest, index + 1):
            return False
        if cue.name:
            if not self._names_in_run(cue.name, index, run, at, end):
                return False
            self._named_in_run += len(run[at:end].rstrip("$"))
            self._named += sum(not spelling.is_run(part) for part in cue.rest)
            self._spans.append(self._span(cue, index, at - 1, index, min(end - 1, len(run) - 2)))
        elif not cue.plain and _DENIED_JA.match(run, end):
            cue = _DENIED
        self._found.append(cue)
        return True

    def _names_in_run(self, name: names.Name, index: int, run: str, at: int, end: int) -> bool:
        if run.startswith("ー", end):
            return False
        if name.apart:
            self._raw = self._raw or spelling.tokens(self._text.casefold())
            if not names.stands_apart(name.apart, self._raw[index], at - 1):
                return False
        return not name.ordinary or names.is_title_in_run(name.folded, self._folded, self._words, index, end - 1)


def _tally(found: list[Cue]) -> tuple[dict[str, int], list[int], tuple[str, ...], int]:
    """Cues by family, the families of each sentence, the works named, and how many titles named them."""
    counts: dict[str, int] = {}
    sentences = [0]
    works: list[str] = []
    titles = 0
    for cue in found:
        families, bits, _, name, _ = cue
        for family in families:
            counts[family] = counts.get(family, 0) + 1
        if bits:
            sentences[-1] |= bits
        elif cue is _END:
            sentences.append(0)
        if name:
            works += name.works
            titles += not name.author
    return counts, sentences, tuple(dict.fromkeys(works)), titles


@cache
def lexicon() -> Lexicon:
    """The cues of the lexicon and the names of the catalogue, indexed at the first question."""
    families: dict[str, dict[str, list[str]]] = json.loads(spelling.folded(_LEXICON.read_text(encoding="utf-8")))
    kinds = "\n".join(f"{word}~" if len(word) == 1 else word for words in catalogue.kinds().values() for word in words)
    families["genre"] = {"": spelling.folded(kinds).split("\n")}
    bit = {family: 1 << place for place, family in enumerate((*families, "title", "author_name"))}
    known = Lexicon({}, {}, {}, {}, bit)
    spelled: dict[str, tuple[str, ...]] = {}
    for family, languages in families.items():
        for patterns in languages.values():
            for written in expanded(patterns):
                of = spelled.get(written, ())
                if family not in of:
                    spelled[written] = (*of, family)
    cues = {of: (Cue(of, known.bits(*of), _UNCERTAIN.isdisjoint(of)),) for of in set(spelled.values())}
    for written, of in spelled.items():
        if max(written) <= "。":
            known.words[tuple(written.split())] = cues[of]
        else:
            known.runs[written] = cues[of]
    _add_names(known)
    _add_sizes(known)
    return known


def _add_names(known: Lexicon) -> None:
    """Index every spelling of titles and authors; one in mixed scripts by its first part."""
    every = list(names.names())
    cut: list[list[str]] = [[]]
    for part in spelling.tokens("\n".join(name.folded for name in every)):
        if part == "\n":
            cut.append([])
        elif part not in spelling.MARKS:
            cut[-1].append(part)
    for name, parts in zip(every, cut, strict=True):
        family = "author_name" if name.author else "title"
        split = next((place for place, part in enumerate(parts) if spelling.is_run(part)), len(parts))
        cue = Cue((family,), known.bit[family], plain=False, name=name, rest=tuple(parts[split or 1 :]))
        if split:
            words = tuple(parts[:split])
            known.words[words] = (cue, *known.words.get(words, ()))
        elif parts:
            run = f"{parts[0]}$" if cue.rest else parts[0]
            known.runs[run] = (cue, *known.runs.get(run, ()))


def _add_sizes(known: Lexicon) -> None:
    """Note how long the spellings are that begin with the same word, or with the same two characters."""
    for words in known.words:
        sizes = known.word_sizes.get(words[0], ())
        if len(words) not in sizes:
            known.word_sizes[words[0]] = tuple(sorted((*sizes, len(words)), reverse=True))
    for run in known.runs:
        sizes = known.run_sizes.get(run[:2], ())
        if len(run) not in sizes:
            known.run_sizes[run[:2]] = tuple(sorted((*sizes, len(run)), reverse=True))


_CHOICE = re.compile(r"\(([^()]*)\)")


def expanded(patterns: list[str]) -> Iterator[str]:
    """Every spelling that these patterns of the lexicon stand for."""
    for pattern in patterns:
        choices = f"{pattern[:-1]}{_PARTICLES}" if pattern.endswith("~") else pattern
        if "(" not in choices:
            yield choices
            continue
        parts = _CHOICE.split(choices)
        for choice in product(*(part.split("|") if place % 2 else (part,) for place, part in enumerate(parts))):
            yield "".join(choice)
