"""A model of one's own over the wire: catalogue questions stream from it, and the fast class stands in for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mangaassist.routing.policy import preset_document
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
        document = json.loads(preset_document("current"))
        document |= {"breaker": {"failures": 100}, "limits": {"situation_ttl_ms": 1, "stall_ms": 600}}
        row = {"pk": {"S": "NOW"}, "sk": {"S": "POLICY"}, "version": {"N": "1"}}
        policy = {"document": {"S": json.dumps(document)}}
        twin.client("dynamodb").put_item(TableName="SituationTable", Item=row | policy)
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


@pytest.mark.parametrize("trouble", ["hang", "throttle", "unavailable", "garbage", "cut", "stall", "denied"])
def test_with_the_endpoint_in_trouble_the_fast_class_answers_in_time(hosted: Running, trouble: str) -> None:
    hosted.put("faults", {"sagemaker-custom": {"fault": trouble, "count": 1}})
    with hosted.connect("bert") as connection:
        answer = ask(connection, ASKED.format(len(trouble)))
    assert answer.end["target"] == "ondemand-haiku"
    assert answer.end["finish"] == "complete"
    assert answer.end["first_text_ms"] <= PROMISE_MS
    assert answer.outcomes[0][0] == "sagemaker-custom"
