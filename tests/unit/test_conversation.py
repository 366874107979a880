"""A whole turn with doubles at its ports: what the shopper sees, what is charged, what is remembered."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mangaassist.capacity.use import Use
from mangaassist.chat.conversation import Conversation
from mangaassist.chat.followup import Followup
from mangaassist.chat.gathering import Stores
from mangaassist.chat.reception import Reception
from mangaassist.chat.replies import FRAME
from mangaassist.chat.research import Research
from mangaassist.chat.sessions import Session
from mangaassist.chat.turn import Shopper
from mangaassist.chat.turns import Record, Wish
from mangaassist.clock import Clock
from mangaassist.deadline import Deadline
from mangaassist.errors import InvalidRequest, StoreUnavailable
from mangaassist.knowledge import catalogue
from mangaassist.knowledge.cache.kept import KeptAnswers
from mangaassist.knowledge.product import Product
from mangaassist.knowledge.search import Search
from mangaassist.routing import policy
from mangaassist.routing.backends import Message, TextDelta
from mangaassist.routing.estimates import Estimates
from mangaassist.routing.failover import Failover
from mangaassist.routing.situation import Capacity, Situation
from mangaassist.routing.store import View
from tests.unit.fakes import (
    After,
    FakeClock,
    FakePoster,
    FakeProbes,
    FakePurse,
    FakeShelf,
    MemoryAnswers,
    ScriptedBackend,
    answer,
    cut,
    fails,
    hangs,
    stalls,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mangaassist.money.ledger import TurnAccount

POLICY = policy.preset("current")
PRODUCTS = {
    work.id: Product(work, volumes=10, price_yen=500 + place, stock=9, synopsis_ja="物語")
    for place, work in enumerate(catalogue.works().values())
}
ALICE, BOB = Shopper("alice", "conn-a"), Shopper("bob", "conn-b")
SIMPLE = "営業時間は?"
LONG = "これは二十四文字よりもずっと長い最初の回答の文です。"


@dataclass
class World:
    """Every table in memory; `down` names those out of reach."""

    clock: FakeClock
    scripts: dict[str, list[list[After]]]
    situation_now: Situation = field(default_factory=Situation)
    down: set[str] = field(default_factory=set)
    wait_s: float = 0.0
    wishes: list[tuple[float, Wish]] = field(default_factory=list)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    memory: dict[str, Session] = field(default_factory=dict)
    accounts: list[TurnAccount] = field(default_factory=list)
    uses: list[tuple[Capacity, Use]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    answered: dict[str, str] = field(default_factory=dict)
    purse: FakePurse = field(default_factory=FakePurse)
    store_s: float = 0.005
    policy: policy.Policy = POLICY
    touched: list[str] = field(default_factory=list)

    def touch(self, part: str, limit_s: float = 1.3) -> None:
        self.touched.append(part)
        self.clock.sleep(limit_s if part in self.down else self.store_s)
        if part in self.down:
            raise StoreUnavailable(part)

    # the situation table
    def view(self) -> View:
        self.touch("situation")
        return View(self.situation_now, self.policy, 0)

    def note_failure(self, target: str, outcome: str, view: View) -> None:
        self.touch("situation")
        self.failures.append((target, outcome))

    def note_success(self, target: str, view: View) -> None:
        self.touch("situation")

    # the connections table
    def admit_turn(self, user_id: str, per_minute: int, burst: int) -> float:
        self.touch("connections")
        return self.wait_s

    # idempotency
    def run(self, key: str, work: Callable[[], None], context: object) -> str:
        self.touch("idempotency")
        if key in self.answered:
            return self.answered[key]
        self.answered[key] = "running"
        try:
            work()
        except BaseException:
            del self.answered[key]
            raise
        self.answered[key] = "repeated"
        return "done"

    # the turns table
    def begin(self, turn_id: str, **fields: Any) -> None:
        self.touch("turns")
        self.records[turn_id] = {**fields, "deadline_s": self.clock.now_s() + fields["left_s"]}

    def wish(self, turn_id: str) -> Wish:
        self.touch("wishes", 0.6)
        return next((wish for at_s, wish in reversed(self.wishes) if at_s <= self.clock.monotonic()), Wish())

    def finish(self, turn_id: str, frames: list[str]) -> Wish:
        self.touch("turns")
        self.records[turn_id]["frames"] = list(frames)
        return self.wish(turn_id)

    def resume(self, turn_id: str, owner: str, *, wish_id: str, connection_id: str, after: int) -> Record:
        record = self.records.get(turn_id)
        if record is None or record["owner"] != owner:
            raise InvalidRequest("turn_unknown")
        return Record("frames" in record, record.get("frames", []), record["deadline_s"])

    # sessions
    def load(self, session_id: str, owner: str, history_tokens: int) -> Session:
        self.touch("sessions")
        session = self.memory.get(session_id, Session(session_id, owner))
        if session.owner != owner:
            raise InvalidRequest("session_unavailable")
        return session

    def append(
        self, session: Session, question: str, answer: str, history_tokens: int, *, in_time: Callable[[], bool]
    ) -> None:
        if not in_time():
            return
        self.touch("sessions")
        exchange = (Message("user", question), Message("assistant", answer))
        self.memory[session.id] = replace(session, history=(*session.history, *exchange))

    # the ledger
    def settle(self, account: TurnAccount, *, in_time: Callable[[], bool]) -> None:
        if not in_time():
            raise StoreUnavailable("late")
        self.touch("ledger", 0.6)
        self.accounts.append(account)

    # the use of published capacity
    def note(self, capacity: Capacity, use: Use) -> None:
        self.touch("utilisation", 0.6)
        self.uses.append((capacity, use))


class House:
    """The message function's application over a world."""

    def __init__(self, scripts: dict[str, list[list[After]]], **world: Any) -> None:
        self.clock = FakeClock()
        self.world = World(self.clock, scripts, **world)
        self.poster = FakePoster(self.clock)
        self.backend = ScriptedBackend(self.clock, scripts)
        fake = cast("Any", self.world)
        clock = Clock(self.clock.now_s, self.clock.monotonic, self.clock.sleep)
        followup = Followup(fake, self.poster, now_s=clock.now_s, monotonic=clock.monotonic, sleep=clock.sleep)
        self.shelf, self.answers = FakeShelf(self.clock, dict(PRODUCTS)), MemoryAnswers(self.clock)
        search = Search(cast("Any", self.shelf), None, None, self.clock.monotonic)
        research = Research(search, KeptAnswers(self.answers, cast("Any", self.shelf), clock))
        conversation = Conversation(
            stores=Stores(fake, fake, _SituationPort(self.world), fake, fake, fake, fake, research),  # type: ignore[arg-type]
            failover=Failover(
                backends={"bedrock": self.backend},
                estimates=Estimates(),
                purse=_PursePort(self.world),
                probes=FakeProbes(),
            ),
            followup=followup,
            poster=self.poster,
            turns_per_minute=20,
            clock=clock,
        )
        self.reception = Reception(conversation, followup, self.poster, sleep=clock.sleep)

    def say(self, body: object, shopper: Shopper = ALICE) -> list[dict[str, Any]]:
        """Send a frame and give what came back to this shopper's connection for it."""
        inbox = self.poster.inbox.setdefault(shopper.connection_id, [])
        before = len(inbox)
        began = self.clock.monotonic()
        self.began = began
        deadline = Deadline(at=began + 27, arrived_at=began, monotonic=self.clock.monotonic)
        text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        self.reception.receive(text, shopper, deadline, cast("Any", None))
        frames = inbox[before:]
        for frame in frames:
            FRAME.validate_python(frame)
        return frames

    def ask(self, message: str = SIMPLE, shopper: Shopper = ALICE, **fields: Any) -> list[dict[str, Any]]:
        return self.say({"action": "ask", "message": message, **fields}, shopper)


@dataclass
class _SituationPort:
    world: World

    @property
    def policy(self) -> policy.Policy:
        return self.world.policy

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)


@dataclass
class _PursePort:
    world: World

    def reserve(self, nano_usd: int, limit_nano_usd: int) -> Any:
        self.world.touch("ledger")
        return self.world.purse.reserve(nano_usd, limit_nano_usd)


def types(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["type"] for frame in frames]


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
