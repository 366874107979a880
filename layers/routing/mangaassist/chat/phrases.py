"""The sentences that the system itself says to a shopper, in Japanese and English."""

from __future__ import annotations

import re
from typing import Literal

type Language = Literal["ja", "en"]

_JAPANESE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uff66-\uff9f]")

SENTENCES: dict[str, tuple[str, str]] = {
    "bad_json": (
        "メッセージを読み取れませんでした。JSON の形式を確認してください。",
        "The message could not be read: it is not a JSON object.",
    ),
    "unknown_action": (
        "この操作には対応していません。使える操作は ask、resume、cancel、feedback、forget、ping です。",
        "This action is not known. Use ask, resume, cancel, feedback, forget or ping.",
    ),
    "invalid_field": ("項目「{field}」の値が正しくありません。", "The field “{field}” has a wrong value."),
    "message_empty": ("質問を入力してください。", "Please type a question."),
    "message_too_long": (
        "質問が長すぎます。{limit} 文字以内でお願いします。",
        "The question is too long. Please keep it within {limit} characters.",
    ),
    "session_unavailable": (
        "この会話は利用できません。新しい会話を始めてください。",
        "This conversation is not available. Please start a new one.",
    ),
    "turn_unknown": ("その回答は見つかりませんでした。", "That answer could not be found."),
    "turn_lost": (
        "回答の途中で問題が起きました。もう一度お試しください。",
        "The answer was lost on the way. Please ask again.",
    ),
    "rate_limited": (
        "少し時間をおいてから、もう一度お試しください(約 {seconds} 秒後)。",
        "Please wait about {seconds} s before asking again.",
    ),
    "unavailable": (
        "ただいまご利用いただけません。少し時間をおいてお試しください。",
        "The service is not available just now. Please try again shortly.",
    ),
    "internal": (
        "申し訳ありません。問題が起きました。お問い合わせの際は参照番号をお知らせください。",
        "Sorry, something went wrong. If you contact us, please give the reference.",
    ),
}

_INTERRUPTED = ("(回答はここで途切れました。)", "(The answer was interrupted here.)")


def language_of(text: str) -> Language:
    """Japanese when the text has kana or kanji, else English."""
    return "ja" if _JAPANESE.search(text) else "en"


def sentence(code: str, language: str | None, **detail: str | int) -> str:
    """The sentence for a stable error code; in both languages when the shopper's is not known."""
    japanese, english = (text.format(**detail) for text in SENTENCES[code])
    if language is None:
        return f"{japanese} / {english}"
    return japanese if language == "ja" else english


def interrupted(language: str) -> str:
    """Says that the text so far is incomplete."""
    return _INTERRUPTED[0] if language == "ja" else _INTERRUPTED[1]
