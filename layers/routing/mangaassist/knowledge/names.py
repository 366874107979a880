"""Which works a text names: every spelling of every title and author, and what tells a title from an everyday word."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from mangaassist.knowledge import catalogue, spelling

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mangaassist.knowledge.product import Work


_MARKS = re.compile("[・☆★♥△。、!！?？【】〜…]")
_NOT_SOLID = re.compile("[^a-z0-9\n]+")
_SHORT_KATAKANA = re.compile("[ァ-ヺー]{1,4}")  # a name this short hides inside other words
_JOINED_LATIN = 7  # "deathnote" is a name, "skipbeat" too, but shorter joins become other words
_QUOTES = "\"'“‘「『【《〈（("
_BEFORE = frozenset(("manga", "series", "titled", "called", "named", "title", "volume", "vol", "by"))
_AFTER = frozenset(("vol", "vols", "volume", "volumes", "chapter", "by", "author", "box", "deluxe"))
_OWNED = frozenset(("my", "your", "his", "her", "our", "their", "the", "a", "an", "this", "i"))
_AFTER_JA = tuple(
    spelling.folded(
        "の作者 の最終 の最新 の新刊 の在庫 の続き の値段 の続編 の作品 の漫画 のマンガ の単行本 の全巻 のあらすじ "
        "の英語版 の完全版 の発売 全巻 って漫画 という漫画 最新 "
        "は何巻 の何巻 何巻 は全 の次 って何巻 って完結 は完結 の価格 のレビュー の感想"
    ).split()
)
_ORDINARY_AUTHORS = frozenset(
    spelling.folded(
        "one hero koi afro clamp fuse oda gege murata araki あっと こい わん ひーろー あふろ ふせ ふじた "
        "くらんぷ あるこ"
    ).split()
)


class Name(NamedTuple):
    """A spelling that means certain works; `apart` and `ordinary` say how careful a reader must be with it."""

    folded: str
    works: tuple[str, ...]
    author: bool
    apart: str = ""  # the katakana as registered, when the name counts only if written apart from other katakana
    ordinary: bool = False  # also an everyday word: counts only where it is meant as a title


def names() -> Iterator[Name]:
    """Every spelling of every title and author in the catalogue; two spellings that fold alike come as one."""
    ordinary = {
        *_ORDINARY_AUTHORS,
        *_all_folded([name for work in catalogue.works().values() for name in work.ordinary]),
    }
    titles = _by_folded(_titles())
    authors = _by_folded(_people())
    for of, is_author in ((titles, False), (authors, True)):
        for folded, (registered, works) in of.items():
            if folded and not (is_author and folded in titles):
                apart = registered if _SHORT_KATAKANA.fullmatch(registered) else ""
                yield Name(folded, tuple(dict.fromkeys(works)), is_author, apart, _MARKS.sub("", folded) in ordinary)


@lru_cache(maxsize=2048)
def search_keys(work: Work) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The solid spellings of a work's titles and of its authors, by which a search index finds it.

    Names that are everyday words too are left out: only the dictionary can tell from around them what is meant.
    """
    ordinary = {spelling.solid(name) for name in work.ordinary}
    titles = tuple(key for key in _keys(_titles_of(work)) if key not in ordinary)
    return titles, tuple(key for key in _keys(_people_of(work)) if key not in _ORDINARY_AUTHORS)


def _keys(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for key in map(spelling.solid, names) if key))


def _by_folded(spelled: list[tuple[str, str]]) -> dict[str, tuple[str, list[str]]]:
    """Folded spelling -> a spelling as registered, and the works that it means."""
    found: dict[str, tuple[str, list[str]]] = {}
    for (name, work), folded in zip(spelled, _all_folded([name for name, _ in spelled]), strict=True):
        found.setdefault(folded, (name, []))[1].append(work)
    return found


def _all_folded(spelled: list[str]) -> list[str]:
    """Many spellings folded in one go, which costs a tenth of folding each."""
    return spelling.folded("\n".join(spelled)).split("\n")


def _people() -> list[tuple[str, str]]:
    """Every way to write an author's name, with each of the author's works."""
    return [(name, work.id) for work in catalogue.works().values() for name in _people_of(work)]


def _people_of(work: Work) -> list[str]:
    people = [*work.author_ja.split("、"), *work.author_kana.split("、")]
    aliases = catalogue.author_aliases()
    for english in filter(None, work.author_en.split(", ")):
        people += (english, " ".join(reversed(english.split())), *aliases.get(english, ()))
    return people


def _titles_of(work: Work) -> list[str]:
    """The titles as registered, and the English one before its subtitle."""
    titles = [work.title_ja, work.title_kana, work.title_romaji, work.title_en, *work.aliases]
    head = work.title_en.partition(": ")[0]
    return [*titles, head] if len(head) >= _JOINED_LATIN else titles


def _titles() -> list[tuple[str, str]]:
    """Every way to write a title: as registered, without its marks, before its subtitle, and in one word."""
    spelled = [(title, work.id) for work in catalogue.works().values() for title in _titles_of(work)]
    joined = "\n".join(title for title, _ in spelled)
    bare = _MARKS.sub("", joined).split("\n")
    solid = _NOT_SOLID.sub("", joined.lower()).split("\n")
    for (title, work_id), without_marks, one_word in zip(tuple(spelled), bare, solid, strict=True):
        if without_marks != title:
            spelled.append((without_marks, work_id))
        if len(one_word) >= _JOINED_LATIN and title.isascii():
            spelled.append((one_word, work_id))
    return spelled


def stands_apart(katakana: str, raw_run: str, start: int) -> bool:
    """Whether a short katakana name stands in `raw_run` as itself, not as a part of a longer katakana word."""
    end = start + len(katakana)
    if raw_run[start:end] != katakana:
        return False
    before, after = raw_run[start - 1 : start] if start else "", raw_run[end : end + 1]
    return not (before and spelling.is_katakana(before)) and not (after and spelling.is_katakana(after))


def is_title(name: str, text: str, folded: str, words: tuple[str, ...], index: int, size: int) -> bool:
    """Whether an everyday Latin word is meant as a title: alone, quoted, beside "vol" or Japanese, or capital."""
    before = words[index - 1] if index else ""
    after = words[index + size] if index + size < len(words) else ""
    if _alone(words, size) or _quoted(name, folded):
        return True
    if before in _BEFORE or after in _AFTER or after.isdigit():
        return True
    if any(beside and spelling.is_run(beside) for beside in (before, after)):
        return True
    return before not in _OWNED and _capital_inside(name, text)


def is_title_in_run(name: str, folded: str, words: tuple[str, ...], index: int, end: int) -> bool:
    """Whether an everyday Japanese word is meant as a title: alone, quoted, or before what is asked of titles.

    The word ends at `end` of the run `words[index]`.
    """
    run = words[index]
    if _quoted(name, folded) or (run == name and _alone(words, 1)) or run.startswith(_AFTER_JA, end):
        return True
    return run[end:] in ("", "の") and index + 1 < len(words) and words[index + 1].isdigit()


def _alone(words: tuple[str, ...], size: int) -> bool:
    return sum(word not in spelling.MARKS for word in words) == size


def _quoted(name: str, folded: str) -> bool:
    return any(quote + name in folded for quote in _QUOTES)


def _capital_inside(name: str, text: str) -> bool:
    """Whether the name is written with capitals, where no sentence begins and not everything is in capitals."""
    for written in (name.title(), name.capitalize(), name.upper()):
        at = text.find(written)
        if at > 0 and not (written == name.upper() and text.isupper()) and text[:at].rstrip()[-1:] not in '.!?\n:;"':
            return True
    return False
