"""The panel of provisioned capacity, in a real browser."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.e2e.browsing import CONTRAST, UNNAMED
from tests.e2e.conftest import until
from tests.e2e.running import Running, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Locator, Page, Route

    type Visit = Callable[..., Page]

WORKFLOW_MS = 20_000
COUNT_LOOKS = """
  window.begun = window.over = 0; // a look is over when the next one has been set
  const [get, wait] = [window.fetch, window.setTimeout];
  window.fetch = (...all) => (all[0] === "/twin/state" && begun++, get(...all));
  window.setTimeout = (...all) => ([1000, 5000].includes(all[1]) && over++, wait(...all));
"""
NASTY = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def twin() -> Iterator[Running]:
    with running("--pace", "0.2") as twin:
        yield twin


@pytest.fixture
def _dawn(twin: Running) -> None:
    """Three o'clock of the next day, with nothing left of the one before."""
    tomorrow = datetime.fromisoformat(twin.get("clock")["now"]) + timedelta(days=1)
    twin.put("clock", {"now": tomorrow.replace(hour=3, minute=0, second=0).isoformat()})

    def is_gone() -> bool:
        twin.put("clock", {"advance_s": 60})
        return all(it["deleted_at"] for it in twin.get("state")["provisioned"])

    until(is_gone, 30)


def opened(visit: Visit, **options: Any) -> Page:
    """The page in English with its panel open."""
    page = visit(**{"locale": "en-GB", **options})
    page.locator("#capacity-toggle").click()
    expect(page.locator("#capacity-windows > li")).to_have_count(2)
    return page


def window(page: Page, name: str) -> Locator:
    return page.locator(f"#capacity-windows [data-window={name}]")


def phase(page: Page, name: str) -> Locator:
    return window(page, name).locator(".window-phases")


def move(page: Page, name: str, moment: str) -> None:
    """Press the button that moves the clock to a window's moment."""
    window(page, name).locator(f"[data-moment={moment}]").click()


def told(twin: Running, **changes: Any) -> Callable[[Route], None]:
    """Answer as the twin does, but for some facts."""
    document = json.dumps(twin.get("state") | changes)
    return lambda route: route.fulfill(body=document, content_type="application/json")


def purchase(arn: str, status: str = "InService", **more: Any) -> dict[str, Any]:
    bought = {"arn": arn, "status": status, "units": 2, "unit_hours": 1.5, "deleted_at": None}
    dates = {"created_at": "2026-11-25T17:30:00+09:00", "in_service_at": "2026-11-25T17:40:00+09:00"}
    return bought | dates | {"tags": {"mangaassist:window": "peak", "mangaassist:day": "2026-11-25"}} | more


@pytest.mark.usefixtures("_dawn")
def test_a_windows_capacity_is_created_serves_and_is_gone(visit: Visit) -> None:
    page = opened(visit)
    expect(phase(page, "peak")).to_contain_text("not bought")
    expect(page.locator("#capacity-alive")).to_have_text("Nothing is alive now")
    window(page, "peak").get_by_role("button", name="Move the clock to 17:31 (buy)").click()
    expect(phase(page, "peak")).to_have_text("being created, ready about 17:41", timeout=WORKFLOW_MS)
    expect(page.locator("#capacity-alive")).to_contain_text("Alive now: 2 units · 0.0")
    move(page, "peak", "starts")
    expect(phase(page, "peak")).to_have_text("serves until 24:00", timeout=WORKFLOW_MS)
    expect(page.locator("#status")).to_have_text("Peak: serves until 24:00")
    expect(window(page, "peak").locator(".window-meter")).to_contain_text(re.compile(r"2 units · 0\.9\d unit-hours on"))
    assert page.locator("#capacity-bought [data-phase=serving]").count() == 1
    expect(phase(page, "business")).to_contain_text("not bought")
    move(page, "peak", "ends")
    expect(phase(page, "peak")).to_contain_text("draining: no new turns", timeout=WORKFLOW_MS)
    move(page, "peak", "gone")
    expect(phase(page, "peak")).to_have_text("not bought (given back at 00:01)", timeout=WORKFLOW_MS)
    expect(page.locator("#capacity-alive")).to_have_text("Nothing is alive now")


