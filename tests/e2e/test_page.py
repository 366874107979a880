"""The chat page in a real browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.sync_api import expect

from tests.e2e.browsing import CONTRAST, UNNAMED
from tests.e2e.conftest import ask as ask_plainly
from tests.e2e.conftest import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.e2e.running import Running

QUESTION = "ワンピースは何巻まで出ていますか？"
ANSWER_MS = 20_000


@pytest.fixture
def slow(twin: Running) -> None:
    twin.put("faults", {"ondemand-haiku": {"fault": "slow", "first_token_ms": 100, "token_ms": 25}})


def ask(page: Page, question: str = QUESTION) -> None:
    page.get_by_role("textbox").fill(question)
    page.keyboard.press("Enter")


def finished(page: Page, number: int = 1) -> str:
    """The text of an answer when it is complete."""
    answer = page.locator(f".turn:nth-child({number}) .answer")
    expect(answer).to_have_attribute("data-state", "over", timeout=ANSWER_MS)
    return answer.locator(".text").inner_text()


def whole_answer(twin: Running, question: str = QUESTION) -> str:
    """The same question's answer over a plain socket."""
    twin.delete("faults")
    with twin.connect("plain") as connection:
        return ask_plainly(connection, question).text


@pytest.mark.usefixtures("slow")
def test_a_typed_question_is_answered_as_it_streams(visit: Callable[..., Page], twin: Running) -> None:
    page = visit()
    ask(page)
    expect(page.locator(".asked-text")).to_have_text(QUESTION)
    expect(page.get_by_role("textbox")).to_have_value("")
    answer = page.locator(".answer")
    expect(answer).to_have_attribute("data-state", "writing", timeout=ANSWER_MS)
    early = answer.locator(".text").inner_text()
    text = finished(page)
    assert len(early) < len(text)
    assert text.startswith(early)
    assert text == whole_answer(twin)
    facts = {name: page.locator(f"[data-fact={name}] dd").inner_text() for name in ("target", "model", "reason")}
    assert facts == {
        "target": "ondemand-haiku",
        "model": "jp.anthropic.claude-haiku-5-5",
        "reason": "通常時・簡単な質問",
    }
    for name in ("first", "total"):
        assert re.fullmatch(r"\d+\.\d\d s", page.locator(f"[data-fact={name}] dd").inner_text())
    assert re.fullmatch(r"\$0\.\d{6}", page.locator("[data-fact=cost] dd").inner_text())


@pytest.mark.usefixtures("slow")
def test_the_stop_button_stops(visit: Callable[..., Page], twin: Running) -> None:
    page = visit()
    ask(page)
    expect(page.locator(".answer")).to_have_attribute("data-state", "writing", timeout=ANSWER_MS)
    page.get_by_role("button", name="停止").click()
    text = finished(page)
    assert text < whole_answer(twin)
    expect(page.locator(".notice")).to_have_text("停止しました。")
    expect(page.get_by_role("button", name="送信")).to_be_visible()
    ask(page, "次の質問です")
    assert "次の質問です" in finished(page, 2)


@pytest.mark.usefixtures("slow")
def test_escape_stops_even_a_question_that_has_only_just_been_sent(visit: Callable[..., Page]) -> None:
    page = visit()
    ask(page)
    page.keyboard.press("Escape")
    finished(page)
    expect(page.locator(".notice")).to_have_text("停止しました。")


@pytest.mark.usefixtures("slow")
def test_a_dropped_connection_costs_no_character(visit: Callable[..., Page], twin: Running) -> None:
    page = visit()
    ask(page)
    expect(page.locator(".answer")).to_have_attribute("data-state", "writing", timeout=ANSWER_MS)
    for connection in twin.get("state")["connections"]:
        twin.management().delete_connection(ConnectionId=connection["id"])
    expect(page.locator("#connection")).to_have_attribute("data-state", "closed")
    expect(page.locator(".notice")).to_have_text("再接続します…")
    assert finished(page) == whole_answer(twin)
    expect(page.locator("#connection")).to_have_attribute("data-state", "open")
    expect(page.locator(".notice")).to_be_hidden()


def test_another_model_that_begins_again_replaces_the_text(visit: Callable[..., Page], twin: Running) -> None:
    twin.put("faults", {"ondemand-sonnet": {"fault": "cut", "after_tokens": 3, "count": 1}})
    page = visit()
    hard = "『ベルセルク』と『ヴィンランド・サガ』の主題を、史実との関係も踏まえて詳しく比較して論じてください"
    ask(page, hard)
    assert finished(page) == whole_answer(twin, hard)
    page.get_by_text("内訳").click()
    assert page.locator("tbody td:nth-child(3)").all_inner_texts() == ["cut", "answered"]


def test_it_speaks_the_browsers_language_and_the_other(visit: Callable[..., Page]) -> None:
    page = visit(locale="en-GB")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.get_by_role("heading", level=2)).to_have_text("Which manga are you looking for?")
    page.get_by_role("button", name="日本語").click()
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    expect(page.get_by_role("textbox", name="質問")).to_be_visible()
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "ja")


