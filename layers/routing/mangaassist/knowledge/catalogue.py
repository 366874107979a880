"""The store's catalogue as the assistant knows it without a model: works, and an honest answer from them."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mangaassist.knowledge import spelling
from mangaassist.knowledge.product import Product, Work

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mangaassist.routing.question import Question

_TITLES = Path(__file__).with_name("titles.json")


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_TITLES.read_bytes())
    return document


@cache
def works() -> dict[str, Work]:
    """Every work by id, in the order of the file, read at the first use; the file says as of when its statuses hold."""
    entries: list[dict[str, Any]] = _document()["works"]
    for entry in entries:
        for lists in ("genres", "aliases", "ordinary"):
            entry[lists] = tuple(entry.get(lists, ()))
    return {entry["id"]: Work(**entry) for entry in entries}


@cache
def kinds() -> dict[str, tuple[str, ...]]:
    """Genre or demographic -> the words that shoppers use for it, in both languages."""
    document = _document()
    return {
        kind: (*words["ja"], *words["en"])
        for group in ("demographics", "genres")
        for kind, words in document[group].items()
    }


def author_aliases() -> dict[str, list[str]]:
    """Author's English name -> other names that mean this author and nobody else."""
    aliases: dict[str, list[str]] = _document()["author_aliases"]
    return aliases


def matching(question: Question, limit: int = 5) -> tuple[Work, ...]:
    """At most `limit` works that the question is about: those it names, then those of the kinds it names."""
    named = [work for work in question.works if work in works()]
    found = named if len(named) >= limit else [*named, *of_kinds(frozenset(kinds_in(question.text)), len(works()))]
    return tuple(works()[work] for work in tuple(dict.fromkeys(found))[: max(limit, 0)])


@lru_cache(maxsize=256)
def of_kinds(wanted: frozenset[str], limit: int) -> tuple[str, ...]:
    """Ids of at most `limit` works of these kinds: those that fit more of them first, equals in the file's order."""
    fits = {work.id: len(wanted & {work.demographic, *work.genres}) for work in works().values()}
    return tuple(sorted((work for work in fits if fits[work]), key=lambda work: -fits[work])[:limit])


@cache
def rarity() -> dict[str, float]:
    """How telling each genre and demographic is, from 0 (every work has it) to about 1: the logarithm of its rarity."""
    of = [{*work.genres, work.demographic} for work in works().values()]
    counts = Counter(kind for kinds in of for kind in kinds)
    return {kind: math.log(len(of) / count) / math.log(len(of)) for kind, count in counts.items()}


def kinds_in(text: str) -> set[str]:
    """The genres and demographics that a text asks for; the longest word wins where two overlap."""
    wanted, _ = kinds_asked(text)
    return wanted


def kinds_asked(text: str) -> tuple[set[str], set[str]]:
    """The genres and demographics that a text asks for, and those that it does not want."""
    rest = f" {' '.join(spelling.tokens(spelling.folded(text)))} "
    wanted: set[str] = set()
    unwanted: set[str] = set()
    for written, kind in _kind_words():
        at = rest.find(written)
        while at >= 0:
            end = at + len(written)
            denied = _DENIED_AFTER.match(rest, end) or _DENIED_BEFORE.search(rest[max(0, at - 40) : at + 1])
            (unwanted if denied else wanted).add(kind)
            rest = rest[:at] + re.sub(r"\S", "|", written) + rest[end:]  # its spaces bound its neighbours too
            at = rest.find(written)
    return wanted - unwanted, unwanted


_DENIED_AFTER = re.compile(  # folded: after a kind that is not wanted, and before one
    r"\s?(もの|系|要素|漫画|の漫画)?(が|は|も|を)?(じゃな|ではな|でな|以外|抜き|なし|無し|除|の(な|無)い|(な|無)し|苦手|嫌|きらい|いや|いらな|ありません|ない)"
)
_DENIED_BEFORE = re.compile(
    r"\b(no|not|without|except|excluding|besides|hate|dislike|avoid|anything but|don't (like|want)|dont (like|want))"
    r"( (a|an|any|the|so|too|very|much|in|on))* $"
)


@cache
def _kind_words() -> tuple[tuple[str, str], ...]:
    """Folded word and its kind, longest first; a Latin word carries its spaces, which are its boundaries."""
    found = []
    for kind, words in kinds().items():
        for word in words:
            parts = spelling.tokens(spelling.folded(word))
            written = " ".join(parts)
            found.append((written if any(map(spelling.is_run, parts)) else f" {written} ", kind))
    return tuple(sorted(found, key=lambda pair: (-len(pair[0]), pair)))


_SAID = {
    "ja": {
        "found": "申し訳ございません。ただいまAIによる回答をご用意できません。"
        "当店のカタログから、お役に立ちそうな作品をご案内します。",
        "nothing": "申し訳ございません。ただいまAIによる回答をご用意できず、"
        "カタログにも一致する作品が見つかりませんでした。"
        "作品名・作者名・ジャンルでお尋ねいただくか、しばらくしてからもう一度お試しください。",
        "again": "詳しいご案内は、しばらくしてからもう一度お試しください。",
    },
    "en": {
        "found": "I'm sorry, the assistant's models can't answer just now. These titles from our catalogue may help:",
        "nothing": "I'm sorry, the assistant's models can't answer just now, and nothing in our catalogue matches "
        "your question. Please ask by title, author or genre, or try again in a little while.",
        "again": "Please try again in a little while for a full answer.",
    },
}
_STATUS = {
    "ja": {"completed": "完結", "ongoing": "連載中", "hiatus": "休載中"},
    "en": {"completed": "completed", "ongoing": "ongoing", "hiatus": "on hiatus"},
}


def answer(question: Question, products: Sequence[Product]) -> str:
    """The end of every chain, in the question's language: says that no model can answer, and offers these products."""
    said = _SAID[question.language]
    if not products:
        return said["nothing"]
    return "\n".join((said["found"], *(line(product, question.language) for product in products), said["again"]))


def line(product: Product, language: str) -> str:
    """A product in one line of a list: who made it, how far it is, and what the store knows of price and stock."""
    work = product.work
    if language == "ja":
        return f"・『{work.title_ja}』（{'、'.join(filter(None, _facts_ja(product)))}）"
    return f"- {work.title_en or work.title_ja} ({', '.join(filter(None, _facts_en(product)))})"


def _facts_ja(product: Product) -> Iterator[str]:
    work = product.work
    yield work.author_ja
    yield f"{work.first_year}年開始" if work.first_year else ""
    yield _STATUS["ja"].get(work.status or "", "")
    yield f"全{product.volumes}巻" if product.volumes else ""
    yield f"1巻{product.price_yen:,}円" if product.price_yen is not None else ""
    yield "" if product.stock is None else "在庫あり" if product.stock else "在庫なし"


def _facts_en(product: Product) -> Iterator[str]:
    work = product.work
    yield work.author_en or work.author_ja
    yield f"from {work.first_year}" if work.first_year else ""
    yield _STATUS["en"].get(work.status or "", "")
    yield f"{product.volumes} volumes" if product.volumes else ""
    yield f"¥{product.price_yen:,} a volume" if product.price_yen is not None else ""
    yield "" if product.stock is None else "in stock" if product.stock else "out of stock"
