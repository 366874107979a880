"""A model of one's own over the wire: catalogue questions stream from it, and the fast class stands in for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import OFF_PEAK, ask
from tests.e2e.running import Running, running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.alone

ASKED = "料理の漫画を{}作おすすめしてください"
PROMISE_MS = 3_000


@pytest.fixture(scope="module")
def hosted() -> Iterator[Running]:
    """A twin whose endpoint is in service and tried again after every failure, and which gives no kept answers."""
    options = ("--set", "TURNS_PER_MINUTE=6000", "--set", "ANSWER_CACHE=off", "--pace", "0.3")
    with running(*options, "--endpoint", "starting_s=0") as twin:
        twin.put("clock", {"now": OFF_PEAK})
        twin.put_policy(breaker={"failures": 100}, limits={"situation_ttl_ms": 1, "stall_ms": 600})
        yield twin


@pytest.fixture(autouse=True)
def _trouble_ends(hosted: Running) -> Iterator[None]:
    yield
    hosted.delete("faults")


def test_a_catalogue_question_streams_from_the_endpoint_with_the_stores_notes(hosted: Running) -> None:
    with hosted.connect("anna") as connection:
        answer = ask(connection, ASKED.format(3))
    end = answer.end
    assert (end["finish"], end["target"], end["reason"]) == ("complete", "sagemaker-custom", "manga_specific_query")
    assert answer.kinds().count("delta") > 1
    assert end["citations"]
    assert end["usage"]["output_tokens"] > 0
    assert hosted.get("route", question=ASKED.format(3))["chain"][0] == "sagemaker-custom"


def test_small_talk_does_not_go_to_the_endpoint(hosted: Running) -> None:
    with hosted.connect("anna") as connection:
        assert ask(connection, "こんにちは").end["target"] == "ondemand-haiku"


@pytest.mark.parametrize(("trouble", "outcome"), [("cut", "cut"), ("stall", "stalled")])
def test_an_answer_that_breaks_off_in_its_middle_is_gone_on_with(hosted: Running, trouble: str, outcome: str) -> None:
    hosted.put("faults", {"sagemaker-custom": {"fault": trouble, "after_tokens": 20, "count": 1}})
    with hosted.connect("bert") as connection:
        answer = ask(connection, ASKED.format(30 + len(trouble)))
    assert answer.outcomes[0] == ("sagemaker-custom", outcome)
    kinds = answer.kinds()
    assert "continue" in kinds[: len(kinds) - 1]
    assert kinds.index("delta") < kinds.index("continue"), "what was said before stays"
    assert (answer.end["target"], answer.end["finish"]) == ("ondemand-haiku", "complete")


@pytest.mark.parametrize(
    ("trouble", "outcome"),
    [
        ("hang", "silent"),
        ("throttle", "throttled"),
        ("unavailable", "unavailable"),
        ("garbage", "garbled"),
        ("cut", "cut"),
        ("stall", "silent"),
        ("denied", "denied"),  # last: it opens the breaker
    ],
)
def test_with_the_endpoint_in_trouble_the_fast_class_answers_in_time(
    hosted: Running, trouble: str, outcome: str
) -> None:
    hosted.put("faults", {"sagemaker-custom": {"fault": trouble, "count": 1}})
    with hosted.connect("bert") as connection:
        answer = ask(connection, ASKED.format(len(trouble)))
    assert answer.end["target"] == "ondemand-haiku"
    assert answer.end["finish"] == "complete"
    assert answer.end["first_text_ms"] <= PROMISE_MS
    assert answer.outcomes[0] == ("sagemaker-custom", outcome)
