"""Turns over the wire, with the real handlers: questions, follow-ups, repetitions, and what shoppers do meanwhile."""

from __future__ import annotations

import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import InvalidStatus

from mangaassist.chat.connections import HANDSHAKE_S
from mangaassist.chat.replies import FRAME
from tests.e2e.conftest import Answer, ask, charges, send, until
from tests.e2e.running import Running, frames, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

JAPANESE = "ワンピースは何巻まで出ていますか?"
ENGLISH = "How many volumes of Berserk are out?"


@pytest.fixture
def slow(twin: Running) -> Iterator[None]:
    twin.put("faults", {"ondemand-haiku": {"fault": "slow", "first_token_ms": 50, "token_ms": 30}})
    yield
    twin.delete("faults")


def test_an_answer_streams_in_the_frames_of_the_contract(twin: Running) -> None:
    with twin.connect("anna") as connection:
        answer = ask(connection, JAPANESE)
    for frame in answer.frames:
        FRAME.validate_python(frame)
    assert answer.kinds()[0] == "start"
    assert set(answer.kinds()[1:-1]) == {"delta"}
    assert [frame["seq"] for frame in answer.frames] == list(range(len(answer.frames)))
    assert len(answer.frames) <= 14  # start, end and at most twelve posts of text
    assert answer.text.startswith("【エミュレーター】")
    assert answer.end["finish"] == "complete"
    assert answer.outcomes == [("ondemand-haiku", "answered")]
    assert answer.end["cost_usd"] > 0


def test_answers_are_in_the_questions_language(twin: Running) -> None:
    with twin.connect("anna") as connection:
        assert ask(connection, ENGLISH).text.startswith("[emulated]")


def test_the_body_of_the_brief_works_unchanged(twin: Running) -> None:
    with twin.connect("brief") as connection:
        connection.send(json.dumps({"message": ENGLISH, "session_id": "brief-1", "complexity": "complex"}))
        answer = Answer(list(frames(connection)))
    assert answer.frames[0]["session_id"] == "brief-1"
    assert answer.end["reason"] == "offpeak_complex"


def test_a_session_remembers_and_belongs_to_its_owner(twin: Running) -> None:
    session = f"session-{uuid.uuid4()}"
    with twin.connect("olga") as connection:
        ask(connection, JAPANESE, session_id=session)
        until(lambda: _is_remembered(twin, session))
        follow_up = ask(connection, "次に読むなら?", session_id=session)
    assert f"先ほどの「{JAPANESE}」" in follow_up.text
    before = charges(twin)
    with twin.connect("thief") as connection:
        refused = ask(connection, "続けて", session_id=session).frames
    assert [frame["code"] for frame in refused] == ["session_unavailable"]
    assert JAPANESE not in json.dumps(refused, ensure_ascii=False)
    assert charges(twin) == before


def test_a_repeated_message_is_answered_from_memory(twin: Running) -> None:
    message = {"message_id": f"m-{uuid.uuid4()}", "session_id": f"s-{uuid.uuid4()}"}
    with twin.connect("rita") as connection:
        first = ask(connection, ENGLISH, **message)
        before = charges(twin)
        again = ask(connection, ENGLISH, **message)
    assert again.frames == first.frames
    assert charges(twin) == before


@pytest.mark.usefixtures("slow")
def test_a_message_repeated_while_it_is_answered_joins_the_answer(twin: Running) -> None:
    message = {"message": ENGLISH, "message_id": f"m-{uuid.uuid4()}"}
    with twin.connect("rob") as one, twin.connect("rob") as other:
        send(one, action="ask", **message)
        start = json.loads(one.recv(timeout=5))
        before = charges(twin)["calls"]
        send(other, action="ask", **message)
        joined = list(frames(other))
    assert joined[0] == start
    assert text_of(joined).startswith("[emulated]")
    assert joined[-1]["finish"] == "complete"
    assert charges(twin)["calls"] <= before + 1


@pytest.mark.usefixtures("slow")
def test_a_turn_can_be_resumed_over_another_connection(twin: Running) -> None:
    with twin.connect("rosa") as connection:
        send(connection, action="ask", message=JAPANESE)
        seen = [json.loads(connection.recv(timeout=5)) for _ in range(3)]
    with twin.connect("rosa") as connection:
        send(connection, action="resume", turn_id=seen[0]["turn_id"], after=seen[-1]["seq"])
        rest = list(frames(connection))
    whole = seen + rest
    assert [frame["seq"] for frame in whole] == list(range(len(whole)))
    assert whole[-1]["finish"] == "complete"
    with twin.connect("rosa") as connection:
        send(connection, action="resume", turn_id=seen[0]["turn_id"])
        assert text_of(list(frames(connection))) == text_of(whole)
    with twin.connect("thief") as connection:
        send(connection, action="resume", turn_id=seen[0]["turn_id"])
        assert [frame["code"] for frame in frames(connection)] == ["turn_unknown"]