@pytest.mark.usefixtures("_dawn")
def test_operators_notices_are_listed_with_their_message_on_demand(visit: Visit, twin: Running) -> None:
    page = opened(visit)
    twin.put("faults", {"control-plane": {"fault": "create_fails", "count": 1}})
    move(page, "business", "buys")
    expect(phase(page, "business")).to_have_text("being created", timeout=WORKFLOW_MS)
    move(page, "business", "starts")
    newest = page.locator("#capacity-notices > li").first
    expect(newest).to_contain_text(re.compile(r"\d\d/\d\d 09:00 .* for business"), timeout=WORKFLOW_MS)
    expect(phase(page, "business")).to_have_text("not bought (could not be created, deleted)")
    expect(newest.locator("p")).to_be_hidden()
    newest.locator("summary").press("Enter")
    expect(newest.locator("p")).to_contain_text("Billed now: nothing of ours")
    move(page, "business", "ends")  # what is drawn anew stays open
    expect(page.locator("#capacity-now")).to_contain_text("18:00:")
    expect(newest.locator("p")).to_be_visible()


@pytest.mark.usefixtures("_dawn")
def test_it_speaks_the_pages_language(visit: Visit) -> None:
    page = opened(visit, locale="ja-JP")
    expect(window(page, "peak")).to_contain_text("混雑時 18:00–24:00")
    expect(phase(page, "peak")).to_contain_text("購入なし")
    expect(page.get_by_role("button", name="時計を 17:31 へ（購入）")).to_be_visible()
    page.get_by_role("button", name="English").click()
    expect(window(page, "peak")).to_contain_text("Peak 18:00–24:00")
    expect(phase(page, "peak")).to_contain_text("not bought")
    expect(page.get_by_role("button", name="Real time")).to_be_visible()


@pytest.mark.usefixtures("_dawn")
def test_the_clock_moves_on_and_back_to_real_time(visit: Visit, twin: Running) -> None:
    page = opened(visit)
    before = datetime.fromisoformat(twin.get("clock")["now"])
    times = page.locator(".window-moments b").all_inner_texts()
    assert times == ["08:31", "09:00", "18:00", "18:01", "17:31", "18:00", "24:00", "00:01⁺¹"]
    expect(page.get_by_role("img")).to_have_attribute("aria-label", re.compile(r"Business 09:00–18:00.*Now 03:"))
    move(page, "business", "gone")
    expect(page.locator("#capacity-now")).to_contain_text("18:01:")
    expect(page.locator("#capacity-moved")).to_have_text("clock moved")
    window(page, "peak").get_by_role("button", name="Move the clock to 17:31 tomorrow (buy)").press("Enter")
    expect(page.locator("#capacity-now")).to_contain_text("17:31:")
    assert datetime.fromisoformat(twin.get("clock")["now"]).date() == before.date() + timedelta(days=1)
    page.get_by_role("button", name="Real time").click()
    expect(page.locator("#capacity-moved")).to_have_text("real time")
    assert twin.get("clock")["moved"] is False


def test_a_clock_that_cannot_be_moved_says_why(visit: Visit) -> None:
    page = opened(visit)
    page.evaluate(
        """() => {
          const real = window.fetch;
          const refusal = { error: "real endpoints are in use" };
          const refuse = async () => Response.json(refusal, { status: 400 }); // a route's would be an error of the page
          window.fetch = (...all) => (all[0] === "/twin/clock" ? refuse() : real(...all));
        }"""
    )
    move(page, "peak", "starts")
    expect(page.locator("#capacity-trouble")).to_have_text("real endpoints are in use")


def test_it_stays_as_it_was_left(visit: Visit) -> None:
    page = visit(locale="en-GB")
    toggle, body = page.locator("#capacity-toggle"), page.locator("#capacity-body")
    expect(toggle).to_contain_text(re.compile(r"Capacity\s+\d\d:\d\d · "))
    expect(body).to_be_hidden()
    assert toggle.evaluate("(it) => it.offsetHeight") < 40  # one line
    toggle.press("Enter")
    expect(toggle).to_have_attribute("aria-expanded", "true")
    page.reload()
    expect(body).to_be_visible()
    toggle.press("Enter")
    page.reload()
    expect(toggle).to_be_visible()
    expect(body).to_be_hidden()
    expect(toggle).to_have_attribute("aria-expanded", "false")


def test_it_looks_often_when_open_seldom_when_closed_and_never_while_nobody_sees_it(visit: Visit) -> None:
    page = visit()
    page.clock.install()
    page.add_init_script(COUNT_LOOKS)
    page.reload()

    def looks_in(seconds: int) -> int:
        """How often it looks in so many seconds, each look given the time that it takes."""
        until(lambda: page.evaluate("begun > 0 && begun === over"))
        before = page.evaluate("begun")
        for _ in range(seconds):
            page.clock.run_for(1000)
            until(lambda: page.evaluate("begun === over"))
        return int(page.evaluate("begun") - before)

    def turn(hidden: bool) -> None:
        page.evaluate(f"Object.defineProperty(document, 'hidden', {{value: {json.dumps(hidden)}, configurable: true}})")
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    assert looks_in(20) in (3, 4)
    page.locator("#capacity-toggle").click()
    assert looks_in(10) in (9, 10)
    turn(hidden=True)
    assert looks_in(20) == 0
    turn(hidden=False)
    assert looks_in(10) in (9, 10)


