"""When two questions are the same: pure, and on the side of saying no.

Only questions whose every word is known here may share an answer: works of the dictionary, genres, statuses, counts,
and the words of `words.json`. A person, an address, an age, a date or a turn of phrase that nobody has thought of is
unknown, and its question is nobody else's. What is known is reduced to what it asks: names stand for the works, words
of one meaning for that meaning, and politeness for nothing; numbers, negations, comparisons and the order of words
stay. What is lost by that is the price of a model call.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from mangaassist.knowledge import catalogue, spelling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mangaassist.routing.question import Question

MOST_CHARACTERS = 160  # a longer question is nobody else's

_NOT = "(?!な|ま[せし]|く|ん|ず|ぬ|じゃ|では|以外|抜き)"  # what follows would deny it
_END = r"(?=[?。!\s]|$)"
_JAPANESE = (  # the first that fits is taken; hiragana, as folded text is
    ("", r"^(すみません|すいません|こんにちは)(が)?[、。\s]?"),
    ("", r"(を|は|って|について)?(教えて|おしえて)(ください|下さい|くれますか|ほしい(です)?|もらえますか)?" + _END),
    ("", r"(が|を)知りたい(です)?" + _END),
    ("", r"(を)?お願い(し|いたし)?ます" + _END),
    ("<similar>", rf"(と|に)似た|に似(ている|てる)|みたいな|のような|っぽい{_NOT}|に近い{_NOT}"),
    ("<recommend>", rf"(お勧め|お薦め|おすすめ){_NOT}"),
    ("<completed>", rf"完結済みの?|完結済{_NOT}|完結した|完結して(い)?る{_NOT}|完結していますか?|完結(?=の|漫画|作品)"),
    ("<ongoing>", rf"連載中の?{_NOT}|連載して(い)?る{_NOT}"),
    (
        "<price>",
        r"(の)?(値段|ねだん|価格)(は|って)?(いくら|何円)(です)?か?|お?いくら(です)?か?|何円(です)?か?|値段|ねだん|価格",
    ),
    ("<artist>", r"作画(者|担当)?(は|って)?(誰|だれ)?(です)?か?"),
    ("<writer>", r"原作者?(は|って)?(誰|だれ)?(です)?か?"),
    ("<author>", r"(作者|著者)(は|って)?(誰|だれ)?(です)?か?"),
    ("<stock>", r"在庫(は|が|って)?(あります|ある|ございます)?か?"),
    ("<hiatus>", r"休載中|休載して(い)?る"),
    ("", r"を探して(い)?(る|ます)" + _END),
    ("<latest>", r"最新(刊|巻)"),
    ("<work>", r"まんが|漫画|作品"),
    ("<synopsis>", r"あらすじ|粗筋|どんな(話|はなし|お話|内容)(です)?か?"),
    ("全", r"全部で|ぜんぶで"),
    ("何巻まで", r"何巻まで(出て(い)?(る|ます)|ある(の)?|あります)?か?"),
    ("面白い", r"おもしろい"),
    ("怖い", r"こわい"),
    ("泣ける", r"なける"),
    ("", r"(は|って|が)?(あります|ある|ございます|ありますでしょう)か?" + _END),
    ("", r"(は|って)?(です|でしょう)?か?(?=[?。!]|$)"),
    ("", r"(は|(?<!も)の)(?=.)|って|、"),
)
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_ENGLISH = (
    ("", r"^(hi|hello|hey|excuse me)"),
    ("", r"(can|could|would|will) you (please )?(?=tell|recommend|suggest|give|show)|please|thanks|thank you"),
    ("", r"(tell|give|show) me|let me know"),
    ("<price>", r"what( is| s) the price of|how much (does|do|is|are)|(the )?price of|prices?|costs?"),
    ("<writer>", r"who (wrote|writes)|who( is| s) the writer( of)?"),
    ("<artist>", r"who (drew|draws|illustrated)|who( is| s) the (artist|illustrator)( of)?"),
    ("<author>", r"who( is| s) the (author|mangaka|creator)( of)?|who (created|made)|authors?|mangakas?"),
    ("<recommend>", r"recommend( me)?|suggest|recommendations?|suggestions?"),
    ("<similar>", r"similar to|(?<=work> )like"),
    ("<completed>", r"completed|finished|ended"),
    ("<ongoing>", r"(still )?ongoing"),
    ("<hiatus>", r"(on )?hiatus"),
    ("<synopsis>", r"synopsis|plot"),
    ("<stock>", r"in stock|available"),
    ("volume", r"volumes?|vols?"),
    ("<latest>", r"(the )?(latest|newest)"),
    ("", r"the|a|an"),
    *((str(number), word) for number, word in enumerate(_NUMBERS)),
)
_WORKS = re.compile(r"\b(manga( series)?|mangas|comics?)\b")
_DIGITS = {character: value for value, character in enumerate("〇一二三四五六七八九")}
_COUNTED = re.compile(r"第?([〇一二三四五六七八九十百]+)(?=巻|冊|円|作目|話)|第(?=\d)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_APOSTROPHE = re.compile(r"(?<=[a-z])['’](?=s\b)")
_REST = re.compile(r"\x01\d\d\x02|<[a-z]+>|[<>]|[a-z0-9]+|[^\s\x01\x02<>a-z0-9]+")
_MARKS = re.compile(r"[?!。.…]+(?=\s|$)|(?<=\D),(?=\s)|(?<=[^\x00-\x7f])[?!。.、,]+")
_QUOTED_NAME = re.compile(r"[「『\"“](\x01\d\d\x02)[」』\"”]")

_WORDS = Path(__file__).with_name("words.json")
_TAKEN_UP = (("what", "about"), ("how", "about"))  # how a shopper goes on from what was said


def is_keepable(question: Question) -> bool:
    """Whether a question is nobody's in particular: about the catalogue, in words that are all known here.

    Such a question alone may be answered from, or kept in, the answers that all shoppers share.
    """
    if question.service or not (question.catalogue or question.works) or len(question.text) > MOST_CHARACTERS:
        return False
    words = reduced(question)
    return bool(words) and words[:2] not in _TAKEN_UP and all(map(_is_known, words))


def reduced(question: Question) -> tuple[str, ...]:
    """What a question asks, as the words that two wordings of one question share, in their order."""
    text, works = _named(question, spelling.folded(question.text))
    text = _QUOTED_NAME.sub(r"\1", _APOSTROPHE.sub(" ", text))
    text = _THOUSANDS.sub("", _COUNTED.sub(_count, text))
    text = _ENGLISH_WORDS.sub(_meaning, _WORKS.sub(" <work> ", text))
    text = _JAPANESE_WORDS.sub(_meaning, _MARKS.sub(" ", text))
    return tuple(works.get(word, word) for word in _REST.findall(text))


def digest(parts: Sequence[str]) -> str:
    """A short name for a sequence of words."""
    return hashlib.blake2b("\x1f".join(parts).encode("utf-8", "replace"), digest_size=16).hexdigest()


def similarity(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of two vectors of unit length."""
    return sum(a * b for a, b in zip(one, other, strict=True))