@pytest.mark.usefixtures("slow")
def test_a_cancel_stops_the_model_within_a_second_and_bills_what_was_used(twin: Running) -> None:
    with twin.connect("carl") as connection:
        send(connection, action="ask", message=JAPANESE)
        seen: list[dict[str, Any]] = []
        while not seen or seen[-1]["type"] != "delta":
            seen.append(json.loads(connection.recv(timeout=5)))
        began = time.monotonic()
        send(connection, action="cancel", turn_id=seen[0]["turn_id"])
        rest = list(frames(connection))
        assert time.monotonic() - began < 1.0
    assert rest[-1]["finish"] == "cancelled"
    assert rest[-1]["attempts"][0]["outcome"] == "cancelled"
    assert rest[-1]["cost_usd"] > 0
    until(lambda: twin.get("state")["emulator"]["active_streams"] == 0)


@pytest.mark.usefixtures("slow")
def test_a_shopper_who_left_stops_the_model(twin: Running) -> None:
    twin.put("faults", {"ondemand-haiku": {"fault": "slow", "first_token_ms": 50, "token_ms": 120}})
    before = charges(twin).get("closed_by_client", 0)
    with twin.connect("gone") as connection:
        send(connection, action="ask", message=JAPANESE)
        turn_id = json.loads(connection.recv(timeout=5))["turn_id"]
    until(lambda: charges(twin)["closed_by_client"] == before + 1, seconds=15)
    until(lambda: any(turn["turn_id"] == turn_id for turn in twin.get("turns")["turns"]))
    (turn,) = (turn for turn in twin.get("turns")["turns"] if turn["turn_id"] == turn_id)
    assert turn["finish"] == "cancelled"
    assert turn["attempts"][0]["estimated"] is True


@pytest.mark.usefixtures("slow")
def test_a_forgotten_session_is_gone_even_while_it_is_answered(twin: Running) -> None:
    session, secret = f"session-{uuid.uuid4()}", f"秘密の{uuid.uuid4().hex[:8]}"
    with twin.connect("fumi") as connection, twin.connect("thief") as other:
        turn_id = ask(connection, f"{secret}を探しています", session_id=session).turn_id
        send(other, action="forget", session_id=session)
        assert json.loads(other.recv(timeout=5)) == {"type": "forgotten", "session_id": session}
        assert secret in ask(connection, "ほかには?", session_id=session).text, "it was not the thief's to forget"
        send(connection, action="ask", message=f"{secret}の続きは?", session_id=session)
        assert json.loads(connection.recv(timeout=5))["type"] == "start"
        with twin.connect("fumi") as second:
            for _ in range(2):
                send(second, action="forget", session_id=session)
                assert json.loads(second.recv(timeout=5)) == {"type": "forgotten", "session_id": session}
            assert list(frames(connection))[-1]["finish"] == "cancelled"
            send(second, action="resume", turn_id=turn_id)
            assert [frame["code"] for frame in frames(second)] == ["turn_unknown"]
        assert secret not in ask(connection, "ほかには?", session_id=session).text
    tables = twin.client("dynamodb")
    assert not [
        name for name in tables.list_tables()["TableNames"] if secret in str(tables.scan(TableName=name)["Items"])
    ]


def test_feedback_and_ping(twin: Running) -> None:
    with twin.connect("fay") as connection:
        answer = ask(connection, ENGLISH)
        send(connection, action="feedback", turn_id=answer.turn_id, rating="up")
        send(connection, action="ping")
        assert json.loads(connection.recv(timeout=5)) == {"type": "pong"}
        send(connection, action="feedback", turn_id="nobody's", rating="up")
        assert [frame["code"] for frame in frames(connection)] in (["turn_unknown"], ["invalid_field"])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("not JSON", "bad_json"),
        ("[]", "bad_json"),
        ('{"action": "dance"}', "unknown_action"),
        ('{"action": "ask", "message": 7}', "invalid_field"),
        ('{"action": "ask", "message": "  "}', "message_empty"),
        (json.dumps({"action": "ask", "message": "長" * 4001}), "message_too_long"),
        ('{"action": "resume", "turn_id": "x", "after": "7"}', "invalid_field"),
        ('{"action": "cancel", "turn_id": "nobody"}', "turn_unknown"),
    ],
)
def test_what_is_wrong_with_a_frame_is_said_and_costs_nothing(twin: Running, body: str, code: str) -> None:
    before = charges(twin), twin.get("state")["spend"]
    with twin.connect("max") as connection:
        connection.send(body)
        (frame,) = frames(connection)
    assert frame["code"] == code
    assert frame["reference"]
    FRAME.validate_python(frame)
    assert (charges(twin), twin.get("state")["spend"]) == before