def test_a_sample_question_can_be_asked_with_one_press(visit: Callable[..., Page]) -> None:
    page = visit()
    page.locator("#examples button").first.press("Enter")
    assert finished(page).startswith("【エミュレーター】")
    page.get_by_role("button", name="新しい会話").click()
    expect(page.locator("#welcome")).to_be_visible()
    expect(page.locator(".turn")).to_have_count(0)


@pytest.mark.usefixtures("slow")
def test_a_conversation_can_be_deleted_also_while_it_is_answered(visit: Callable[..., Page], twin: Running) -> None:
    page = visit()
    button = page.get_by_role("button", name="会話を削除")
    expect(button).to_be_hidden()
    ask(page, "縞馬の出てくる漫画は?")
    expect(page.locator(".answer")).to_have_attribute("data-state", "writing", timeout=ANSWER_MS)
    button.click()
    expect(page.locator(".turn")).to_have_count(0)
    expect(page.locator("#status")).to_have_text("会話を削除しました")
    expect(button).to_be_hidden()
    until(lambda: twin.get("state")["emulator"]["active_streams"] == 0)
    until(lambda: "縞馬" not in str(twin.client("dynamodb").scan(TableName="TurnsTable")["Items"]))


def test_keys_do_what_the_hint_says(visit: Callable[..., Page]) -> None:
    page = visit()
    box = page.get_by_role("textbox")
    expect(box).to_be_focused()
    box.press_sequentially("一行目")
    page.keyboard.press("Shift+Enter")
    box.press_sequentially("二行目")
    expect(box).to_have_value("一行目\n二行目")
    composing = "new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true})"
    page.evaluate(f"document.getElementById('question').dispatchEvent({composing})")
    expect(page.locator(".turn")).to_have_count(0)  # Enter chose a word of the input method
    page.keyboard.press("Enter")
    expect(page.locator(".turn")).to_have_count(1)
    expect(box).to_be_focused()
    finished(page)
    page.keyboard.press("Enter")
    expect(page.locator(".turn")).to_have_count(1)  # nothing was typed


def test_text_is_never_markup(visit: Callable[..., Page]) -> None:
    page = visit()
    nasty = "<img src=x onerror=alert(1)><b>太字</b>"
    ask(page, nasty)
    text = finished(page)
    expect(page.locator(".asked-text")).to_have_text(nasty)
    assert "<img" in text
    assert page.locator("#turns img, #turns b").count() == 0


def test_a_refused_question_is_explained(visit: Callable[..., Page]) -> None:
    page = visit()
    ask(page, "㍿" * 1_500)  # 株式会社, once it is normalised: four times as long, and too long
    finished(page)
    expect(page.locator(".notice")).to_contain_text("4000")
    ask(page)
    assert finished(page, 2).startswith("【エミュレーター】")


def test_an_answer_can_be_rated(visit: Callable[..., Page], twin: Running) -> None:
    page = visit()
    ask(page)
    finished(page)
    page.get_by_role("button", name="役に立った", exact=True).click()
    expect(page.get_by_role("button", name="役に立った", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="役に立たなかった")).to_have_attribute("aria-pressed", "false")
    until(lambda: any("rating" in row for row in twin.client("dynamodb").scan(TableName="TurnsTable")["Items"]))


def test_screen_readers_hear_an_answer_once(visit: Callable[..., Page]) -> None:
    page = visit()
    page.evaluate(
        """() => {
          window.heard = [];
          const status = document.getElementById("status");
          new MutationObserver(() => heard.push(status.textContent)).observe(status, { childList: true });
        }"""
    )
    ask(page)
    text = finished(page)
    heard = page.evaluate("heard")
    assert heard[0] == "回答を待っています"
    assert len(heard) == 2
    assert text in heard[1]
    assert page.locator("[aria-live]:not([aria-live=off])").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1100])
def test_everything_is_named_readable_and_fits(visit: Callable[..., Page], scheme: str, width: int) -> None:
    page = visit(color_scheme=scheme, viewport={"width": width, "height": 700}, reduced_motion="reduce")
    assert page.evaluate(CONTRAST) == []
    ask(page, "長" * 300 + " " + "x" * 200)
    finished(page)
    page.get_by_text("内訳").click()
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(UNNAMED) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = "[...document.querySelectorAll('button')].filter((b) => b.checkVisibility() && b.offsetHeight < 24).length"
    assert page.evaluate(small) == 0
    assert page.evaluate("document.getAnimations().length") == 0
    heights = page.evaluate("[...document.querySelectorAll('h1, h2')].map((heading) => heading.tagName)")
    assert heights[0] == "H1"


def test_the_page_allows_nothing_from_elsewhere(twin: Running) -> None:
    for path in ("/", "/chat.js", "/chat.css"):
        policy = httpx.get(twin.page + path).headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
