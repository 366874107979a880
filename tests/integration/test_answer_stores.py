"""One contract for every place that keeps answers: the table, and Redis in each way that it is reached."""

from __future__ import annotations

import base64
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest

from mangaassist.knowledge.cache.answers import MOST_WORDINGS, to_fields
from tests.integration import answer_places
from tests.integration.answer_places import RedisPlace, TablePlace, answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mangaassist.knowledge.cache.answers import Answer, AnswerStore

LIMIT_S = 5.0  # of a test, that it may run on a busy machine
LEASE_S = 0.3
CLAIMANTS = 50
TURNS = 64  # that one process may run at once


@pytest.fixture(scope="module", params=answer_places.NAMES)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisPlace | TablePlace]:
    with answer_places.running(request.param, tmp_path_factory.mktemp(request.param)) as place:
        yield place


@pytest.fixture
def place(running: RedisPlace | TablePlace) -> Iterator[RedisPlace | TablePlace]:
    running.empty()
    yield running
    running.close()


@pytest.fixture
def store(place: RedisPlace | TablePlace) -> AnswerStore:
    return place.store()


def read(store: AnswerStore, bucket: str = "b") -> dict[str, Answer]:
    """A bucket's answers by their wordings."""
    return {found.wording: found for found in store.read(bucket, LIMIT_S)}


def plain(of: Answer, **changes: Any) -> dict[str, Any]:
    """An answer's fields as both places write them."""
    return to_fields(of) | {"vector": base64.b64encode(of.vector).decode()} | changes


class TestAnswers:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"text": "長い答え。" * 1400},
            {"text": '"}\\\n*1\r\n$4\r\nPING\r\n<catalogue>', "stamps": {}, "vector": b""},
        ],
        ids=["japanese", "20 KB", "what protocols are made of"],
    )
    def test_what_is_kept_comes_back_exactly(self, store: AnswerStore, changes: dict[str, Any]) -> None:
        kept = answer(**changes)
        store.write("b", kept, LIMIT_S)
        assert read(store) == {"w1": kept}

    def test_nothing_is_kept_of_a_question_that_nobody_asked(self, store: AnswerStore) -> None:
        assert read(store) == {}
        store.drop("b", "w1", LIMIT_S)
        store.release("b", "w1", LIMIT_S)

    def test_another_answer_to_the_same_wording_takes_its_place(self, store: AnswerStore) -> None:
        store.write("b", answer(), LIMIT_S)
        store.write("b", answer(text="新しい答え"), LIMIT_S)
        store.write("b", answer("w2"), LIMIT_S)
        assert {wording: kept.text for wording, kept in read(store).items()} == {
            "w1": "新しい答え",
            "w2": answer().text,
        }

    def test_a_dropped_answer_is_gone_alone(self, store: AnswerStore) -> None:
        for wording in ("w1", "w2"):
            store.write("b", answer(wording), LIMIT_S)
        store.drop("b", "w1", LIMIT_S)
        assert set(read(store)) == {"w2"}

    def test_two_buckets_share_nothing(self, store: AnswerStore) -> None:
        store.write("b", answer(text="one"), LIMIT_S)
        store.write("c", answer(text="other"), LIMIT_S)
        store.drop("c", "w1", LIMIT_S)
        assert (read(store, "b")["w1"].text, read(store, "c")) == ("one", {})
        assert [store.claim(bucket, "w1", LEASE_S * 100, LIMIT_S) for bucket in ("b", "c")] == [True, True]

    def test_a_lone_surrogate_costs_a_character(self, store: AnswerStore) -> None:
        store.write("b", answer(text="a\ud800b"), LIMIT_S)
        assert read(store)["w1"].text == "a?b"


class TestRoom:
    def test_of_too_many_wordings_those_that_end_first_go(self, place: RedisPlace | TablePlace) -> None:
        store, now_s = place.store(), int(time.time())
        names = [f"w{(number * 7) % 29:02}" for number in range(MOST_WORDINGS + 5)]  # in no order
        for number, wording in enumerate(names):
            store.write("b", answer(wording, expires_at=now_s + 1000 + number), LIMIT_S)
        assert set(read(store)) == place.wordings("b") == set(names[-MOST_WORDINGS:])

    def test_what_has_ended_goes_when_another_is_kept(self, place: RedisPlace | TablePlace) -> None:
        now_s = time.time()
        store, later = place.store(), place.store(lambda: now_s + 600)
        for number in range(MOST_WORDINGS):
            store.write("b", answer(f"a{number}", expires_at=int(now_s) + 500), LIMIT_S)
        later.write("b", answer("z"), LIMIT_S)
        assert set(read(later)) == place.wordings("b") == {"z"}

    def test_answers_that_other_turns_wrote_before_the_bound_do_not_hide_the_new_one_for_long(
        self, place: RedisPlace | TablePlace
    ) -> None:
        store = place.store()
        for number in range(MOST_WORDINGS + 6):
            place.plant("b", f"a{number:02}", plain(answer(f"a{number:02}")))
        store.write("b", answer("z", expires_at=int(time.time()) + 7200), LIMIT_S)
        assert "z" in read(store)
        assert len(place.wordings("b")) == MOST_WORDINGS


