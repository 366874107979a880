"""Windows as they occur on JST days: when capacity is bought, used and given back."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mangaassist.capacity.windows import next_occurrence, occurrence, occurrence_at
from mangaassist.jst import JST
from mangaassist.routing.policy import LONGEST_WINDOW_MINUTES, Window

DAY = date(2026, 11, 25)
LONGEST_LEAD_MINUTES = 90  # template.yaml, CapacityLeadMinutes
NO_LEAD, LEAD = timedelta(), timedelta(minutes=30)


def window(start: str = "18:00", end: str = "24:00") -> Window:
    return Window(name="peak", start=start, end=end, target="provisioned-sonnet", units=2)


def at(clock: str, day: date = DAY) -> datetime:
    hours, minutes = map(int, clock.split(":"))
    return datetime(day.year, day.month, day.day, hours, minutes, tzinfo=JST)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    start, length = draw(st.integers(0, 1439)), draw(st.integers(1, LONGEST_WINDOW_MINUTES))
    end = (start + length) % 1440
    return window(f"{start // 60:02d}:{start % 60:02d}", f"{end // 60:02d}:{end % 60:02d}")


LEADS = st.integers(0, LONGEST_LEAD_MINUTES).map(lambda minutes: timedelta(minutes=minutes))
INSTANTS = st.integers(0, 7 * 86_400).map(lambda seconds: at("00:00") + timedelta(seconds=seconds))


def test_capacity_is_bought_before_its_window_and_kept_to_its_end() -> None:
    found = occurrence(window(), DAY, LEAD)
    assert (found.opens, found.starts, found.ends) == (at("17:30"), at("18:00"), at("00:00", date(2026, 11, 26)))
    assert found.hours == 6.5


def test_a_window_that_crosses_midnight_belongs_to_the_day_on_which_it_starts() -> None:
    late, tomorrow = window("22:00", "02:00"), date(2026, 11, 26)
    found = occurrence_at(late, at("01:59", tomorrow), LEAD)
    assert found is not None
    assert (found.day, found.ends) == (DAY, at("02:00", tomorrow))
    assert occurrence_at(late, at("02:00", tomorrow), LEAD) is None


@pytest.mark.parametrize(("start", "opens"), [("00:00", "23:30"), ("00:10", "23:40")])
def test_a_lead_may_reach_into_the_day_before(start: str, opens: str) -> None:
    early, yesterday = window(start, "06:00"), date(2026, 11, 24)
    found = occurrence_at(early, at(opens, yesterday), LEAD)
    assert found is not None
    assert (found.day, found.opens) == (DAY, at(opens, yesterday))


def test_the_first_instant_belongs_to_a_window_and_the_last_one_does_not() -> None:
    instant = timedelta(microseconds=1)
    assert occurrence_at(window(), at("17:30") - instant, LEAD) is None
    assert occurrence_at(window(), at("17:30"), LEAD) is not None
    midnight = at("00:00", date(2026, 11, 26))
    assert occurrence_at(window(), midnight - instant, LEAD) is not None
    assert occurrence_at(window(), midnight, LEAD) is None


def test_the_next_occurrence_is_the_one_under_way_until_it_ends() -> None:
    assert next_occurrence(window(), at("12:00"), LEAD).day == DAY
    assert next_occurrence(window(), at("23:59"), LEAD).day == DAY
    assert next_occurrence(window(), at("00:00", date(2026, 11, 26)), LEAD).day == date(2026, 11, 26)


def test_of_a_window_over_before_now_the_next_days_is_next() -> None:
    assert next_occurrence(window("09:00", "18:00"), at("18:00"), LEAD).day == date(2026, 11, 26)


@given(wanted=windows(), now=INSTANTS, lead=LEADS)
def test_no_instant_lies_in_two_occurrences(wanted: Window, now: datetime, lead: timedelta) -> None:
    days = (now.date() + timedelta(days=step) for step in range(-3, 4))
    holding = [it for it in (occurrence(wanted, day, lead) for day in days) if it.opens <= now < it.ends]
    assert len(holding) <= 1, "or one window would be bought twice at once"
    assert occurrence_at(wanted, now, lead) == next(iter(holding), None)


@given(wanted=windows(), now=INSTANTS)
def test_turns_and_purchases_agree_on_every_minute_of_a_window(wanted: Window, now: datetime) -> None:
    found = occurrence_at(wanted, now, NO_LEAD)
    assert (found is not None) == wanted.contains(now.hour * 60 + now.minute)


@given(wanted=windows(), now=INSTANTS, lead=LEADS)
def test_the_next_occurrence_ends_after_now_and_none_before_it_does(
    wanted: Window, now: datetime, lead: timedelta
) -> None:
    found = next_occurrence(wanted, now, lead)
    assert found.ends > now
    assert occurrence(wanted, found.day - timedelta(days=1), lead).ends <= now
