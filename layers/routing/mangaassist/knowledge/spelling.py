"""One spelling for what shoppers type in many: width, case, kana and accents folded, then cut into words and runs.

Japanese has no spaces, so a run of kana and kanji stays whole and is searched inside; a Latin word is a token
of its own, which is its word boundary.
"""

from __future__ import annotations

import re
import unicodedata

_HIRAGANA_FROM = 0x60  # ァ U+30A1 lies this far above ぁ U+3041
_KANA = {code: code - _HIRAGANA_FROM for code in (*range(0x30A1, 0x30F7), 0x30FD, 0x30FE)}
_LATIN = str.maketrans("āīūēōâîûêôáíúéóàèäëïöüñç’‘–—‐−", "aiueoaiueoaiueoaeaeiounc''----")
_FOLDED = {**_KANA, **_LATIN}

RUN = "ぁ-ゟ゠-ヿ㐀-䶿一-鿿豈-﫿々〆〇・☆★"  # what Japanese titles are made of
_TOKEN = re.compile(
    rf"[a-z0-9]+(?:'t\b)?|[{RUN}]+|[!?。\n]|(?<!\bdr)(?<!\bno)(?<!\bvol)\.(?=\s|$)|[,、$¥€£]"
)
SENTENCE_ENDS = frozenset("!?。.\n")
MARKS = SENTENCE_ENDS | frozenset(",、")


def normalised(text: str) -> str:
    """The text in NFKC, without surrounding white space: half-width kana and full-width letters become the usual ones."""
    return unicodedata.normalize("NFKC", text).strip()


def folded(text: str) -> str:
    """Normalised text without case, accents, or the difference of katakana and hiragana; as long as its casefold."""
    return text.casefold().translate(_FOLDED)


def tokens(text: str) -> list[str]:
    """Latin words, digits, whole runs of Japanese, sentence ends, commas and currency signs, in order."""
    return _TOKEN.findall(text)


def is_run(token: str) -> bool:
    """Whether a token is a run of Japanese."""
    return token[0] > "。"


def is_katakana(character: str) -> bool:
    """Whether a character continues a katakana word."""
    return "ァ" <= character <= "ヿ" and character != "・"
