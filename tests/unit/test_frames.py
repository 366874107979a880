"""What clients may send is read or refused by name, and what they get can be read again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mangaassist.chat import replies
from mangaassist.chat.frames import Ask, Cancel, Feedback, Forget, Ping, Request, Resume, encode, parse
from mangaassist.chat.replies import FRAME
from mangaassist.errors import InvalidRequest

CODES = {"bad_json", "unknown_action", "invalid_field"}
FIELDS = {"action", "message", "session_id", "message_id", "complexity", "turn_id", "after", "rating"}


def refusal(body: str | None) -> tuple[str, dict[str, Any]]:
    with pytest.raises(InvalidRequest) as caught:
        parse(body)
    assert not caught.value.retryable
    return caught.value.code, caught.value.detail


def ask(**fields: Any) -> str:
    return json.dumps({"action": "ask", "message": "?", **fields})


# ---- what is read


@pytest.mark.parametrize(
    ("body", "request_"),
    [
        ('{"action": "ask", "message": "おすすめは?"}', Ask(message="おすすめは?")),
        (
            '{"message": "a", "session_id": "s", "complexity": "complex"}',
            Ask(message="a", session_id="s", complexity="complex"),
        ),
        ('{"message": "a"}', Ask(message="a")),
        ('{"action": "ask", "message": ""}', Ask(message="")),
        (
            '{"action": "ask", "message": "a", "session_id": null, "message_id": "m.1:2_3-4"}',
            Ask(message="a", message_id="m.1:2_3-4"),
        ),
        ('{"action": "resume", "turn_id": "t"}', Resume(action="resume", turn_id="t")),
        ('{"action": "resume", "turn_id": "t", "after": 3}', Resume(action="resume", turn_id="t", after=3)),
        ('{"action": "cancel", "turn_id": "t"}', Cancel(action="cancel", turn_id="t")),
        (
            '{"action": "feedback", "turn_id": "t", "rating": "up"}',
            Feedback(action="feedback", turn_id="t", rating="up"),
        ),
        ('{"action": "forget", "session_id": "s"}', Forget(action="forget", session_id="s")),
        ('{"action": "ping"}', Ping(action="ping")),
        (' \n{"action": "ping"}\t', Ping(action="ping")),
    ],
)
def test_a_clients_frame_is_read(body: str, request_: Request) -> None:
    assert parse(body) == request_


@pytest.mark.parametrize(
    ("complexity", "hint"),
    [("simple", 0.0), ("complex", 1.0), (0, 0.0), (1, 1.0), (0.42, 0.42), (-0.0, 0.0), (None, None)],
)
def test_the_hint_is_a_number(complexity: Any, hint: float | None) -> None:
    request = parse(ask(complexity=complexity))
    assert isinstance(request, Ask)
    assert request.hint == hint


def test_unknown_fields_are_ignored() -> None:
    body = {"action": "cancel", "turn_id": "t", "message": ["not", "a", "question"], "x": {"y": None}, "\ud800": 1}
    assert parse(json.dumps(body)) == Cancel(action="cancel", turn_id="t")


def test_of_a_field_given_twice_the_last_counts() -> None:
    assert parse('{"message": 1, "action": "ping", "action": "ask", "message": "b"}') == Ask(message="b")


@pytest.mark.parametrize("text", ["\x00", "\u202e", "👩‍👩‍👧", "𠮷野家", "e\u0301", "\U0010ffff", "a" * 30_000])
def test_any_text_may_be_a_question(text: str) -> None:
    assert parse(ask(message=text)) == Ask(message=text)


def test_half_a_character_is_not_text() -> None:
    """A client that cuts a text between the halves of an emoji sends one; nothing could store or forward it."""
    request = parse('{"message": "いいね\\ud83d"}')
    assert isinstance(request, Ask)
    assert request.message == "いいね\ufffd"


# ---- what is refused


@pytest.mark.parametrize(
    "body",
    [
        None,
        "",
        " ",
        "hello",
        "{",
        '{"action": "ask"',
        "{'action': 'ping'}",
        '{"action": "ping"}{"action": "ping"}',
        '\ufeff{"action": "ping"}',
        "null",
        "true",
        "1",
        "NaN",
        '"ping"',
        '["ping"]',
        "[" * 100_000,
        '{"message": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"action": "ping", "x": ' + '{"x": ' * 50_000 + "1" + "}" * 50_001,
        '{"action": "resume", "turn_id": "t", "after": ' + "9" * 5_000 + "}",  # CPython reads no such number
        '{"message": "a\nb"}',
        '{"message": "\\x"}',
    ],
    ids=lambda body: repr(body)[:40],
)
def test_what_is_no_json_object_is_bad_json(body: str | None) -> None:
    assert refusal(body) == ("bad_json", {})


@pytest.mark.parametrize(
    "action",
    ["", "ASK", "ask ", "connect", "\ud800", "ask\x00", "あ" * 1000, None, True, 1, 1.5, float("nan"), [], ["ask"], {}],
)
def test_an_action_that_is_not_known_is_named_so(action: Any) -> None:
    assert refusal(json.dumps({"action": action, "message": "?", "turn_id": "t"})) == ("unknown_action", {})


@pytest.mark.parametrize("body", ["{}", '{"turn_id": "t"}', '{"Message": "?"}', '{"session_id": "s"}'])
def test_without_action_and_message_there_is_no_action(body: str) -> None:
    assert refusal(body) == ("unknown_action", {})


BAD_IDS = ["", "-a", "a b", "a\n", "a/b", "é", "１", "\ud800", "a" * 129, 1, 1.5, True, [], {}]


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("message", [None, 1, 0.5, True, [], ["?"], {}, {"text": "?"}]),
        ("session_id", BAD_IDS),
        ("message_id", BAD_IDS),
        ("complexity", ["", "Simple", "0.5", -0.01, 1.01, 10**400, True, False, [], {}, float("nan"), float("inf")]),
    ],
)
def test_a_wrong_field_of_a_question_is_named(field: str, values: list[Any]) -> None:
    for value in values:
        assert refusal(ask(**{field: value})) == ("invalid_field", {"field": field}), value


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"action": "ask"}', "message"),
        ('{"action": "resume"}', "turn_id"),
        ('{"action": "resume", "turn_id": null}', "turn_id"),
        ('{"action": "cancel"}', "turn_id"),
        ('{"action": "forget"}', "session_id"),
        ('{"action": "cancel", "turn_id": "a b"}', "turn_id"),
        ('{"action": "feedback", "turn_id": "t"}', "rating"),
        ('{"action": "feedback", "rating": "up"}', "turn_id"),
        ('{"action": "feedback", "turn_id": "t", "rating": "UP"}', "rating"),
        ('{"action": "feedback", "turn_id": "t", "rating": true}', "rating"),
    ],
)
def test_a_wrong_field_of_another_frame_is_named(body: str, field: str) -> None:
    assert refusal(body) == ("invalid_field", {"field": field})


@pytest.mark.parametrize(
    "after", ["true", "false", "null", "-2", "0.5", "1.0", "1e3", "1e400", "NaN", '"1"', "[]", "9" * 30, "9" * 4000]
)
def test_after_is_a_number_that_a_turn_can_have(after: str) -> None:
    body = f'{{"action": "resume", "turn_id": "t", "after": {after}}}'
    assert refusal(body) == ("invalid_field", {"field": "after"})


# ---- whatever comes


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ACTIONS = st.sampled_from(["ask", "resume", "cancel", "feedback", "ping"])
NEAR_FRAMES = st.fixed_dictionaries(
    {}, optional={field: (ACTIONS if field == "action" else st.just("t")) | JSON for field in sorted(FIELDS)}
)


def served_or_refused(body: str) -> None:
    """A frame is read into what can be stored and forwarded, or refused with a stable code: nothing else happens."""
    refused: InvalidRequest | None = None
    try:
        request = parse(body)
    except InvalidRequest as error:
        refused = error
    else:
        json.dumps(request.model_dump(), ensure_ascii=False, allow_nan=False).encode()
    if refused:
        assert refused.code in CODES
        assert set(refused.detail) == ({"field"} if refused.code == "invalid_field" else set())
        assert set(refused.detail.values()) <= FIELDS


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    served_or_refused(data.decode("utf-8", "surrogateescape"))


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_is_read_or_refused(text: str) -> None:
    served_or_refused(text)


@given(JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    served_or_refused(json.dumps(value))


@given(NEAR_FRAMES, st.booleans())
def test_anything_like_a_frame_is_read_or_refused(body: dict[str, Any], ascii_: bool) -> None:
    served_or_refused(json.dumps(body, ensure_ascii=ascii_))


# ---- what clients get


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


TEXT = st.text(max_size=40)
NUMBER = st.integers(min_value=0, max_value=10**9)
TOKENS = st.builds(replies.Tokens, **dict.fromkeys(list(replies.Tokens.model_fields)[:4], NUMBER))
COST = st.floats(min_value=0, max_value=1e3)
ATTEMPTS = st.builds(replies.AttemptLine, first_text_ms=optional(NUMBER), usage=TOKENS, cost_usd=COST)
OUT = st.one_of(
    st.builds(replies.Start),
    st.builds(replies.Delta),
    st.builds(replies.Continue),
    st.builds(replies.Restart),
    st.builds(
        replies.End,
        attempts=st.lists(ATTEMPTS, max_size=3),
        usage=TOKENS,
        citations=st.lists(st.builds(replies.Citation), max_size=2),
        cost_usd=COST,
    ),
    st.builds(replies.Error, turn_id=st.none(), seq=st.none()),
    st.builds(replies.Error, turn_id=TEXT, seq=NUMBER),
    st.builds(replies.Pong),
)


@given(OUT)
def test_frames_come_out_as_they_went_in(frame: replies.Frame) -> None:
    assert FRAME.validate_json(encode(frame.model_dump(exclude_none=not isinstance(frame, replies.End)))) == frame


def test_japanese_goes_out_short_and_readable() -> None:
    assert encode({"type": "delta", "text": "寄生獣 📚"}) == '{"type":"delta","text":"寄生獣 📚"}'.encode()


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "delta", "turn_id": "t", "text": "a"},
        {"type": "delta", "turn_id": "t", "seq": -1, "text": "a"},
        {"type": "delta", "turn_id": "t", "seq": 1, "text": "a", "extra": 1},
        {"type": "error", "turn_id": "t", "code": "c", "message": "m", "retryable": True, "reference": "r"},
        {"type": "error", "seq": 1, "code": "c", "message": "m", "retryable": True, "reference": "r"},
        {"type": "finished"},
        {},
    ],
)
def test_a_frame_that_breaks_the_contract_is_none(frame: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        FRAME.validate_python(frame)
