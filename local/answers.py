"""What the emulated model says: the same conversation always gets the same answer, whichever model is asked.

So a test can compare an answer that two models shared with the one that a single model would have given. The text is
split into tokens by a rule of our own that knows Japanese; what is streamed, counted and charged are these tokens.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

MARK = {"ja": "【エミュレーター】", "en": "[emulated] "}
OVERLAP_TOKENS = 6  # a model told to go on likes to repeat the last words first
TOKEN = re.compile(
    r"^【エミュレーター】|^\[emulated\] "  # the mark is one token: nobody should read half of it
    r"|[぀-ヿ]{1,2}|[㐀-鿿豈-﫿]|\s?[^\W぀-鿿豈-﫿]{1,5}|\s+|.",
    re.DOTALL,
)
INTERRUPTED = re.compile(r"\binterrupted\b|中断", re.IGNORECASE)  # as an application says it, not a shopper
KANA_OR_KANJI = re.compile(r"[぀-ヿ㐀-鿿]")
NOTES = re.compile(r"\A\s*<catalogue>(.*?)</catalogue>\s*", re.DOTALL)  # what an application put before the question
QUOTED = re.compile(r"『([^』]{1,60})』|《([^》]{1,60})》")

OPENING = {
    "ja": "「{topic}」についてのご質問ですね。",
    "en": "You asked about “{topic}”. ",
}
EARLIER = {
    "ja": "先ほどの「{topic}」のお話の続きとしてお答えします。",
    "en": "This follows what you asked before (“{topic}”). ",
}
CONTEXT = {
    "ja": "いただいた資料には{titles}がありますので、まずはそちらをご覧ください。",
    "en": "The notes I was given name {titles}, so start there. ",
}
CATALOGUE = {
    "ja": "カタログには{works}があります。",
    "en": "The catalogue has {works}. ",
}
STATUS = {
    "ja": {"completed": "完結", "ongoing": "連載中", "hiatus": "休載中"},
    "en": {"completed": "completed", "ongoing": "ongoing", "hiatus": "on hiatus"},
}
BODY = {
    "ja": (
        "これは手元の機械で動く模擬の応答で、実在のモデルは呼び出していません。",
        "店頭では一巻から順に読むと登場人物の関係がつかみやすいです。",
        "絵柄の好みで選ぶなら、まず試し読みで数ページを確かめてください。",
        "完結した作品なら、まとめて注文すると送料が一度で済みます。",
        "物語の背景や作者のほかの作品を知ると、見え方が変わることもあります。",
        "在庫と発売日は変わりますので、商品ページの表示が最新です。",
        "同じ雰囲気の作品を探すときは、掲載誌と年代を手がかりにすると見つかりやすいです。",
        "年齢の目安や版の違いも、購入の前に確かめておくと安心です。",
    ),
    "en": (
        "This reply comes from an emulator on your own machine; no real model was called. ",
        "Reading from the first volume makes it easier to follow who is who. ",
        "If the drawing style matters most, look at a few sample pages first. ",
        "For a finished series, ordering all volumes together saves postage. ",
        "Knowing the author's other works can change how a story reads. ",
        "Stock and release dates move, so the product page is always the latest word. ",
        "To find something with the same mood, the magazine and the decade are good leads. ",
        "Check the age rating and the edition before you buy. ",
    ),
}
CLOSING = {
    "ja": "ほかに気になる点があれば、続けてお尋ねください。",
    "en": "Ask on if you would like to know more.",
}
LEAST_SENTENCES, MOST_SENTENCES = 2, 6
TOPIC_CHARACTERS = 24
MOST_WORKS = 3


@dataclass(frozen=True)
class Said:
    """One side of the conversation, as plain text."""

    role: str
    text: str


def tokens(text: str) -> list[str]:
    """Split a text into the emulator's tokens; joined they are the text again."""
    return TOKEN.findall(text)


def answer(system: str, conversation: tuple[Said, ...]) -> str:
    """What the model says next: an answer to the last question, or the rest of an answer that was begun."""
    *before, last = conversation
    if last.role == "assistant":
        return _rest(_whole(system, tuple(before)), last.text)
    if before and before[-1].role == "assistant" and INTERRUPTED.search(last.text):
        begun = before[-1].text
        rest = _rest(_whole(system, tuple(before[:-1])), begun)
        return _repeated(begun) + rest
    return _whole(system, conversation)