def _is_known(word: str) -> bool:
    """Whether a word is one of ours, or runs of ours in a row."""
    if word.startswith(("<", "titled ", "by ")) or word.isdigit():
        return True
    return word in _known_words() if word.isascii() else bool(_known_run().fullmatch(word))


@cache
def _words() -> dict[str, list[str]]:
    words: dict[str, list[str]] = json.loads(_WORDS.read_bytes())
    return words


@cache
def _known_words() -> frozenset[str]:
    kinds = (spelling.folded(word) for words in catalogue.kinds().values() for word in words if word.isascii())
    return frozenset((*_words()["en"], *(part for kind in kinds for part in spelling.tokens(kind))))


@cache
def _known_run() -> re.Pattern[str]:
    kinds = [spelling.folded(word) for words in catalogue.kinds().values() for word in words if not word.isascii()]
    words = sorted({*_words()["ja"], *kinds}, key=len, reverse=True)
    return re.compile(f"(?:{'|'.join(map(re.escape, words))})+")


def _named(question: Question, folded: str) -> tuple[str, dict[str, str]]:
    """The text with a mark in the place of every name, and the works or the author's works that each mark means."""
    places = spelling.places(folded)
    meanings: dict[str, str] = {}
    text, at = "", 0
    for span in question.spans:
        start, end = places[span.first][0] + span.start, places[span.last][0] + span.end
        if start < at:  # within the name before it
            continue
        mark = f"\x01{len(meanings):02}\x02"
        meanings[mark] = f"{'by' if span.author else 'titled'} {','.join(span.works)}"
        text, at = text + folded[at:start] + mark, end
    return text + folded[at:], meanings


def _compiled(rules: Sequence[tuple[str, str]], prefix: str, edge: str) -> tuple[re.Pattern[str], dict[str, str]]:
    named = {f"{prefix}{place}": meaning for place, (meaning, _) in enumerate(rules)}
    parts = (f"(?P<{prefix}{place}>{edge}(?:{pattern}){edge})" for place, (_, pattern) in enumerate(rules))
    return re.compile("|".join(parts)), named


_JAPANESE_WORDS, _JA_MEANINGS = _compiled(_JAPANESE, "j", "")
_ENGLISH_WORDS, _EN_MEANINGS = _compiled(_ENGLISH, "e", r"\b")
_MEANINGS = _JA_MEANINGS | _EN_MEANINGS


def _meaning(match: re.Match[str]) -> str:
    meaning = _MEANINGS.get(match.lastgroup or "", match[0])
    return f" {meaning} " if not meaning or meaning.startswith("<") else meaning


def _count(match: re.Match[str]) -> str:
    """A Japanese numeral up to hundreds, or digits in a row (一〇〇), as digits."""
    kanji = match[1]
    if not kanji:
        return ""
    if not set(kanji) & set("十百"):
        return "".join(str(_DIGITS[character]) for character in kanji)
    total = part = 0
    for character in kanji:
        if character in _DIGITS:
            part = _DIGITS[character]
        else:
            total += (part or 1) * (100 if character == "百" else 10)
            part = 0
    return str(total + part)
