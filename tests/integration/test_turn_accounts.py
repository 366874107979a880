"""Whole turns over the real tables: what they leave in each, and that no word of theirs leaves its own place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from mangaassist.capacity.utilisation import Utilisation
from mangaassist.chat.connections import ConnectionStore
from mangaassist.chat.conversation import Conversation
from mangaassist.chat.followup import Followup
from mangaassist.chat.gathering import Stores
from mangaassist.chat.once import Once
from mangaassist.chat.reception import Reception
from mangaassist.chat.research import Research
from mangaassist.chat.sessions import SessionStore
from mangaassist.chat.turn import Shopper
from mangaassist.chat.turns import TurnStore
from mangaassist.clock import Clock
from mangaassist.deadline import Deadline
from mangaassist.knowledge.search import Search
from mangaassist.money.ledger import Ledger
from mangaassist.routing import policy
from mangaassist.routing.estimates import Estimates
from mangaassist.routing.failover import Failover
from mangaassist.routing.store import SituationStore
from tests.integration import tables
from tests.integration.environment import Context
from tests.integration.tables import CONNECTIONS, IDEMPOTENCY, SITUATION, TURNS
from tests.unit.fakes import FakePoster, FakeShelf, ScriptedBackend, answer, cut, text_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.unit.fakes import FakeClock

ALICE = Shopper("alice", "conn-a")
QUESTION = "営業時間は? Zebra"
ANSWER = ("二十四", "時間。Zebra")


class House:
    """The message function's parts over the tables, with a scripted model and a shopper's inbox."""

    def __init__(self, dynamodb: DynamoDBClient, clock: FakeClock) -> None:
        self.dynamodb = dynamodb
        self.clock = clock
        self.backend = ScriptedBackend(clock, {"ondemand-haiku": [answer(*ANSWER)]})
        self.poster = FakePoster(clock)
        situation = SituationStore(
            dynamodb,
            SITUATION,
            default_policy=policy.preset("current"),
            now_s=clock.now_s,
            monotonic=clock.monotonic,
            on_invalid_policy=lambda version, reason: pytest.fail(f"{version}: {reason}"),
        )
        ledger = Ledger(dynamodb, unrepeated=dynamodb, situation_table=SITUATION, turns_table=TURNS, now_s=clock.now_s)
        turns = TurnStore(dynamodb, TURNS, now_s=clock.now_s)
        sessions = SessionStore(dynamodb, TURNS, ttl_days=30, now_s=clock.now_s)
        stores = Stores(
            connections=ConnectionStore(dynamodb, CONNECTIONS, clock.now_s, is_gone=lambda _id: False),
            once=Once(dynamodb, IDEMPOTENCY),
            situation=situation,
            sessions=sessions,
            turns=turns,
            ledger=ledger,
            utilisation=Utilisation(dynamodb, unrepeated=dynamodb, situation_table=SITUATION, now_s=clock.now_s),
            research=Research(Search(cast("Any", FakeShelf(clock)), None, None, clock.monotonic), None),
        )
        followup = Followup(
            turns, sessions, self.poster, now_s=clock.now_s, monotonic=clock.monotonic, sleep=clock.sleep
        )
        conversation = Conversation(
            stores=stores,
            failover=Failover(
                backends={"bedrock": self.backend}, estimates=Estimates(), purse=ledger, probes=situation
            ),
            followup=followup,
            poster=self.poster,
            turns_per_minute=20,
            clock=Clock(clock.now_s, clock.monotonic, clock.sleep),
        )
        self._reception = Reception(conversation, followup, self.poster, sleep=clock.sleep)

    def ask(self, message: str = QUESTION, **fields: str) -> list[dict[str, Any]]:
        """Ask, and give the frames that came back."""
        return self.say(action="ask", message=message, **fields)

    def say(self, **frame: str) -> list[dict[str, Any]]:
        """Send a frame, and give those that came back."""
        inbox = self.poster.inbox.setdefault(ALICE.connection_id, [])
        before, began = len(inbox), self.clock.monotonic()
        deadline = Deadline(at=began + 27, arrived_at=began, monotonic=self.clock.monotonic)
        body = json.dumps(frame, ensure_ascii=False)
        context: Any = Context()
        self._reception.receive(body, ALICE, deadline, context)
        return inbox[before:]

    def rows(self, table: str, prefix: str = "") -> list[dict[str, Any]]:
        return [row for row in tables.everything(self.dynamodb, table) if row.get("pk", "").startswith(prefix)]

    def everything(self) -> str:
        """All that the tables hold, as one text."""
        return str([tables.everything(self.dynamodb, it) for it in (SITUATION, CONNECTIONS, IDEMPOTENCY, TURNS)])

    def spend(self) -> tuple[int, int, int]:
        """Committed and spent nano-dollars, and attempts, of the only day."""
        (row,) = [row for row in self.rows(SITUATION) if row["sk"].startswith("SPEND#")]
        return row["committed_nano_usd"], row["spent_nano_usd"], row["attempts"]


@pytest.fixture
def house(dynamodb: DynamoDBClient, clock: FakeClock) -> House:
    return House(dynamodb, clock)


def test_a_turn_leaves_its_record_its_memory_and_one_exact_line(house: House) -> None:
    frames = house.ask()
    assert text_of(frames) == "".join(ANSWER)
    (turn,) = house.rows(TURNS, "TURN#")
    assert (turn["owner"], turn["status"]) == ("alice", "done")
    assert [json.loads(frame) for frame in turn["frames"]] == frames
    (session,) = [row for row in house.rows(TURNS, "SESSION#") if row["sk"] == "SESSION"]
    assert [entry["text"] for entry in session["history"]] == [QUESTION, "".join(ANSWER)]
    (line,) = house.rows(TURNS, "LEDGER#")
    cost = 50 * 110 + 2 * 550  # what the scripted model counts, at the preset's prices
    assert line["cost_nano_usd"] == cost
    assert frames[-1]["cost_usd"] == pytest.approx(cost / 1e9)
    assert house.spend() == (cost, cost, 1)


def test_every_attempt_of_a_failed_over_turn_is_paid(house: House) -> None:
    house.backend.scripts |= {"ondemand-haiku": [answer("続き。")], "ondemand-sonnet": [cut("始め、")]}
    frames = house.ask("なぜエレンは地鳴らしを選んだのですか?", complexity="complex")
    (line,) = house.rows(TURNS, "LEDGER#")
    assert [(attempt["target"], attempt["outcome"]) for attempt in line["attempts"]] == [
        ("ondemand-sonnet", "cut"),
        ("ondemand-haiku", "answered"),
    ]
    cost = sum(attempt["cost_nano_usd"] for attempt in line["attempts"])
    assert 0 < cost == line["cost_nano_usd"]
    assert house.spend() == (cost, cost, 2)
    assert [attempt["target"] for attempt in frames[-1]["attempts"]] == ["ondemand-sonnet", "ondemand-haiku"]
    (sick,) = [row for row in house.rows(SITUATION) if row["sk"].startswith("HEALTH#")]
    assert (sick["sk"], sick["failures"]) == ("HEALTH#ondemand-sonnet", 1)


def test_a_repeated_message_is_answered_from_the_record_and_costs_nothing(house: House) -> None:
    first = house.ask(message_id="m-1", session_id="s-1")
    before = house.spend()
    assert house.ask(message_id="m-1", session_id="s-1") == first
    assert len(house.backend.calls) == 1
    assert house.spend() == before
    assert len(house.rows(TURNS, "LEDGER#")) == 1


def test_a_message_asked_again_after_its_answer_was_lost_is_paid_both_times(house: House) -> None:
    house.backend.scripts["ondemand-haiku"] = [answer(*("語" * 400), each_s=0.1), answer(*ANSWER)]
    house.poster.gone_after = 2
    house.ask(message_id="m-1", session_id="s-1")
    house.poster.gone_after = None
    frames = house.ask(message_id="m-1", session_id="s-1")
    assert text_of(frames) == "".join(ANSWER)
    lost, found = sorted(house.rows(TURNS, "LEDGER#"), key=lambda line: line["cost_nano_usd"], reverse=True)
    assert lost["turn_id"] == found["turn_id"] == frames[0]["turn_id"]
    cost = lost["cost_nano_usd"] + found["cost_nano_usd"]
    assert house.spend() == (cost, cost, 2)


def test_a_forgotten_session_leaves_no_word_in_any_table_and_keeps_the_accounts(house: House) -> None:
    house.ask(message_id="m-1", session_id="s-1")
    assert house.say(action="forget", session_id="s-1") == [{"type": "forgotten", "session_id": "s-1"}]
    assert "Zebra" not in house.everything()
    assert house.rows(TURNS, "TURN#") == []
    assert len(house.rows(TURNS, "LEDGER#")) == 1
    assert house.ask(message_id="m-1", session_id="s-1")[-1]["code"] == "turn_unknown", "it was answered once"
    assert house.ask(session_id="s-1")[-1]["finish"] == "complete"
    assert house.backend.calls[-1].messages[:-1] == ()


def test_a_session_that_is_forgotten_while_a_turn_runs_stops_it_and_leaves_no_word_of_it(house: House) -> None:
    house.ask(session_id="s-1")
    house.backend.scripts["ondemand-haiku"] = [answer(*(["Zebra"] * 400), each_s=0.1)]
    post = house.poster.post

    def forget_at_the_first_text(connection_id: str, data: bytes) -> None:
        post(connection_id, data)
        if b"delta" in data:
            house.poster.post = post  # type: ignore[method-assign]
            house.say(action="forget", session_id="s-1")

    house.poster.post = forget_at_the_first_text  # type: ignore[method-assign]
    frames = house.ask(session_id="s-1")
    assert (frames[-1]["finish"], frames[-1]["total_ms"] < 3_000) == ("cancelled", True)
    assert "forgotten" in [frame["type"] for frame in frames]
    assert "Zebra" not in house.everything()
    assert len(house.rows(TURNS, "LEDGER#")) == 2, "what was used is paid all the same"


def test_no_word_of_a_turn_enters_accounts_or_logs(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.ask(message_id="m-1", session_id="s-1")
    house.ask(message_id="m-1", session_id="s-1")
    rows = [row for it in (SITUATION, CONNECTIONS, IDEMPOTENCY, TURNS) for row in tables.everything(house.dynamodb, it)]
    kinds = {row.get("pk", "id").split("#")[0] for row in rows}
    holding = [(row["pk"].split("#")[0], row["sk"]) for row in rows if "Zebra" in str(row)]
    assert kinds == {"NOW", "USER", "id", "LEDGER", "TURN", "SESSION"}
    assert sorted(holding) == [("SESSION", "SESSION"), ("TURN", "TURN")]
    logged = [str(vars(record)) for record in caplog.records]
    assert any("offpeak_simple" in entry for entry in logged), "the turn is logged"
    assert not any("Zebra" in entry for entry in logged)
