"""What a question says, as counts of cues: one pass over its words, in Japanese and English alike.

The lexicon holds families of cues ("why", "compare", "ops" …). A Latin cue is a sequence of whole words; a Japanese
cue is looked for inside runs of kana and kanji, leftmost and longest first, so that a longer word eats a shorter cue
within it (間違い is no 違い, どうしても no どうして) and a title eats the words it is made of (君に届け is no delivery).

Written in the lexicon: `(a|b)` either, `^` and `$` the ends of a run (`$` also a sentence's end after a Latin word),
`#` a number, `~` a particle or the end.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from mangaassist.knowledge import catalogue, names, spelling

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEXICON = Path(__file__).with_name("lexicon.json")
_PARTICLES = "(が|の|に|は|も|と|へ|を|で|や|って|$)"
_DENIABLE = frozenset("why reasons analyse explain compare plan depth summary recommend similar review".split())
_DENIAL_REACH = 5  # words after "not" that it may still deny
_DENIED_JA = re.compile(
    r"(?:の?(?:はなし|話|じょうほう|情報))?(?:とか|なんか|など|なんて)?(?:まで)?[はもをが]?(?:し|され|せ)?"
    r"(?:いらな|要らな|いりませ|要りませ|いらん|ふよう|不要|ひつよう(?:は)?な|必要(?:は)?(?:な|ありませ)|けっこうです|結構です"
    r"|じゃな|ではな|でな(?!い?ら)|なくて|(?<=し)(?:ないで|なくて|な(?:い|く)て?も)|せず|なし(?:で|$)|無し(?:で|$)|抜き(?:で|$)|やめて"
    r"|もとめてい?な|求めてい?な|きょうみ(?:は)?な|興味(?:は)?な|よりも?)"
)


@dataclass(frozen=True, slots=True)
class Cue:
    """What a spelling stands for: families of the lexicon, and for a name the works that it means."""

    families: tuple[str, ...]
    bits: int = 0  # the families as one set
    deniable: bool = False
    name: names.Name | None = None
    rest: tuple[str, ...] = ()  # of a spelling in mixed scripts, the tokens after the first


@dataclass(slots=True)
class Wording:
    """What one pass over a question found."""

    counts: dict[str, int] = field(default_factory=dict)
    sentences: list[int] = field(default_factory=list)  # the families of each sentence, as bits
    works: dict[str, None] = field(default_factory=dict)  # ids, in order of mention
    titles: int = 0
    latin_words: int = 0
    latin_names: int = 0  # words of these that are in names
    run_characters: int = 0
    run_names: int = 0  # characters of these that are in names
    asked: int = 0  # question marks

    @property
    def service(self) -> bool:
        """Whether it is about the store's service: a stray such word in talk about works ("returns", 会員) is not."""
        counts = self.counts
        literary = counts.get("theme", 0) + counts.get("aspect", 0) + counts.get("analyse", 0) + (self.titles > 0)
        return counts.get("ops", 0) >= max(literary, 1)


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Every cue by its first word, or by its first two characters, longest first; and the bit of each family."""

    words: dict[str, list[tuple[list[str], int, bool, Cue]]]  # words after the first, number of words, ends a sentence
    pairs: dict[str, list[tuple[str, Cue]]]
    bit: dict[str, int]

    def bits(self, *families: str) -> int:
        """Some families as one set."""
        return sum(self.bit[family] for family in families)


def read(text: str) -> Wording:
    """The cues of a normalised text."""
    return _Reader(text, lexicon()).read()


class _Reader:
    """One pass over one text."""

    __slots__ = ("_denied_until", "_lexicon", "_raw", "_sentence", "_text", "_words", "wording")

    def __init__(self, text: str, known: Lexicon) -> None:
        self._text = text
        self._lexicon = known
        self._words = spelling.tokens(spelling.folded(text))
        self._raw: list[str] | None = None
        self._sentence = 0
        self._denied_until = -1
        self.wording = Wording()

    def read(self) -> Wording:
        words, wording = self._words, self.wording
        index, end = 0, len(self._words)
        while index < end:
            word = words[index]
            if word in spelling.MARKS:
                self._mark(word)
                index += 1
            elif word > "。":
                wording.run_characters += len(word)
                self._run(index, f"^{word}$")
                index += 1
            else:
                index += self._word(index, word)
        wording.sentences.append(self._sentence)
        return wording

    def _mark(self, mark: str) -> None:
        self._denied_until = -1
        if mark in spelling.SENTENCE_ENDS:
            self.wording.sentences.append(self._sentence)
            self._sentence = 0
            if mark == "?":
                self.wording.asked += 1

    def _word(self, index: int, word: str) -> int:
        """Take the longest cue that begins with this Latin word; gives how many words it took."""
        self.wording.latin_words += 1
        found = self._lexicon.words.get(word)
        if found is None:
            if not word.isdigit():
                return 1
            found = self._lexicon.words["#"]
        words = self._words
        for rest, size, ends, cue in found:
            if size > 1 and words[index + 1 : index + size] != rest:
                continue
            if ends and index + size < len(words) and words[index + size] not in spelling.MARKS:
                continue
            if cue.name and not self._names(cue, index, size):
                continue
            self._count(cue, cue.deniable and index <= self._denied_until)
            self.wording.latin_words += size - 1
            if cue.name:
                self.wording.latin_names += size
            elif "deny" in cue.families:
                self._denied_until = index + _DENIAL_REACH
            elif "allow" in cue.families:
                self._denied_until = -1
            return size
        return 1

    def _names(self, cue: Cue, index: int, size: int) -> bool:
        name = cue.name
        if name is None or not self._goes_on(cue.rest, index + size):
            return False
        return not name.ordinary or names.is_title(name.folded, self._text, self._words, index, size)

    def _goes_on(self, rest: tuple[str, ...], index: int) -> bool:
        """Whether a spelling in mixed scripts goes on with these tokens; a run of Japanese may be longer than its part."""
        if not rest:
            return True
        follow = self._words[index : index + len(rest)]
        return len(follow) == len(rest) and all(
            word.startswith(part) if spelling.is_run(part) else word == part
            for word, part in zip(follow, rest, strict=True)
        )

    def _run(self, index: int, run: str) -> None:
        """Take the cues of a run of Japanese, which comes between `^` and `$`."""
        pairs = self._lexicon.pairs
        at, last = 0, len(run) - 1
        while at < last:
            for pattern, cue in pairs.get(run[at : at + 2], ()):
                if run.startswith(pattern, at) and self._in_run(cue, index, run, at, len(pattern)):
                    at += len(pattern)
                    break
            else:
                at += 1

    def _in_run(self, cue: Cue, index: int, run: str, at: int, size: int) -> bool:
        end = at + size
        if cue.name:
            if not self._names_in_run(cue, index, run, at, end):
                return False
            self.wording.run_names += size
        self._count(cue, cue.deniable and _DENIED_JA.match(run, end) is not None)
        return True

    def _names_in_run(self, cue: Cue, index: int, run: str, at: int, end: int) -> bool:
        name = cue.name
        if name is None or run.startswith("ー", end) or not self._goes_on(cue.rest, index + 1):
            return False
        if name.apart:
            if self._raw is None:
                self._raw = spelling.tokens(self._text.casefold())
            if not names.stands_apart(name.apart, self._raw[index], at - 1):
                return False
        return not name.ordinary or names.is_title_in_run(name.folded, self._text, self._words, run[1:-1], end - 1)

    def _count(self, cue: Cue, denied: bool) -> None:
        wording = self.wording
        if denied:
            wording.counts["denied"] = wording.counts.get("denied", 0) + 1
            return
        self._sentence |= cue.bits
        counts = wording.counts
        for family in cue.families:
            counts[family] = counts.get(family, 0) + 1
        if cue.name:
            wording.works.update(dict.fromkeys(cue.name.works))
            wording.titles += not cue.name.author


@cache
def lexicon() -> Lexicon:
    """The cues of the lexicon and the names of the catalogue, indexed at the first question."""
    families: dict[str, dict[str, list[str]]] = json.loads(_LEXICON.read_bytes())
    spelled: dict[str, list[str]] = {}
    for family, languages in families.items():
        for pattern in (*languages["en"], *languages["ja"]):
            for written in _expanded(pattern):
                spelled.setdefault(spelling.folded(written), []).append(family)
    for words in catalogue.kinds().values():
        for word in words:
            for written in _expanded(f"{word}~" if len(word) == 1 else word):
                spelled.setdefault(spelling.folded(written), []).append("genre")
    bit = {family: 1 << place for place, family in enumerate((*families, "genre", "title", "author_name"))}
    known = Lexicon({"#": []}, {}, bit)
    for written, of in spelled.items():
        unique = tuple(dict.fromkeys(of))
        bits = known.bits(*unique)
        _add(known, written, Cue(unique, bits, not _DENIABLE.isdisjoint(unique)))
    for name in names.names():
        family = "author_name" if name.author else "title"
        _add(known, name.folded, Cue((family,), bit[family], name=name))
    for word_cues in known.words.values():
        word_cues.sort(key=lambda entry: (-entry[1], not entry[2]))
    for run_cues in known.pairs.values():
        run_cues.sort(key=lambda entry: -len(entry[0]))
    return known


def _add(known: Lexicon, written: str, cue: Cue) -> None:
    ends = len(written) > 1 and written.endswith("$")
    parts = ["#", *written[1:].split()] if written.startswith("#") else spelling.tokens(written.rstrip("$") if ends else written)
    if not parts:
        return
    if spelling.is_run(parts[0]):
        begins, mixed = "^" if written.startswith("^") else "", len(parts) > 1
        pattern = f"{begins}{parts[0]}{'$' if ends or mixed else ''}"
        if len(pattern) > 1:
            known.pairs.setdefault(pattern[:2], []).append((pattern, _with_rest(cue, parts[1:])))
        return
    size = next((place for place, part in enumerate(parts) if spelling.is_run(part)), len(parts))
    entry = (parts[1:size], size, ends, _with_rest(cue, parts[size:]))
    known.words.setdefault(parts[0], []).append(entry)


def _with_rest(cue: Cue, rest: list[str]) -> Cue:
    return Cue(cue.families, cue.bits, cue.deniable, cue.name, tuple(rest)) if rest else cue


_CHOICE = re.compile(r"\(([^()]*)\)")


def _expanded(pattern: str) -> Iterator[str]:
    """Every spelling that a pattern of the lexicon stands for."""
    if pattern.endswith("~"):
        pattern = pattern[:-1] + _PARTICLES
    if "(" not in pattern:
        yield pattern
        return
    parts = _CHOICE.split(pattern)
    for choice in product(*(part.split("|") if place % 2 else (part,) for place, part in enumerate(parts))):
        yield "".join(choice)
