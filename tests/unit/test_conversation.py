"""A whole turn with doubles at its ports: what the shopper sees, what is charged, what is remembered."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mangaassist.capacity.use import Use
from mangaassist.chat.turns import Wish
from mangaassist.routing import policy
from mangaassist.routing.backends import TextDelta
from mangaassist.routing.situation import Capacity, Situation
from tests.unit.fakes import (
    After,
    FakePoster,
    answer,
    cut,
    fails,
    hangs,
    stalls,
    text_of,
)
from tests.unit.house import ALICE, BOB, LONG, POLICY, SIMPLE, House, types


def test_a_turn_begins_with_its_ids_and_ends_with_its_account() -> None:
    house = House({"ondemand-haiku": [answer("二十四", "時間。")]})
    frames = house.ask()
    assert (types(frames)[0], types(frames)[-1]) == ("start", "end")
    assert text_of(frames) == "二十四時間。"
    end = frames[-1]
    assert (end["finish"], end["target"], end["reason"]) == ("complete", "ondemand-haiku", "offpeak_simple")
    assert end["cost_usd"] == pytest.approx((50 * 110 + 2 * 550) / 1e9)
    assert end["first_text_ms"] <= end["total_ms"]
    account = house.world.accounts[0]
    assert sum(attempt.cost_nano_usd for attempt in account.attempts) == 50 * 110 + 2 * 550
    assert house.world.memory[frames[0]["session_id"]].history[1].text == "二十四時間。"


def test_ahead_of_the_days_curve_the_model_is_asked_for_a_short_answer_and_the_account_says_why() -> None:
    house = House({"ondemand-haiku": [answer("はい。")]})
    house.world.situation_now = Situation(committed_nano_usd=POLICY.budget.daily_nano_usd * 85 // 100)
    house.ask(shopper=replace(ALICE, user_class="member"))
    assert house.backend.calls[0].system.startswith(f"{POLICY.answer.system_prompt} {POLICY.answer.short_prompt}")
    assert house.world.accounts[0].user_class == "member"
    assert house.world.accounts[0].tier in ("shorter_answers", "fast_class")
    house.world.situation_now = Situation()
    house.ask("では土曜は?")
    assert POLICY.answer.short_prompt not in house.backend.calls[1].system
    assert house.world.accounts[1].tier == ""


def test_the_next_question_of_a_session_brings_its_history() -> None:
    house = House({"ondemand-haiku": [answer("はい。")]})
    session_id = house.ask()[0]["session_id"]
    house.ask("では土曜は?", session_id=session_id)
    assert [message.text for message in house.backend.calls[1].messages] == [SIMPLE, "はい。", "では土曜は?"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("こんにちは", "bad_json"),
        ("[1]", "bad_json"),
        ({"action": "dance"}, "unknown_action"),
        ({"action": "ask"}, "invalid_field"),
        ({"action": "ask", "message": 5}, "invalid_field"),
        ({"action": "ask", "message": "  "}, "message_empty"),
        ({"action": "ask", "message": "長" * 4001}, "message_too_long"),
        ({"action": "resume", "turn_id": "nobody"}, "turn_unknown"),
    ],
)
def test_bad_input_is_told_and_costs_nothing(body: object, code: str) -> None:
    house = House({})
    (frame,) = house.say(body)
    assert (frame["type"], frame["code"]) == ("error", code)
    assert frame["message"]
    assert frame["reference"]
    assert house.backend.calls == []
    assert house.world.accounts == []
    assert house.world.purse.committed_nano_usd == 0


def test_errors_speak_the_shoppers_language() -> None:
    house = House({})
    japanese = house.ask("長い質問です" * 1000)[0]["message"]
    english = house.ask("a long question " * 1000)[0]["message"]
    assert "文字以内" in japanese
    assert "within 4000 characters" in english


def test_somebody_elses_session_is_refused_without_a_hint() -> None:
    house = House({"ondemand-haiku": [answer("はい。")]})
    session_id = house.ask()[0]["session_id"]
    (frame,) = house.ask(shopper=BOB, session_id=session_id)
    assert frame["code"] == "session_unavailable"
    assert "alice" not in json.dumps(frame)
    assert len(house.backend.calls) == 1


def test_a_user_in_a_hurry_is_told_when_to_come_back() -> None:
    house = House({}, wait_s=2.2)
    (frame,) = house.ask()
    assert (frame["code"], frame["retryable"]) == ("rate_limited", True)
    assert "3" in frame["message"]


def test_a_repeated_message_is_answered_from_the_record_and_calls_no_model() -> None:
    house = House({"ondemand-haiku": [answer("はい。")]})
    first = house.ask(session_id="s", message_id="m")
    second = house.ask(session_id="s", message_id="m")
    assert second == first
    assert len(house.backend.calls) == 1
    assert len(house.world.accounts) == 1


def test_the_same_message_id_of_another_user_is_another_message() -> None:
    house = House({"ondemand-haiku": [answer("はい。")]})
    house.ask(message_id="m")
    house.ask(message_id="m", shopper=BOB)
    assert len(house.backend.calls) == 2


def test_a_cancel_is_heard_within_a_second() -> None:
    house = House({"ondemand-haiku": [answer(*("語" * 200), each_s=0.1)]})
    house.world.wishes.append((house.clock.monotonic() + 2.0, Wish(cancel=True)))
    end = house.ask()[-1]
    assert end["finish"] == "cancelled"
    assert end["total_ms"] <= 3_000
    assert house.backend.streams[0].closed
    assert end["attempts"][0]["outcome"] == "cancelled"
    assert end["cost_usd"] > 0


def test_a_shopper_who_reconnects_gets_the_rest_on_the_new_connection() -> None:
    house = House({"ondemand-haiku": [answer(*("語" * 60), each_s=0.1)]})
    house.poster.gone_after = 3
    wish = Wish(resume_id="1", resume_connection="conn-new", resume_after=2)
    began = house.clock.monotonic()

    class BackAgain(FakePoster):
        def post(self, connection_id: str, data: bytes) -> None:
            self.gone_after = None if connection_id == "conn-new" else 3
            super().post(connection_id, data)

    house.poster.__class__ = BackAgain
    house.world.wishes.append((began + 3.0, wish))
    house.ask()
    received = house.poster.inbox["conn-a"] + house.poster.inbox["conn-new"]
    assert text_of(received) == "語" * 60
    assert received[-1]["finish"] == "complete"


def test_a_shopper_who_stays_away_stops_the_model_and_may_ask_again() -> None:
    house = House({"ondemand-haiku": [answer(*("語" * 400), each_s=0.1)]})
    house.poster.gone_after = 2
    house.ask(message_id="m")
    assert house.clock.monotonic() - house.began < 8
    assert house.backend.streams[0].closed
    assert house.world.accounts[0].attempts[0].cost_nano_usd > 0
    assert house.world.answered == {}, "the message is not counted as answered"


@pytest.mark.parametrize("part", ["situation", "connections", "idempotency", "turns", "ledger"])
def test_with_a_table_out_of_reach_the_shopper_gets_the_catalogue_answer_for_nothing(part: str) -> None:
    house = House({"ondemand-haiku": [answer("はい。")]}, down={part})
    frames = house.ask(message_id="m", session_id="s")
    assert types(frames)[-1] == "end"
    assert frames[-1]["finish"] == "catalogue"
    assert frames[-1]["cost_usd"] == 0
    assert frames[-1]["first_text_ms"] <= 3_000
    assert text_of(frames)
    assert house.backend.calls == []


def test_a_ledger_that_fails_at_the_end_does_not_cost_the_shopper_the_answer() -> None:
    house = House({"ondemand-haiku": [answer("はい。")]})
    house.world.purse.reserve(0, 1)
    reserve = house.world.touch

    def fails_late(part: str, limit_s: float = 1.3) -> None:
        if part == "ledger" and house.backend.calls:
            house.world.down.add("ledger")
        reserve(part, limit_s)

    house.world.touch = fails_late  # type: ignore[method-assign]
    frames = house.ask()
    assert frames[-1]["finish"] == "complete"
    assert house.world.memory, "memory is written all the same"


def test_failures_are_told_to_all_environments() -> None:
    house = House({"ondemand-haiku": [fails("unavailable")]})
    assert house.ask()[-1]["finish"] == "catalogue"
    assert house.world.failures == [("ondemand-haiku", "unavailable")]


def test_a_defect_in_a_turn_ends_it_with_a_reference_and_the_message_may_be_asked_again() -> None:
    house = House({})  # no script for the target: the double raises KeyError
    frames = house.ask(message_id="m")
    assert frames[-1]["type"] == "error"
    assert (frames[-1]["code"], frames[-1]["turn_id"]) == ("internal", frames[0]["turn_id"])
    assert frames[-1]["reference"]
    assert house.world.answered == {}
    assert house.world.accounts[-1].finish == "error"


def test_a_turn_that_began_while_its_session_was_forgotten_leaves_nothing() -> None:
    for script, finish in ((answer("はい。"), "complete"), (fails("unavailable"), "catalogue")):
        house = House({"ondemand-haiku": [script]})
        house.world.forgotten = 1  # after the session was loaded, and before there was a record to find
        assert house.ask(session_id="s")[-1]["finish"] == finish
        assert (house.world.records, house.world.memory) == ({}, {})


def test_a_ping_is_answered() -> None:
    assert House({}).say({"action": "ping"}) == [{"type": "pong"}]


def test_a_turn_that_died_is_told_to_who_resumes_it() -> None:
    house = House({})
    house.world.records["t"] = {"owner": "alice", "deadline_s": house.clock.now_s() - 10}
    (frame,) = house.say({"action": "resume", "turn_id": "t", "after": 4})
    assert (frame["code"], frame["seq"], frame["retryable"]) == ("turn_lost", 5, True)


def test_slow_tables_do_not_hold_up_the_first_text() -> None:
    house = House({"ondemand-haiku": [answer("はい。")]}, store_s=0.7)
    frames = house.ask(message_id="m", session_id="s")
    assert frames[-1]["finish"] == "catalogue"
    assert frames[-1]["first_text_ms"] <= 3_000


def test_logs_carry_no_word_of_what_was_said(caplog: pytest.LogCaptureFixture) -> None:
    House({"ondemand-haiku": [cut("秘密の返事"), answer("秘密の返事")]}).ask("秘密の質問")
    logged = str([record.__dict__ for record in caplog.records])
    assert "turn_id" in logged
    assert "秘密" not in logged


NIGHT = policy.Window(name="business", start="00:00", end="09:00", target="provisioned-haiku", units=1)
NIGHTS = POLICY.model_copy(update={"windows": (NIGHT,)})
HAIKU = Capacity("arn:aws:bedrock:x", 1, 4e9, window="business", day="2026-11-23")
FULL = replace(HAIKU, saturated_until_s=4e9)


def bought(scripts: dict[str, list[list[After]]], capacity: Capacity = HAIKU, down: set[str] | None = None) -> House:
    """A house at an hour for which capacity of the fast class was bought."""
    situation = Situation(capacity={"provisioned-haiku": capacity})
    return House(scripts, policy=NIGHTS, situation_now=situation, down=down or set())


def test_what_a_turn_takes_of_capacity_is_noted() -> None:
    house = bought({"provisioned-haiku": [answer("はい", "。")]})
    end = house.ask()[-1]
    assert (end["target"], end["cost_usd"]) == ("provisioned-haiku", 0)
    assert house.world.uses == [(HAIKU, Use(requests=1, input_tokens=50, output_tokens=2))]


def test_a_turn_that_spilled_over_is_noted_too() -> None:
    throttled = bought({"provisioned-haiku": [fails("throttled")], "ondemand-haiku": [answer("はい")]})
    assert throttled.ask()[-1]["target"] == "ondemand-haiku"
    assert throttled.world.uses == [(HAIKU, Use(throttled=1, spilled=1))]
    kept_off = bought({"ondemand-haiku": [answer("はい")]}, FULL)
    kept_off.ask()
    assert kept_off.world.uses == [(FULL, Use(spilled=1))]


def test_a_turn_that_never_met_capacity_asks_no_table_for_it() -> None:
    house = House({"ondemand-haiku": [answer("はい")]})
    house.ask()
    assert "utilisation" not in house.world.touched


def test_the_use_of_capacity_is_noted_after_everything_that_the_shopper_waits_for() -> None:
    house = bought({"provisioned-haiku": [answer("はい。")]})
    house.ask()
    assert house.world.touched[-1] == "utilisation"
    assert house.poster.at[-1] < house.clock.monotonic()


def test_an_outage_of_the_use_of_capacity_costs_the_shopper_nothing() -> None:
    calm, troubled = (bought({"provisioned-haiku": [answer("はい。")]}, down=down) for down in (set(), {"utilisation"}))
    frames = [house.ask(message_id="m", session_id="s") for house in (calm, troubled)]
    assert [[frame["type"] for frame in each] for each in frames] == [["start", "delta", "end"]] * 2
    assert frames[0][-1]["total_ms"] == frames[1][-1]["total_ms"]
    assert troubled.world.uses == []
    assert troubled.world.accounts[0].attempts == calm.world.accounts[0].attempts
    assert len(troubled.world.memory["s"].history) == 2
    assert "frames" in next(iter(troubled.world.records.values()))


SCRIPTS = {
    "short": answer("答え", "です。"),
    "long": answer(LONG, *("長い答え。" for _ in range(30))),
    "refused": fails(),
    "cut at once": cut("あ"),
    "cut": cut(LONG),
    "silent": hangs(),
    "stalled": stalls(LONG),
    "endless": [After(0.2, TextDelta("語")) for _ in range(200)],
}
NAMES = st.sampled_from(sorted(SCRIPTS))


class Away(FakePoster):
    """The first connection breaks after some posts; another one of the same shopper works."""

    def post(self, connection_id: str, data: bytes) -> None:
        breaks, self.gone_after = self.gone_after, None if connection_id == "conn-new" else self.gone_after
        try:
            super().post(connection_id, data)
        finally:
            self.gone_after = breaks


@settings(max_examples=300, deadline=None)
@given(
    sonnet=NAMES,
    haiku=NAMES,
    down=st.sets(st.sampled_from(["situation", "wishes", "sessions", "ledger", "turns"]), max_size=2),
    refusals=st.integers(0, 4),
    post_s=st.sampled_from([0.01, 0.2, 0.8]),
    gone_after=st.none() | st.integers(1, 6),
    back_s=st.none() | st.integers(0, 9),
    cancel_s=st.none() | st.integers(0, 26),
)
def test_any_schedule_of_faults_ends_in_time_in_one_terminal_frame_and_exact_text(
    sonnet: str,
    haiku: str,
    down: set[str],
    refusals: int,
    post_s: float,
    gone_after: int | None,
    back_s: int | None,
    cancel_s: int | None,
) -> None:
    house = House({"ondemand-sonnet": [SCRIPTS[sonnet]], "ondemand-haiku": [SCRIPTS[haiku]]}, down=down)
    house.poster.__class__ = Away
    house.poster.refusals, house.poster.post_s, house.poster.gone_after = refusals, post_s, gone_after
    began, wish = house.clock.monotonic(), Wish()
    moments: list[tuple[float, dict[str, Any]]] = []
    if gone_after and back_s is not None:
        back = {"resume_id": "1", "resume_connection": "conn-new", "resume_after": -1}
        moments.append((back_s, back))
    if cancel_s is not None:
        moments.append((cancel_s, {"cancel": True}))
    for at_s, change in sorted(moments, key=lambda moment: moment[0]):
        wish = replace(wish, **change)
        house.world.wishes.append((began + at_s, wish))
    house.ask(complexity="complex")
    assert house.clock.monotonic() - began <= 27 + 0.05
    frames = house.poster.inbox["conn-a"] + house.poster.inbox.get("conn-new", [])
    if house.poster.gone_after is None or "conn-new" in house.poster.inbox:
        assert sorted({frame["seq"] for frame in frames}) == list(range(frames[-1]["seq"] + 1)), "no gap"
    assert len({frame["seq"] for frame in frames if frame["type"] in ("end", "error")}) <= 1, "a resume may repeat it"
    if gone_after is None:
        assert types(frames)[-1] == "end"
        assert cancel_s is not None or text_of(frames)
    assert all(stream.closed for stream in house.backend.streams)
    settled = [attempt for account in house.world.accounts for attempt in account.attempts]
    assert len(settled) == (0 if "ledger" in down else len(house.backend.calls)), "every call has its line"
    if "ledger" not in down and types(frames)[-1] == "end":
        assert frames[-1]["cost_usd"] == pytest.approx(sum(a.cost_nano_usd for a in settled) / 1e9)