def test_where_there_is_no_twin_there_is_no_panel(visit: Visit) -> None:
    page = visit()
    expect(page.locator("#capacity")).to_be_visible()
    page.route("**/twin/state", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    with page.expect_response("**/twin/state"):
        page.reload()
    expect(page.locator("#connection")).to_have_attribute("data-state", "open")
    expect(page.locator("#capacity")).to_be_hidden()


@pytest.mark.parametrize(
    ("row", "bought", "text"),
    [
        ({"arn": "a", "until_s": 1795618800, "saturated_until_s": 1795605000}, purchase("a"), "full, what spills over"),
        ({"arn": "a", "until_s": 1795618800, "saturated_until_s": 1795600000}, purchase("a"), "serves until 24:00"),
        ({"arn": "a", "until_s": 1795604300}, purchase("a"), "ended at 19:58, about to be given back"),
        ({"draining": {"a": 1795604435.5}}, purchase("a"), "given back after 20:00:35"),
        ({"draining": {}}, purchase("a"), "created, not in use yet"),
        ({"draining": {}}, purchase("a", "Failed", in_service_at=None), "could not be created"),
    ],
)
def test_each_state_has_its_words(visit: Visit, twin: Running, row: Any, bought: Any, text: str) -> None:
    page = opened(visit)
    clock = {"now": "2026-11-25T20:00:00.000+09:00", "moved": True}
    answer = told(twin, clock=clock, provisioned=[bought], situation={"CAPACITY#peak": row})
    page.route("**/twin/state", answer)
    expect(phase(page, "peak")).to_contain_text(text)
    expect(window(page, "peak").locator(".window-meter")).to_have_text("2 units · 1.50 unit-hours on 11/25")


def test_what_is_told_is_text_and_never_markup(visit: Visit, twin: Running) -> None:
    page = opened(visit)
    windows = [{"name": NASTY, "start": "22:00", "end": "02:00", "target": NASTY, "units": 1}]
    notices = [{"at": "2026-11-25T09:00:00+09:00", "subject": NASTY, "message": NASTY}]
    stray = purchase("a", tags={})
    page.route("**/twin/state", told(twin, windows=windows, notices=notices, provisioned=[stray]))
    expect(page.locator("#capacity-windows > li")).to_have_count(1)
    expect(page.locator("#capacity-windows > li")).to_contain_text(NASTY)
    expect(page.locator("#capacity-notices > li")).to_contain_text(NASTY)
    expect(page.locator("#capacity-plan span")).to_have_count(2)  # both sides of midnight
    expect(page.locator("#capacity-alive")).to_have_text(
        "Alive now: 2 units · 1.50 unit-hours · 2 of them outside the windows"
    )
    assert page.locator("#capacity img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1100, 1440])
def test_everything_in_it_is_named_readable_and_moves_nothing(
    visit: Visit, twin: Running, scheme: str, width: int
) -> None:
    page = visit(color_scheme=scheme, viewport={"width": width, "height": 700}, reduced_motion="reduce")
    expect(page.locator("#capacity-line")).not_to_be_empty()
    places = (
        "['main', 'h2', 'form', '#examples'].map((it) => document.querySelector(it).getBoundingClientRect().toJSON())"
    )
    before = page.evaluate(places)
    notice = {"at": "2026-11-25T09:00:00+09:00", "subject": "long " * 30, "message": "x" * 300}
    page.route("**/twin/state", told(twin, notices=[notice] * 3))
    page.locator("#capacity-toggle").click()
    page.locator("#capacity-notices summary").first.click()
    assert page.evaluate(places) == before
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(UNNAMED) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    body = page.locator("#capacity-body")
    assert body.evaluate("(it) => it.scrollWidth <= it.clientWidth")
    small = "(it) => [...it.querySelectorAll('button, summary')].filter((one) => one.offsetHeight < 24).length"
    assert body.evaluate(small) == 0
    assert page.evaluate("document.getAnimations().length") == 0
    beside = page.evaluate("document.querySelector('#capacity').getBoundingClientRect().left") >= before[3]["right"]
    assert beside == (width == 1440)
