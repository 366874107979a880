"""What a session remembers: whole exchanges within a budget, for one owner, whoever else writes at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mangaassist.chat.sessions import DAY_S, FORGETTING_S, Session, SessionStore, trim
from mangaassist.errors import InvalidRequest, StoreUnavailable
from mangaassist.routing.backends import Message
from mangaassist.tokens import estimate
from tests.integration import tables
from tests.integration.tables import TURNS, interleaved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.integration.tables import Door
    from tests.unit.fakes import FakeClock

TTL_DAYS = 30
PLENTY = 100_000
BURST = 10  # turns that a shopper may ask at once, with the template's 20 a minute
fresh = map("session-{}".format, count())


@pytest.fixture
def sessions(dynamodb: DynamoDBClient, clock: FakeClock) -> SessionStore:
    return SessionStore(dynamodb, TURNS, ttl_days=TTL_DAYS, now_s=clock.now_s)


def exchange(question: str, answer: str) -> tuple[Message, Message]:
    return Message("user", question), Message("assistant", answer)


def said(history: Sequence[Message]) -> list[str]:
    """The questions of a history whose every question has its answer."""
    assert [message.role for message in history] == ["user", "assistant"] * (len(history) // 2)
    questions, answers = history[::2], history[1::2]
    assert [f"answer to {question.text}" for question in questions] == [answer.text for answer in answers]
    return [question.text for question in questions]


def remember(sessions: SessionStore, session: Session, question: str, most: int = PLENTY) -> None:
    sessions.append(session, question, f"answer to {question}", most)


# -- remembering -------------------------------------------------------------------------------------------------------


def test_exchanges_are_remembered_in_their_order(sessions: SessionStore) -> None:
    for question in ("進撃の巨人は?", "作者は?", "the next volume?"):
        remember(sessions, sessions.load("s", "alice", PLENTY), question)
    assert said(sessions.load("s", "alice", PLENTY).history) == ["進撃の巨人は?", "作者は?", "the next volume?"]


def test_whoever_loaded_a_session_can_tell_that_it_was_forgotten(sessions: SessionStore) -> None:
    name = next(fresh)
    loaded = sessions.load(name, "alice", PLENTY)
    assert not sessions.was_forgotten(loaded)
    remember(sessions, loaded, "first")
    assert not sessions.was_forgotten(loaded), "another turn remembered something, that is all"
    sessions.forget(name, "alice")
    assert sessions.was_forgotten(loaded)
    remember(sessions, sessions.load(name, "alice", PLENTY), "afterwards")
    assert sessions.was_forgotten(loaded)


def test_a_session_that_nobody_has_yet_is_empty_and_writes_nothing(
    sessions: SessionStore, dynamodb: DynamoDBClient
) -> None:
    assert sessions.load("s", "alice", PLENTY) == Session("s", "alice")
    assert tables.everything(dynamodb, TURNS) == []


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choices=st.lists(st.integers(0, 3), max_size=24), begun=st.booleans())
def test_turns_that_end_at_the_same_time_forget_nothing_of_each_other(
    sessions: SessionStore, door: Door, choices: list[int], begun: bool
) -> None:
    session_id = next(fresh)
    if begun:
        remember(sessions, sessions.load(session_id, "alice", PLENTY), "earlier")

    def turn(question: str) -> None:
        remember(sessions, sessions.load(session_id, "alice", PLENTY), question)

    interleaved(door, choices, *(partial(turn, f"question {number}") for number in range(3)))
    history = said(sessions.load(session_id, "alice", PLENTY).history)
    assert history[:1] == (["earlier"] if begun else history[:1])
    assert sorted(history) == ["earlier"] * begun + ["question 0", "question 1", "question 2"]


def test_a_burst_of_turns_forgets_nothing(sessions: SessionStore) -> None:
    session = sessions.load("s", "alice", PLENTY)
    with ThreadPoolExecutor(BURST) as pool:
        list(pool.map(lambda number: remember(sessions, session, f"question {number}"), range(BURST)))
    assert sorted(said(sessions.load("s", "alice", PLENTY).history)) == [f"question {n}" for n in range(BURST)]


# -- forgetting --------------------------------------------------------------------------------------------------------


def test_what_exceeds_the_budget_is_forgotten_from_the_oldest_on(sessions: SessionStore) -> None:
    size = sum(estimate(message.text) for message in exchange("question 0", "answer to question 0"))
    for number in range(6):
        remember(sessions, sessions.load("s", "alice", 3 * size), f"question {number}", 3 * size)
    assert said(sessions.load("s", "alice", 3 * size).history) == ["question 3", "question 4", "question 5"]
    assert said(sessions.load("s", "alice", 2 * size).history) == ["question 4", "question 5"], "a new, smaller budget"


TEXTS = st.text(st.sampled_from("漫画 manga。"), max_size=12)


@given(exchanges=st.lists(st.tuples(TEXTS, TEXTS), max_size=8), most=st.integers(0, 60))
def test_a_trimmed_history_is_the_longest_end_of_whole_exchanges_that_fits(
    exchanges: list[tuple[str, str]], most: int
) -> None:
    history = [message for pair in exchanges for message in exchange(*pair)]
    ends = [tuple(history[start:]) for start in range(0, len(history) + 1, 2)]
    fitting = [end for end in ends if sum(estimate(message.text) for message in end) <= most]
    trimmed = trim(history, most)
    if longest := max(fitting, key=len):
        assert trimmed == longest
        return
    assert len(trimmed) in (0, 2), "of a newest exchange that is too long, a part"
    for part, whole in zip(trimmed, history[-2:], strict=False):
        assert part.role == whole.role
        assert part.text.strip()
        assert whole.text.startswith(part.text)


def test_an_expired_session_starts_afresh_even_before_the_table_has_deleted_it(
    sessions: SessionStore, dynamodb: DynamoDBClient, clock: FakeClock
) -> None:
    remember(sessions, sessions.load("s", "alice", PLENTY), "old")
    assert tables.get(dynamodb, TURNS, "SESSION#s", "SESSION")["expires_at"] == int(clock.now_s()) + TTL_DAYS * DAY_S
    clock.sleep(TTL_DAYS * DAY_S)
    session = sessions.load("s", "alice", PLENTY)
    assert session.history == ()
    remember(sessions, session, "new")
    assert said(sessions.load("s", "alice", PLENTY).history) == ["new"]


def test_every_exchange_prolongs_a_session(sessions: SessionStore, clock: FakeClock) -> None:
    for number in range(3):
        remember(sessions, sessions.load("s", "alice", PLENTY), f"question {number}")
        clock.sleep((TTL_DAYS - 1) * DAY_S)
    assert len(said(sessions.load("s", "alice", PLENTY).history)) == 3


def test_two_turns_that_find_the_session_expired_both_count(sessions: SessionStore, clock: FakeClock) -> None:
    remember(sessions, sessions.load("s", "alice", PLENTY), "old")
    clock.sleep(TTL_DAYS * DAY_S)
    first, second = sessions.load("s", "alice", PLENTY), sessions.load("s", "alice", PLENTY)
    remember(sessions, first, "one")
    remember(sessions, second, "two")
    assert said(sessions.load("s", "alice", PLENTY).history) == ["one", "two"]


# -- whose session it is -----------------------------------------------------------------------------------------------


def test_the_session_of_another_is_refused_and_reveals_nothing(sessions: SessionStore) -> None:
    remember(sessions, sessions.load("s", "alice", PLENTY), "a secret")
    with pytest.raises(InvalidRequest) as refusal:
        sessions.load("s", "mallory", PLENTY)
    assert (refusal.value.code, refusal.value.retryable, refusal.value.detail) == ("session_unavailable", False, {})
    assert "alice" not in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_an_id_whose_session_has_expired_is_anybodys(sessions: SessionStore, clock: FakeClock) -> None:
    remember(sessions, sessions.load("s", "alice", PLENTY), "a secret")
    clock.sleep(TTL_DAYS * DAY_S)
    session = sessions.load("s", "bob", PLENTY)
    assert session == Session("s", "bob")
    remember(sessions, session, "mine")
    assert said(sessions.load("s", "bob", PLENTY).history) == ["mine"]
    with pytest.raises(InvalidRequest):
        sessions.load("s", "alice", PLENTY)


def test_an_id_that_became_anothers_meanwhile_is_left_to_them(sessions: SessionStore) -> None:
    """The turn is answered by then: there is nothing to tell its shopper, and nothing of it to remember."""
    late = sessions.load("s", "mallory", PLENTY)
    remember(sessions, sessions.load("s", "alice", PLENTY), "mine")
    remember(sessions, late, "theirs")
    assert said(sessions.load("s", "alice", PLENTY).history) == ["mine"]


# -- forgotten on request ----------------------------------------------------------------------------------------------


def test_a_forgotten_session_is_empty_and_can_be_begun_again(sessions: SessionStore, dynamodb: DynamoDBClient) -> None:
    remember(sessions, sessions.load("s", "alice", PLENTY), "a secret")
    for _ in range(2):
        sessions.forget("s", "alice")
        assert sessions.load("s", "alice", PLENTY).history == ()
    assert "secret" not in str(tables.everything(dynamodb, TURNS))
    remember(sessions, sessions.load("s", "alice", PLENTY), "new")
    assert said(sessions.load("s", "alice", PLENTY).history) == ["new"]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choices=st.lists(st.integers(0, 3), max_size=16), begun=st.booleans())
def test_a_turn_that_began_before_never_writes_into_a_forgotten_session(
    sessions: SessionStore, door: Door, choices: list[int], begun: bool
) -> None:
    session_id = next(fresh)
    if begun:
        remember(sessions, sessions.load(session_id, "alice", PLENTY), "earlier")
    loaded = sessions.load(session_id, "alice", PLENTY)
    interleaved(
        door,
        choices,
        partial(remember, sessions, loaded, "meanwhile"),
        partial(remember, sessions, loaded, "at the same time"),
        partial(sessions.forget, session_id, "alice"),
    )
    assert sessions.load(session_id, "alice", PLENTY).history == ()


def test_what_is_left_of_a_forgotten_session_holds_no_text_and_expires_in_minutes(
    sessions: SessionStore, dynamodb: DynamoDBClient, clock: FakeClock
) -> None:
    remember(sessions, sessions.load("s", "alice", PLENTY), "a secret")
    sessions.forget("s", "alice")
    row = tables.get(dynamodb, TURNS, "SESSION#s", "SESSION")
    assert (row["history"], row["expires_at"]) == ([], int(clock.now_s()) + FORGETTING_S)
    clock.sleep(FORGETTING_S)
    remember(sessions, sessions.load("s", "bob", PLENTY), "mine")
    assert said(sessions.load("s", "bob", PLENTY).history) == ["mine"]


def test_nobody_can_have_the_session_of_another_forgotten(sessions: SessionStore) -> None:
    remember(sessions, sessions.load("s", "alice", PLENTY), "mine")
    sessions.forget("s", "mallory")
    assert said(sessions.load("s", "alice", PLENTY).history) == ["mine"]


def test_a_table_out_of_reach_is_told(sessions: SessionStore, door: Door) -> None:
    session = sessions.load("s", "alice", PLENTY)
    door.close()
    with pytest.raises(StoreUnavailable):
        sessions.load("s", "alice", PLENTY)
    with pytest.raises(StoreUnavailable):
        remember(sessions, session, "lost")
    with pytest.raises(StoreUnavailable):
        sessions.forget("s", "alice")