def language(text: str) -> str:
    """`ja` when there is any kana or kanji, else `en`."""
    return "ja" if KANA_OR_KANJI.search(text) else "en"


def _whole(system: str, conversation: tuple[Said, ...]) -> str:
    questions = [said.text for said in conversation if said.role == "user"]
    question, works = _read(questions[-1] if questions else "")
    tongue = language(question)
    dice = hashlib.sha256(question.encode("utf-8", "replace")).digest()
    parts = [MARK[tongue], OPENING[tongue].format(topic=_topic(question))]
    if len(questions) > 1:
        parts.append(EARLIER[tongue].format(topic=_topic(_read(questions[-2])[0])))
    if works:
        told = "、".join(map(_in_japanese, works)) if tongue == "ja" else "; ".join(map(_in_english, works))
        parts.append(CATALOGUE[tongue].format(works=told))
    if titles := _titles(system):
        quoted = "".join(f"『{title}』" for title in titles) if tongue == "ja" else ", ".join(titles)
        parts.append(CONTEXT[tongue].format(titles=quoted))
    first, *others = BODY[tongue]
    count = LEAST_SENTENCES + dice[0] % (MOST_SENTENCES - LEAST_SENTENCES + 1)
    start = dice[1] % len(others)
    parts += [first, *(others[(start + step) % len(others)] for step in range(count)), CLOSING[tongue]]
    return "".join(parts)


def _rest(whole: str, begun: str) -> str:
    """What is missing of an answer; one that was not ours is brought to a close in its language."""
    if whole.startswith(begun):
        return whole[len(begun) :]
    return " " * (language(begun) == "en") + CLOSING[language(begun)]


def _repeated(begun: str) -> str:
    """The last words once more, for every second text: the one who joins the two must cut them away."""
    chosen = hashlib.sha256(begun.encode("utf-8", "replace")).digest()[0] % 2 == 0
    return "".join(tokens(begun)[-OVERLAP_TOKENS:]).lstrip() if chosen else ""


def _topic(question: str) -> str:
    line = " ".join(question.split())
    return line if len(line) <= TOPIC_CHARACTERS else line[:TOPIC_CHARACTERS].rstrip() + "…"


def _titles(prompt: str) -> list[str]:
    found = ("".join(groups) for groups in QUOTED.findall(prompt))
    return list(dict.fromkeys(found))[:MOST_WORKS]


def _read(said: str) -> tuple[str, list[dict[str, Any]]]:
    """The question, and the works that the notes before it tell of; a line that cannot be read is passed over."""
    notes = NOTES.match(said)
    if notes is None:
        return said, []
    works = []
    for line in notes.group(1).splitlines():
        try:
            work = json.loads(line)
        except ValueError:
            continue
        if isinstance(work, dict) and isinstance(work.get("title"), str) and work["title"]:
            works.append(work)
    return said[notes.end() :], works[:MOST_WORKS]


def _in_japanese(work: dict[str, Any]) -> str:
    status, volumes, price, stock = _facts(work)
    counted = {"completed": "全", "ongoing": "既刊", "hiatus": "既刊"}.get(status, "")
    told = (
        STATUS["ja"].get(status, status),
        f"{counted}{volumes}巻" if volumes is not None else "",
        f"1巻{price}円" if price is not None else "",
        ("在庫あり" if stock else "在庫切れ") if stock is not None else "",
    )
    facts = "・".join(filter(None, told))
    return f"『{work['title']}』" + (f"({facts})" if facts else "")


def _in_english(work: dict[str, Any]) -> str:
    status, volumes, price, stock = _facts(work)
    told = (
        STATUS["en"].get(status, status),
        f"{volumes} volume{'s' * (volumes != 1)}" if volumes is not None else "",
        f"¥{price} a volume" if price is not None else "",
        ("in stock" if stock else "out of stock") if stock is not None else "",
    )
    facts = ", ".join(filter(None, told))
    title = work.get("title_en") or work["title"]
    return f"“{title}”" + (f" ({facts})" if facts else "")


def _facts(work: dict[str, Any]) -> tuple[str, int | None, int | None, int | None]:
    """Status, volumes, price and stock; what is not known or is something else is none."""
    status = work.get("status")
    volumes, price, stock = (
        value if type(value := work.get(name)) is int else None for name in ("volumes", "price_yen", "stock")
    )
    if work.get("in_stock") is True:
        stock = stock or 1
    return status if isinstance(status, str) else "", volumes, price, stock
