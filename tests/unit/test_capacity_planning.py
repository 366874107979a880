"""What an execution does about a window, rule by rule: money is spent once, and nothing is left over."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from mangaassist.capacity import planning
from mangaassist.capacity.planning import HELD, SERVES, Decision, Facts, decide, strays
from mangaassist.capacity.register import Record, Row
from mangaassist.capacity.windows import occurrence
from mangaassist.capacity.workflow import Request
from tests.unit.purchases import DAY, LEAD, PEAK, arn, at, purchase

if TYPE_CHECKING:
    from mangaassist.capacity.control_plane import Purchase

OCCURRENCE = occurrence(PEAK, datetime.fromisoformat(DAY).date(), LEAD)
KEEP, OPEN, CLOSE = (Request(action=action, window="peak") for action in ("keep", "open", "close"))
BOUGHT = purchase()
COMMITTED = purchase(commitment="OneMonth", committed_until_s=at("24:00") + 20 * 86_400)
PUBLISHED = Row(fence=3, arn=BOUGHT.arn, until_s=at("24:00"))
DRAINING = Row(fence=4, draining={BOUGHT.arn: at("19:01")})
UNBOUGHT = Record("peak", DAY)


def facts(*purchases: Purchase, **changes: Any) -> Facts:
    """The middle of a live window for which nothing was bought."""
    found = Facts(
        occurrence=OCCURRENCE,
        row=Row(fence=2),
        record=UNBOUGHT,
        purchases=purchases,
        mode="live",
        now_s=at("19:00"),
        lead_s=LEAD.total_seconds(),
    )
    return replace(found, **changes)


CLOSED_WINDOW = {"occurrence": None, "record": None}


def of(state: str, **changes: Any) -> Record:
    return replace(UNBOUGHT, state=state, **changes)


# -- opening -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["live", "dry-run"])
@pytest.mark.parametrize("request_", [KEEP, OPEN])
def test_what_is_wanted_and_missing_is_opened(request_: Request, mode: str) -> None:
    assert decide(request_, facts(mode=mode)) == Decision(opens=True)


@pytest.mark.parametrize("request_", [KEEP, OPEN])
def test_what_an_execution_that_died_has_bought_is_taken_over_and_not_bought_again(request_: Request) -> None:
    assert decide(request_, facts(BOUGHT, record=of("creating"))) == Decision(opens=True, existing=BOUGHT)


@pytest.mark.parametrize("request_", [KEEP, OPEN])
def test_what_serves_is_left_alone(request_: Request) -> None:
    assert decide(request_, facts(BOUGHT, row=PUBLISHED, record=of("serving"))) == Decision(note=SERVES)


def test_a_window_whose_end_was_moved_is_published_anew() -> None:
    decision = decide(KEEP, facts(BOUGHT, row=replace(PUBLISHED, until_s=at("23:00")), record=of("serving")))
    assert decision == Decision(opens=True, existing=BOUGHT)


@pytest.mark.parametrize("request_", [KEEP, OPEN])
def test_outside_its_window_nothing_is_opened(request_: Request) -> None:
    assert decide(request_, facts(**CLOSED_WINDOW)) == Decision(note="its window is closed")


@pytest.mark.parametrize("request_", [KEEP, OPEN])
def test_nothing_is_opened_while_provisioning_is_off(request_: Request) -> None:
    assert decide(request_, facts(mode="off")) == Decision(note="provisioning is off")


@pytest.mark.parametrize("purchases", [(), (BOUGHT,)])
def test_an_execution_that_is_at_it_is_not_disturbed_by_the_schedule(purchases: tuple[Purchase, ...]) -> None:
    tended = of("creating", tended_until_s=at("19:00") + 1)
    assert decide(KEEP, facts(*purchases, record=tended)) == Decision(note="another execution is at it")
    dead = of("creating", tended_until_s=at("19:00"))
    assert decide(KEEP, facts(*purchases, record=dead)).opens, "who does not come back counts as dead"


def test_somebody_who_opens_by_hand_takes_over_from_whoever_is_at_it() -> None:
    assert decide(OPEN, facts(record=of("creating", tended_until_s=at("19:03")))).opens


@pytest.mark.parametrize("state", sorted(HELD))
def test_money_is_not_spent_twice_a_day_without_somebody_having_looked(state: str) -> None:
    assert decide(KEEP, facts(record=of(state))) == Decision(
        note=f"it is {state} for today; open it by hand to buy again"
    )
    assert decide(OPEN, facts(record=of(state))) == Decision(opens=True)


@pytest.mark.parametrize("state", ["dry_run", "refused"])
def test_a_dry_run_reports_once_a_day(state: str) -> None:
    note = "a dry run has reported on it already"
    assert decide(KEEP, facts(mode="dry-run", record=of(state))) == Decision(note=note)
    assert decide(OPEN, facts(mode="dry-run", record=of(state))) == Decision(opens=True)


@pytest.mark.parametrize("state", ["dry_run", "refused"])
def test_what_was_refused_or_rehearsed_is_tried_again_when_it_may_be_bought(state: str) -> None:
    assert decide(KEEP, facts(mode="live", record=of(state))).opens


def test_the_last_minutes_of_a_window_are_not_worth_a_purchase() -> None:
    note = "the window ends too soon to be worth it"
    assert decide(KEEP, facts(now_s=at("23:30"))).opens
    assert decide(KEEP, facts(now_s=at("23:30") + 1)) == Decision(note=note)
    assert decide(KEEP, facts(BOUGHT, now_s=at("23:59"))).existing == BOUGHT, "what is paid for may still be used"
    assert decide(OPEN, facts(now_s=at("23:59"))).opens, "by hand it is somebody's decision"


# -- closing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [KEEP, OPEN])
def test_what_is_alive_after_its_window_is_closed(request_: Request) -> None:
    decision = decide(request_, facts(BOUGHT, row=PUBLISHED, **CLOSED_WINDOW))
    assert decision.closing == ((BOUGHT, "its window has ended"),)
    assert not decision.opens


@pytest.mark.parametrize("request_", [KEEP, OPEN])
def test_what_another_day_left_goes_before_anything_is_bought(request_: Request) -> None:
    old = purchase(2, day="2026-11-24", created_s=at("17:30", "2026-11-24"))
    decision = decide(request_, facts(old))
    assert decision == Decision(closing=((old, "its window has ended"),), note="what is left over goes first")


def test_of_duplicates_the_first_stays() -> None:
    second = purchase(2)
    decision = decide(KEEP, facts(BOUGHT, second))
    assert decision.closing == ((second, "there is another one for this window"),)


def test_of_duplicates_the_one_that_serves_stays() -> None:
    older, serving = purchase(2, created_s=at("17:00")), BOUGHT
    decision = decide(KEEP, facts(older, serving, row=PUBLISHED))
    assert decision.closing == ((older, "there is another one for this window"),)


@pytest.mark.parametrize("request_", [KEEP, OPEN])
def test_when_provisioning_is_switched_off_what_is_there_goes(request_: Request) -> None:
    decision = decide(request_, facts(BOUGHT, mode="off", row=PUBLISHED))
    assert decision.closing == ((BOUGHT, "provisioning is off"),)


@pytest.mark.parametrize("mode", ["dry-run", "live"])
def test_what_was_bought_while_live_is_used_to_the_end_of_its_window(mode: str) -> None:
    assert decide(KEEP, facts(BOUGHT, mode=mode)) == Decision(opens=True, existing=BOUGHT)


@pytest.mark.parametrize("state", sorted(HELD))
def test_the_schedule_finishes_what_a_closing_began(state: str) -> None:
    decision = decide(KEEP, facts(BOUGHT, record=of(state)))
    assert decision.closing == ((BOUGHT, f"its window is {state} for today"),)
    assert decide(OPEN, facts(BOUGHT, record=of(state))) == Decision(opens=True, existing=BOUGHT)


@pytest.mark.parametrize("request_", [KEEP, OPEN])
def test_what_was_withdrawn_is_closed_and_never_opened_again(request_: Request) -> None:
    decision = decide(request_, facts(BOUGHT, row=DRAINING, record=of("creating")))
    assert decision.closing == ((BOUGHT, "it was withdrawn"),)
    assert not decision.opens


def test_what_was_withdrawn_does_not_hide_the_purchase_that_took_its_place() -> None:
    second = purchase(2)
    decision = decide(KEEP, facts(BOUGHT, second, row=DRAINING, record=of("serving")))
    assert decision.closing == ((BOUGHT, "it was withdrawn"),)
    after = decide(KEEP, facts(second, row=replace(DRAINING, arn=second.arn, until_s=at("24:00"))))
    assert after.note == SERVES


@pytest.mark.parametrize("mode", ["live", "dry-run", "off"])
def test_closing_by_hand_closes_all_of_a_window_in_every_mode(mode: str) -> None:
    second = purchase(2, day="2026-11-24")
    decision = decide(CLOSE, facts(BOUGHT, second, mode=mode, row=PUBLISHED, record=of("serving")))
    assert decision == Decision(closing=((BOUGHT, "closed by hand"), (second, "closed by hand")))


def test_closing_what_is_not_there_says_so() -> None:
    assert decide(CLOSE, facts()) == Decision(note="there is nothing to close")


# -- commitments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [KEEP, OPEN, CLOSE])
def test_a_committed_purchase_is_withdrawn_when_its_window_ends(request_: Request) -> None:
    decision = decide(request_, facts(COMMITTED, row=PUBLISHED, **CLOSED_WINDOW))
    assert [closed for closed, _ in decision.closing] == [COMMITTED]


@pytest.mark.parametrize("request_", [KEEP, OPEN, CLOSE])
def test_a_committed_purchase_that_was_withdrawn_is_not_closed_again_on_every_tick(request_: Request) -> None:
    assert decide(request_, facts(COMMITTED, row=DRAINING, **CLOSED_WINDOW)).closing == ()


def test_a_retained_purchase_does_not_keep_the_next_day_from_its_own() -> None:
    assert decide(KEEP, facts(COMMITTED, row=DRAINING)) == Decision(opens=True)


def test_a_committed_purchase_goes_when_its_term_is_over() -> None:
    over = replace(COMMITTED, committed_until_s=at("19:00"))
    assert decide(KEEP, facts(over, row=DRAINING)).closing == ((over, "it was withdrawn"),)


# -- the sweep ---------------------------------------------------------------------------------------------------------


def test_a_stray_is_whatever_no_window_wants_now() -> None:
    wanted = frozenset({("peak", DAY)})
    yesterday, unknown, untagged = purchase(2, day="2026-11-24"), purchase(3, window="lunch"), purchase(4, window="")
    assert strays((BOUGHT, yesterday, unknown, untagged), wanted, set(), at("19:00")) == (yesterday, unknown, untagged)
    assert strays((BOUGHT,), set(), set(), at("19:00")) == (BOUGHT,)


def test_a_committed_purchase_that_was_withdrawn_is_no_stray_until_its_term_is_over() -> None:
    assert strays((COMMITTED,), set(), {COMMITTED.arn}, at("19:00")) == ()
    over = replace(COMMITTED, committed_until_s=at("19:00"))
    assert strays((over,), set(), {COMMITTED.arn}, at("19:00")) == (over,)


def test_a_committed_purchase_that_no_window_wants_is_withdrawn_and_reported_once() -> None:
    assert strays((COMMITTED,), set(), set(), at("19:00")) == (COMMITTED,)


def test_whether_a_window_is_served_is_judged_by_what_turns_see_and_not_by_what_is_left_to_do() -> None:
    left_over = purchase(2, day="2026-11-24")
    assert planning.is_served(facts(BOUGHT, left_over, row=PUBLISHED))
    assert not planning.is_served(facts(left_over, row=PUBLISHED)), "what is published has to be there"
    assert not planning.is_served(facts(BOUGHT)), "and what is there has to be published"
    assert not planning.is_served(facts(BOUGHT, row=replace(PUBLISHED, arn=arn(9))))