class TestClaims:
    def test_of_many_who_ask_at_once_one_has_the_claim(self, store: AnswerStore) -> None:
        together = Barrier(CLAIMANTS)

        def claim(_: int) -> bool:
            together.wait(LIMIT_S)
            return store.claim("b", "w1", 60, LIMIT_S)

        with ThreadPoolExecutor(CLAIMANTS) as pool:
            assert sum(pool.map(claim, range(CLAIMANTS))) == 1

    def test_a_claim_ends_with_its_lease(self, store: AnswerStore) -> None:
        began = time.monotonic()
        assert store.claim("b", "w1", LEASE_S, LIMIT_S)
        while not store.claim("b", "w1", LEASE_S, LIMIT_S):
            assert time.monotonic() - began < LIMIT_S
            time.sleep(0.01)
        assert time.monotonic() - began >= LEASE_S - 0.01

    def test_who_gives_a_claim_up_lets_the_next_one_in(self, store: AnswerStore) -> None:
        assert store.claim("b", "w1", 60, LIMIT_S)
        assert not store.claim("b", "w1", 60, LIMIT_S)
        assert store.claim("b", "w2", 60, LIMIT_S)
        store.release("b", "w1", LIMIT_S)
        assert store.claim("b", "w1", 60, LIMIT_S)

    def test_a_claim_is_no_answer(self, store: AnswerStore) -> None:
        store.claim("b", "w1", 60, LIMIT_S)
        store.write("b", answer(), LIMIT_S)
        assert set(read(store)) == {"w1"}
        store.drop("b", "w1", LIMIT_S)
        assert not store.claim("b", "w1", 60, LIMIT_S)


class TestGarbage:
    @pytest.mark.parametrize(
        "garbage",
        [
            {},
            "no answer",
            plain(answer("x"), text=7),
            plain(answer("x"), stamps=["one-piece"]),
            plain(answer("x"), expires_at="soon"),
            plain(answer("x"), vector="not base64!"),
            {name: value for name, value in plain(answer("x")).items() if name != "model"},
        ],
        ids=["empty", "text", "number", "list", "no time", "no vector", "another version"],
    )
    def test_what_is_no_answer_harms_nobody_and_goes_with_the_next_one(
        self, place: RedisPlace | TablePlace, garbage: Any
    ) -> None:
        store = place.store()
        store.write("b", answer("w1"), LIMIT_S)
        place.plant("b", "x", garbage)
        assert set(read(store)) == {"w1"}
        assert place.wordings("b") == {"w1", "x"}
        store.write("b", answer("w2"), LIMIT_S)
        assert set(read(store)) == place.wordings("b") == {"w1", "w2"}

    def test_what_is_no_answer_is_overwritten_by_one(self, place: RedisPlace | TablePlace) -> None:
        place.plant("b", "w1", {"text": "half"})
        store = place.store()
        store.write("b", answer(), LIMIT_S)
        assert read(store) == {"w1": replace(answer(), expires_at=read(store)["w1"].expires_at)}


def test_many_turns_at_once_keep_their_answers_apart(store: AnswerStore) -> None:
    def turn(number: int) -> bool:
        kept = answer(text=f"答え{number}" * 400)
        store.write(f"b{number}", kept, LIMIT_S)
        return all(read(store, f"b{number}") == {"w1": kept} for _ in range(3))

    with ThreadPoolExecutor(TURNS) as pool:
        assert all(pool.map(turn, range(TURNS)))


@pytest.mark.parametrize("life_s", [500, -3600], ids=["alive", "ended already"])
def test_what_is_kept_is_forgotten_by_the_place_itself(place: RedisPlace | TablePlace, life_s: int) -> None:
    kept = answer(expires_at=int(time.time()) + life_s)
    place.store().write("b", kept, LIMIT_S)
    assert place.forgets_at("b", "w1") - max(kept.expires_at, time.time()) < 2