def test_the_ledger_says_what_the_service_charged(twin: Running) -> None:
    def said() -> dict[str, int]:
        turns = twin.get("turns", limit=1000)["turns"]
        exact = [attempt for turn in turns for attempt in turn["attempts"] if not attempt["estimated"]]
        told = {
            name: sum(attempt[name] for attempt in exact)
            for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
        }
        looked_up = sum(turn["lookup"]["tokens"] for turn in turns if turn["lookup"])
        return told | {"input_tokens": told["input_tokens"] + looked_up}

    def charged() -> dict[str, int]:
        return {name: value for name, value in charges(twin).items() if name in said_before}

    said_before, charged_before = said(), charges(twin)
    with ThreadPoolExecutor(4) as crowd:
        list(crowd.map(lambda user: _one_question(twin, f"ledger-{user}"), range(8)))
    until(lambda: twin.get("state")["emulator"]["active_streams"] == 0)
    until(
        lambda: all(said()[name] - said_before[name] == charged()[name] - charged_before[name] for name in said_before)
    )


def test_the_day_counts_what_turns_cost(twin: Running) -> None:
    before = twin.get("state")["spend"]
    with twin.connect("nora") as connection:
        answer = ask(connection, ENGLISH)
    until(lambda: twin.get("state")["spend"]["attempts"] == before["attempts"] + 1)
    after = twin.get("state")["spend"]
    cost = round(answer.end["cost_usd"] * 1_000_000_000)
    assert after["spent_nano_usd"] - before["spent_nano_usd"] == cost
    assert after["committed_nano_usd"] - before["committed_nano_usd"] == cost


@pytest.mark.parametrize(
    ("query", "options", "status"),
    [
        ("", {}, 401),
        ("?token=forged", {}, 401),
        ("", {"subprotocols": ["mangaassist", "forged"]}, 401),
        ("?token={token}", {"origin": "https://evil.example"}, 403),
    ],
)
def test_strangers_stay_outside(twin: Running, query: str, options: dict[str, Any], status: int) -> None:
    with pytest.raises(InvalidStatus) as refused, twin.connect_with(query.format(token=twin.token("eve")), **options):
        pass
    assert refused.value.response.status_code == status


def test_expired_tokens_stay_outside(twin: Running) -> None:
    token = twin.get("token", user="late", life_s=-600)["token"]
    with pytest.raises(InvalidStatus) as refused, twin.connect_with(f"?token={token}"):
        pass
    assert refused.value.response.status_code == 401


def test_a_user_holds_so_many_connections_and_no_more(twin: Running) -> None:
    with ExitStack() as held:
        for _ in range(5):
            held.enter_context(twin.connect("many"))
        with pytest.raises(InvalidStatus) as refused:
            held.enter_context(twin.connect("many"))
        assert refused.value.response.status_code == 429
    until(lambda: not [c for c in twin.get("state")["connections"] if c["principal"] == "many"])
    with twin.connect("many") as connection:
        assert ask(connection, ENGLISH).end["finish"] == "complete"


def test_connections_that_end_while_tables_are_out_of_reach_lock_nobody_out(twin: Running) -> None:
    with ExitStack() as held:
        for _ in range(5):
            held.enter_context(twin.connect("cut-off"))
        met = sum(twin.get("state")["faults_met"].values())
        twin.put("faults", {"dynamodb": {"fault": "denied"}})
    until(lambda: sum(twin.get("state")["faults_met"].values()) >= met + 5)
    twin.delete("faults")
    with pytest.raises(InvalidStatus), twin.connect("cut-off"):  # for all that is known they may be opening yet
        pass
    twin.put("clock", {"advance_s": HANDSHAKE_S})
    with twin.connect("cut-off") as connection:
        assert ask(connection, ENGLISH).end["finish"] == "complete"


def _is_remembered(twin: Running, session: str) -> bool:
    key = {"pk": {"S": f"SESSION#{session}"}, "sk": {"S": "SESSION"}}
    return "Item" in twin.client("dynamodb").get_item(TableName="TurnsTable", Key=key)


def _one_question(twin: Running, user: str) -> None:
    with twin.connect(user) as connection:
        assert ask(connection, f"{ENGLISH} ({user})").end["finish"] == "complete"
