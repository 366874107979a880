"""Which works a text names: every spelling of every title and author, and what tells a title from an everyday word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mangaassist.knowledge import catalogue, spelling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mangaassist.knowledge.catalogue import Work

_SHORT_KANA = 4  # a kana name this short hides inside other words, so it counts only when written apart
_JOINED_LATIN = 7  # "deathnote" is a name, "skipbeat" too, but short joins become other words
_QUOTES = "\"'“‘「『【《〈（("
_BEFORE = frozenset({"manga", "series", "titled", "called", "named", "title", "volume", "vol", "by"})
_AFTER = frozenset({"vol", "vols", "volume", "volumes", "manga", "chapter", "by", "author", "box", "deluxe", "series"})
_OWNED = frozenset({"my", "your", "his", "her", "our", "their", "the", "a", "an", "this", "i"})
_AFTER_JA = tuple(
    spelling.folded(word)
    for word in (
        "の作者 の最新 の新刊 の在庫 の続き の値段 の続編 の作品 の漫画 のマンガ の単行本 の全巻 のあらすじ の英語版 の完全版 の発売 "
        "全巻 って漫画 という漫画 最新 は何巻 の何巻 何巻 は全 の次 って何巻 って完結 は完結 の価格 のレビュー の感想 とか読"
    ).split()
)


@dataclass(frozen=True, slots=True)
class Name:
    """A spelling that means certain works; `apart` and `ordinary` say how careful a reader must be with it."""

    folded: str
    works: tuple[str, ...]
    author: bool
    apart: str = ""  # the katakana as registered, when the name counts only if written apart from other katakana
    ordinary: bool = False


def names() -> Iterator[Name]:
    """Every spelling of every title and author in the catalogue, folded; two spellings that fold alike come as one."""
    titles: dict[str, list[tuple[str, Work]]] = {}
    authors: dict[str, tuple[str, list[str]]] = {}
    aliases = catalogue.author_aliases()
    for work in catalogue.works().values():
        for spelled in _titles_of(work):
            titles.setdefault(spelling.folded(spelled), []).append((spelled, work))
        people = zip(work.author_ja.split("、"), work.author_kana.split("、"), work.author_en.split(", "), strict=True)
        for ja, kana, english in people:
            turned = " ".join(reversed(english.split()))
            for spelled in (ja, kana, english, turned, *aliases.get(english, ())):
                authors.setdefault(spelling.folded(spelled), (spelled, []))[1].append(work.id)
    for folded, spelled_works in titles.items():
        authors.pop(folded, None)
        spelled = spelled_works[0][0]
        ids = tuple(dict.fromkeys(work.id for _, work in spelled_works))
        ordinary = any(folded in map(spelling.folded, work.ordinary) for _, work in spelled_works)
        yield Name(folded, ids, author=False, apart=_apart(spelled), ordinary=ordinary)
    for folded, (spelled, works) in authors.items():
        yield Name(folded, tuple(dict.fromkeys(works)), True, _apart(spelled), ordinary=folded in _ORDINARY_AUTHORS)


_ORDINARY_AUTHORS = frozenset(
    "one hero koi afro clamp fuse あっと こい わん ひーろー あふろ ふせ ふじた くらんぷ あるこ はまじあき oda gege murata araki".split()
)


def _titles_of(work: Work) -> Iterator[str]:
    """Every way to write the title: as registered, without its marks, before its subtitle, and in one word."""
    for title in (work.title_ja, work.title_kana, work.title_romaji, work.title_en, *work.aliases):
        yield title
        bare = title.translate(_MARKS)
        if bare != title:
            yield bare
        head = title.partition(": ")[0]
        if head != title and len(head) > _JOINED_LATIN:
            yield head
        joined = "".join(spelling.tokens(spelling.folded(head)))
        if joined.isascii() and len(joined) >= _JOINED_LATIN:
            yield joined


_MARKS = str.maketrans("", "", "・☆★♥△。、!！?？【】〜…")


def _apart(spelled: str) -> str:
    katakana = all(map(spelling.is_katakana, spelled))
    return spelled if katakana and len(spelled) <= _SHORT_KANA else ""


def stands_apart(katakana: str, raw_run: str, start: int) -> bool:
    """Whether a short katakana name stands in `raw_run` as itself, not as a part of a longer katakana word."""
    end = start + len(katakana)
    if raw_run[start:end] != katakana:
        return False
    before, after = raw_run[start - 1 : start] if start else "", raw_run[end : end + 1]
    return not (before and spelling.is_katakana(before)) and not (after and spelling.is_katakana(after))


def is_title(name: str, text: str, folded: str, words: tuple[str, ...], index: int, size: int) -> bool:
    """Whether an everyday Latin word is meant as a title: alone, in quotes, beside "vol" or Japanese, or with a capital."""
    before = words[index - 1] if index else ""
    after = words[index + size] if index + size < len(words) else ""
    if _alone(words, size) or any(quote + name in folded for quote in _QUOTES):
        return True
    if before in _BEFORE or after in _AFTER or after.isdigit():
        return True
    if (before and spelling.is_run(before)) or (after and spelling.is_run(after)):
        return True
    return before not in _OWNED and _capital_inside(name, text)


def _alone(words: tuple[str, ...], size: int) -> bool:
    return sum(word not in spelling.MARKS for word in words) == size


def _capital_inside(name: str, text: str) -> bool:
    """Whether the name is written with capitals, where no sentence begins and not everything is in capitals."""
    for written in (name.title(), name.capitalize(), name.upper()):
        at = text.find(written)
        if at <= 0 or (written == name.upper() and text.isupper()):
            continue
        if text[:at].rstrip()[-1:] not in '.!?\n:;"':
            return True
    return False


def is_title_in_run(name: str, folded: str, words: tuple[str, ...], run: str, end: int) -> bool:
    """Whether an everyday Japanese word is meant as a title: alone, in quotes, or before what is asked of titles."""
    if any(quote + name in folded for quote in _QUOTES):
        return True
    return (run == name and _alone(words, 1)) or run.startswith(_AFTER_JA, end)
