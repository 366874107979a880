"""One spelling for what shoppers type in many: width, case, kana and accents folded, then cut into words and runs.

Japanese has no spaces, so a run of kana and kanji stays whole and is searched inside; a Latin word is a token
of its own, which is its word boundary.
"""

import re
import unicodedata


class _Folding(dict[int, int]):
    """A table for `str.translate` that remembers which characters stay, because a miss costs more than a hit."""

    def __missing__(self, code: int) -> int:
        if code < 0x10000:
            self[code] = code
        return code


_HIRAGANA_BELOW = 0x60  # ァ U+30A1 lies this far above ぁ U+3041
_KATAKANA = (*range(0x30A1, 0x30F7), 0x30FD, 0x30FE)
_ACCENTED, _BARE = "āīūēōâîûêôáíúéóàèäëïöüñç’‘—–‐−", "aiueoaiueoaiueoaeaeiounc''----"
_FOLDED = _Folding({code: code - _HIRAGANA_BELOW for code in _KATAKANA} | str.maketrans(_ACCENTED, _BARE))
_FOLDABLE = re.compile(f"[ァ-ヶヽヾ{_ACCENTED}]")

_ORNAMENTS = str.maketrans("", "", "・☆★")
_RUN = "ぁ-ゟ゠-ヿ㐀-䶿一-鿿豈-﫿々〆〇・☆★"  # what Japanese titles are made of
_TOKEN = re.compile(rf"[a-z0-9]+(?:'t\b)?|[{_RUN}]+|[!?。\n]|(?<!\bdr)(?<!\bno)(?<!\bvol)\.(?=\s|$)|[,、$¥€£]")
SENTENCE_ENDS = frozenset("!?。.\n")
MARKS = SENTENCE_ENDS | frozenset(",、")


def normalised(text: str) -> str:
    """The text in NFKC without surrounding white space: half- and full-width letters become the usual ones."""
    return unicodedata.normalize("NFKC", text).strip()


def folded(text: str) -> str:
    """Normalised text without case, accents, or the difference of katakana and hiragana; as long as its casefold."""
    text = text.casefold()
    return text.translate(_FOLDED) if _FOLDABLE.search(text) else text


def tokens(text: str) -> tuple[str, ...]:
    """Latin words, digits, whole runs of Japanese, sentence ends, commas and currency signs, in order."""
    return tuple(_TOKEN.findall(text))


def places(text: str) -> tuple[tuple[int, int], ...]:
    """Where each of the tokens begins and ends."""
    return tuple(match.span() for match in _TOKEN.finditer(text))


def solid(text: str) -> str:
    """A name as a search key: folded, and of its words and runs nothing but the characters ("ONE  PIECE" = "OnePiece").

    All that shoppers spell in many ways (width, case, kana, accents, spaces, marks) is gone.
    """
    words = tokens(folded(normalised(text)))
    return "".join(word for word in words if word not in MARKS).translate(_ORNAMENTS)


def is_run(word: str) -> bool:
    """Whether a token is a run of Japanese."""
    return word > "。"


def is_katakana(character: str) -> bool:
    """Whether a character continues a katakana word."""
    return "ァ" <= character <= "ヿ" and character != "・"
