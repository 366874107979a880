"""The console in a real browser: a fallback is understood by watching one."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import TimeoutError, expect

from tests.e2e.browsing import CONTRAST, UNNAMED
from tests.e2e.conftest import OFF_PEAK, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Locator, Page, Position

    from tests.e2e.running import Running

SEEN_MS = 30_000
REACHED_MS = 5_000
THUMB_PX = 16  # of Chromium's sliders
LAST_MINUTE = 1439
SONNET = "ondemand-sonnet"
TITAN = "amazon.titan-embed-text-v2:0"
FLOOR = 1e-6  # of the budget, where the curve's logarithmic scale begins


@pytest.fixture(autouse=True)
def _at_night(twin: Running) -> Iterator[None]:
    twin.put("clock", {"now": OFF_PEAK})
    yield
    twin.put("clock", {"now": OFF_PEAK})


@pytest.fixture
def console(visit: Callable[..., Page]) -> Page:
    page = visit(path="console")
    expect(page.locator("#switches li")).not_to_have_count(0, timeout=SEEN_MS)
    return page


def newest(page: Page) -> Locator:
    return page.locator("#turns li[data-turn]").first


def ask(page: Page, number: int) -> None:
    """Ask a sample question, and wait until its turn is drawn."""
    before = page.locator("#turns li[data-turn]").count()
    page.locator("#questions button").nth(number).click()
    until(lambda: page.locator("#turns li[data-turn]").count() > before and page.locator(".running").count() == 0, 30)


def drag(page: Page, minute: int) -> None:
    """Drag the clock to a minute of its day, as near as a pixel is."""
    slider = page.locator("#minute")
    slider.hover(position=place_of(slider, int(slider.input_value())), timeout=REACHED_MS)
    box, place = slider.bounding_box(), place_of(slider, minute)
    assert box
    page.mouse.down()
    page.mouse.move(box["x"] + place["x"], box["y"] + place["y"], steps=5)
    page.mouse.up()


def place_of(slider: Locator, minute: int) -> Position:
    """Where in the slider the middle of its thumb is at a minute."""
    box = slider.bounding_box()
    assert box
    return {"x": THUMB_PX / 2 + (box["width"] - THUMB_PX) * minute / LAST_MINUTE, "y": box["height"] / 2}


def test_a_fallback_is_seen_as_two_attempts_of_one_turn(console: Page, twin: Running) -> None:
    console.get_by_label(SONNET).select_option("unavailable")
    until(lambda: SONNET in twin.get("faults"))
    ask(console, 1)
    expect(newest(console).locator(".chain")).to_contain_text(
        re.compile(rf"offpeak_complex · {SONNET}:unavailable → ondemand-haiku:answered")
    )
    expect(newest(console).locator(".failed")).to_have_count(1)
    expect(newest(console).locator(".fast")).to_have_count(1)
    console.locator("#mend").click()
    until(lambda: not twin.get("faults"))
    expect(console.get_by_label(SONNET)).to_have_value("", timeout=SEEN_MS)


def test_a_model_that_fails_again_and_again_is_seen_to_be_left_out(console: Page) -> None:
    console.get_by_label(SONNET).select_option("unavailable")
    for _ in range(3):
        ask(console, 1)
    row = console.locator(f"#switches li[data-key={SONNET}]")
    expect(row.locator(".health")).to_have_attribute("data-open", "true", timeout=SEEN_MS)
    ask(console, 1)
    expect(newest(console).locator(".attempt.failed")).to_have_count(0)


def test_the_clock_that_is_dragged_into_a_window_shows_it_and_buys_for_it(console: Page, twin: Running) -> None:
    drag(console, 17 * 60 + 36)
    expect(console.locator("#now")).to_have_text(re.compile(r"17:3\d"), timeout=SEEN_MS)
    until(lambda: twin.get("state")["provisioned"], 60)
    drag(console, 17 * 60 + 58)  # what was asked for is there by now
    until(lambda: "provisioned-sonnet" in twin.get("state")["capacity"], 60)
    drag(console, 18 * 60 + 1)
    expect(console.locator("#now")).to_have_text(re.compile(r"18:0\d"), timeout=SEEN_MS)
    expect(console.locator("#windows i.serves")).to_have_count(1, timeout=SEEN_MS)
    expect(console.locator("#capacity .good")).to_contain_text("18:00", timeout=SEEN_MS)
    until(lambda: asked_of(console) == "peak_complex · provisioned-sonnet:answered", 60)


def asked_of(page: Page) -> str:
    """Ask the complex question; the way of its turn."""
    ask(page, 1)
    return newest(page).locator(".chain").inner_text()


def test_a_clock_that_is_covered_cannot_be_dragged(console: Page, twin: Running) -> None:
    console.locator("header").evaluate("it => Object.assign(it.style, { position: 'fixed', inset: 0 })")
    with pytest.raises(TimeoutError):
        drag(console, 12 * 60)
    assert twin.get("clock")["now"] < OFF_PEAK.replace("T03", "T12")


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("dynamodb", {"fault": "slow", "first_token_ms": 1}),
        ("search", {"fault": "garbage"}),
        ("gateway", {"fault": "denied"}),
        (SONNET, {"fault": "error_event"}),
        ("sagemaker-custom", {"fault": "not_ready"}),
        ("ssm", {"fault": "throttle"}),
        ("control-plane", {"fault": "create_fails"}),
        (TITAN, {"fault": "cut"}),
    ],
)
def test_whatever_fails_is_seen_to_fail_and_can_be_mended(
    console: Page, twin: Running, key: str, fault: dict[str, Any]
) -> None:
    twin.put("faults", {key: fault})
    row = console.locator(f"#switches li[data-key='{key}']")
    expect(row).to_have_attribute("data-failing", "true", timeout=SEEN_MS)
    expect(row.locator("select")).to_have_value(fault["fault"])
    expect(row.locator("option:checked")).not_to_have_text(fault["fault"], timeout=SEEN_MS)  # but told in words
    expect(console.locator("#switches li[data-failing=true]")).to_have_count(1)
    row.locator("select").select_option("")
    until(lambda: not twin.get("faults"))
    expect(console.locator("#switches li[data-failing=true]")).to_have_count(0, timeout=SEEN_MS)


def test_money_and_shares_grow_with_what_is_asked(console: Page) -> None:
    ask(console, 0)
    spent = console.locator("#spent").inner_text()
    ask(console, 1)
    expect(console.locator("#spent")).not_to_have_text(spent, timeout=SEEN_MS)
    expect(console.locator("#targets")).to_contain_text("ondemand-haiku")
    expect(console.locator("#curve path.spent")).to_have_count(1)


def test_the_curve_reaches_what_is_spent_by_however_many_turns(console: Page, twin: Running) -> None:
    ask(console, 1)
    console.route("**/twin/turns?*", lambda route: route.fulfill(json={"turns": []}))
    expect(console.locator("#none")).to_be_visible(timeout=SEEN_MS)
    twin.put("clock", {"now": OFF_PEAK.replace("T03", "T23")})  # later than any turn of these tests
    spend = twin.get("state")["spend"]
    assert spend["spent_nano_usd"] > FLOOR * spend["limit_nano_usd"]
    height = 4 + 84 * math.log(spend["spent_nano_usd"] / spend["limit_nano_usd"]) / math.log(FLOOR)
    until(lambda: end_of_curve(console) == pytest.approx(height, abs=0.01), 30)


def end_of_curve(page: Page) -> float:
    return float((page.locator("#curve path.spent").get_attribute("d") or "").rpartition(",")[2])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 420])
def test_it_can_be_read_in_both_languages_on_wide_and_narrow_screens(
    visit: Callable[..., Page], twin: Running, scheme: str, width: int
) -> None:
    twin.put("faults", {TITAN: {"fault": "error_event"}})
    page = visit(path="console", color_scheme=scheme, viewport={"width": width, "height": 900})
    expect(page.locator("#switches li[data-failing=true]")).to_have_count(1, timeout=SEEN_MS)
    for _ in range(2):
        assert page.evaluate(UNNAMED) == []
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
        page.locator("#language").click()


def test_no_word_of_a_question_is_shown(console: Page) -> None:
    ask(console, 2)
    assert "料理の漫画を" not in console.locator("#lines").inner_text()
