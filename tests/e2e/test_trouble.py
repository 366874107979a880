"""Scripted trouble over the wire: what a shopper still gets, how soon, and that every text is exact."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.conftest import OFF_PEAK, PEAK, Answer, ask, charges, send, until
from tests.e2e.running import Running, frames, running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.alone

HARD = "ベルセルクとヴィンランド・サガの物語構造と主題を、史実との関係も踏まえて詳しく比較して論じてください"
PROMISE_S = 3.0
MODELS = ("ondemand-sonnet", "ondemand-haiku")


@pytest.fixture(scope="module")
def patient() -> Iterator[Running]:
    """A twin whose breakers never open and whose view of the world is fresh: each test meets its own trouble."""
    with running("--set", "TURNS_PER_MINUTE=6000", "--set", "ANSWER_CACHE=off", "--pace", "0.3") as twin:
        twin.put("clock", {"now": OFF_PEAK})
        twin.put_policy(breaker={"failures": 100}, limits={"situation_ttl_ms": 1, "stall_ms": 600})
        yield twin


@pytest.fixture(scope="module")
def real_time() -> Iterator[Running]:
    """A twin as a developer has it."""
    with running("--set", "TURNS_PER_MINUTE=6000", "--set", "ANSWER_CACHE=off") as twin:
        twin.put("clock", {"now": OFF_PEAK})
        yield twin


@pytest.fixture(autouse=True)
def _trouble_ends(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "patient" in request.fixturenames:
        request.getfixturevalue("patient").delete("faults")


@pytest.fixture(scope="module")
def undisturbed(patient: Running) -> str:
    """The answer of a single model without any trouble."""
    with patient.connect("calm") as connection:
        return ask(connection, HARD).text


def asked(twin: Running, user: str, message: str = HARD) -> Answer:
    with twin.connect(user) as connection:
        return ask(connection, message)


def test_with_the_primary_hung_every_turn_has_text_in_time(real_time: Running) -> None:
    twin = real_time
    twin.put("faults", {"ondemand-sonnet": {"fault": "hang"}})
    alone = [asked(twin, f"hung-{number}") for number in range(3)]
    with ThreadPoolExecutor(3) as crowd:
        together = list(crowd.map(lambda number: asked(twin, f"hung-{number}"), range(3, 9)))
    firsts = [answer.first_text_s for answer in alone + together]
    assert max(first for first in firsts if first is not None) <= PROMISE_S
    assert None not in firsts
    assert {answer.end["finish"] for answer in alone + together} == {"complete"}
    assert alone[0].outcomes == [("ondemand-sonnet", "silent"), ("ondemand-haiku", "answered")]
    until(lambda: twin.get("state")["emulator"]["active_streams"] == 0)  # the silent streams were really closed
    assert charges(twin)["closed_by_client"] >= 1
    assert twin.get("state")["health"]["ondemand-sonnet"]["open_until_s"] > 0  # and the rest was spared the wait


@pytest.mark.parametrize("after", [3, 40])
@pytest.mark.parametrize("fault", ["cut", "error_event", "stall"])
def test_an_answer_that_breaks_is_completed_by_the_next_model(
    patient: Running, undisturbed: str, fault: str, after: int
) -> None:
    patient.put("faults", {"ondemand-sonnet": {"fault": fault, "after_tokens": after}})
    answer = asked(patient, f"{fault}-{after}")
    assert answer.end["finish"] == "complete"
    assert [target for target, _ in answer.outcomes] == list(MODELS)
    assert answer.text == undisturbed  # shared by two models, and not a character is lost or doubled
    assert ("restart" if after == 3 else "continue") in answer.kinds()
    assert [frame["seq"] for frame in answer.frames] == list(range(len(answer.frames)))


@pytest.mark.parametrize(
    ("fault", "outcome"), [("throttle", "throttled"), ("unavailable", "unavailable"), ("garbage", "garbled")]
)
def test_a_failure_before_any_text_goes_unnoticed(patient: Running, undisturbed: str, fault: str, outcome: str) -> None:
    patient.put("faults", {"ondemand-sonnet": {"fault": fault}})
    answer = asked(patient, f"silent-{fault}")
    assert answer.outcomes == [("ondemand-sonnet", outcome), ("ondemand-haiku", "answered")]
    assert set(answer.kinds()) == {"start", "delta", "end"}
    assert answer.text == undisturbed


def test_with_every_stream_cut_the_answer_says_that_it_is_incomplete(patient: Running, undisturbed: str) -> None:
    patient.put("faults", {target: {"fault": "cut", "after_tokens": 40} for target in MODELS})
    answer = asked(patient, "all-cut")
    assert answer.end["finish"] == "catalogue"
    assert [outcome for _, outcome in answer.outcomes] == ["cut", "cut"]
    kept = answer.text.split("\n")[0]
    assert undisturbed.startswith(kept[:40])
    assert "途切れました" in answer.text


def test_with_every_model_hung_the_catalogue_answers_in_time(patient: Running) -> None:
    patient.put("faults", {target: {"fault": "hang"} for target in MODELS})
    answer = asked(patient, "all-hung")
    assert answer.first_text_s is not None
    assert answer.first_text_s <= PROMISE_S
    assert answer.end["finish"] == "catalogue"
    until(lambda: patient.get("state")["emulator"]["active_streams"] == 0)


def test_an_error_that_no_other_model_cures_ends_the_chain(patient: Running) -> None:
    patient.put("faults", {"ondemand-sonnet": {"fault": "denied"}})
    answer = asked(patient, "denied")
    assert answer.outcomes == [("ondemand-sonnet", "denied")]
    assert answer.end["finish"] == "catalogue"


@pytest.mark.parametrize("fault", ["hang", "throttle", "unavailable", "cut"])
def test_without_tables_the_catalogue_still_answers(patient: Running, fault: str) -> None:
    with patient.connect(f"tables-{fault}") as connection:
        ask(connection, "こんにちは")
        calls = charges(patient)["calls"]
        patient.put("faults", {"dynamodb": {"fault": fault}})
        answer = ask(connection, HARD)
    assert answer.first_text_s is not None
    assert answer.first_text_s <= PROMISE_S
    assert answer.end["finish"] == "catalogue"
    assert charges(patient)["calls"] == calls  # nothing may be charged that cannot be accounted for


def test_tables_that_talk_nonsense_still_leave_a_last_frame(patient: Running) -> None:
    with patient.connect("nonsense") as connection:
        patient.put("faults", {"dynamodb": {"fault": "garbage"}})
        last = ask(connection, HARD).frames[-1]
    assert last["type"] == "end" or (last["code"] == "internal" and last["reference"])


@pytest.mark.parametrize("fault", ["throttle", "unavailable", "cut"])
def test_a_gateway_that_refuses_posts_loses_no_text(patient: Running, undisturbed: str, fault: str) -> None:
    patient.put("faults", {"gateway": {"fault": fault, "probability": 0.4}})
    with patient.connect(f"posts-{fault}") as connection:
        send(connection, action="ask", message=HARD)
        seen: dict[int, dict[str, Any]] = {}
        for frame in frames(connection):  # a post may arrive although its answer was lost, and is then repeated
            seen.setdefault(frame["seq"], frame)
    answer = Answer([seen[seq] for seq in sorted(seen)])
    assert sorted(seen) == list(range(len(seen)))
    assert answer.text == undisturbed


def test_hung_provisioned_capacity_spills_over_in_time(patient: Running) -> None:
    bought = patient.buy("peak", units=2)
    patient.put("clock", {"now": PEAK})
    capacity = {
        "pk": {"S": "NOW"},
        "sk": {"S": "CAPACITY#provisioned-sonnet"},
        "target": {"S": "provisioned-sonnet"},
        "window": {"S": "provisioned-sonnet"},
        "day": {"S": PEAK[:10]},
        "arn": {"S": bought},
        "units": {"N": "2"},
        "until_s": {"N": str(time.time() + 366 * 86_400)},
    }
    patient.client("dynamodb").put_item(TableName="SituationTable", Item=capacity)
    assert asked(patient, "peak").outcomes == [("provisioned-sonnet", "answered")]
    patient.put("faults", {"provisioned-sonnet": {"fault": "hang"}})
    answer = asked(patient, "peak-hung")
    assert answer.first_text_s is not None
    assert answer.first_text_s <= PROMISE_S
    assert answer.outcomes[0] == ("provisioned-sonnet", "silent")
    assert answer.outcomes[-1][1] == "answered"  # the same model on demand was not hit by this target's fault
    patient.put("faults", {"provisioned-sonnet": {"fault": "throttle"}})
    assert asked(patient, "peak-full").outcomes[0] == ("provisioned-sonnet", "throttled")
    assert patient.get("state")["capacity"]["provisioned-sonnet"]["saturated_until_s"] > 0
    patient.put("clock", {"now": OFF_PEAK})


def fresh(number: int) -> str:
    """A question about the catalogue that nobody has asked yet."""
    return f"料理の漫画を{number}作おすすめしてください"


TROUBLES = ("throttle", "unavailable", "denied", "hang", "cut", "stall", "garbage")


@pytest.mark.parametrize("dependency", ["search", "embeddings"])
@pytest.mark.parametrize("trouble", TROUBLES)
def test_with_search_in_trouble_the_turn_ends_well_and_in_time(patient: Running, dependency: str, trouble: str) -> None:
    patient.put("faults", {dependency: {"fault": trouble}})
    asked = fresh(20 + TROUBLES.index(trouble) + 20 * (dependency == "search"))
    with patient.connect("carl") as connection:
        answer = ask(connection, asked)
    assert (answer.end["finish"], answer.end["target"]) == ("complete", "ondemand-haiku")
    assert answer.end["first_text_ms"] <= 3_000
    assert answer.end["citations"], "the dictionary that ships still knows works of this kind"


def test_with_no_model_and_no_search_the_catalogue_still_answers_with_stock(patient: Running) -> None:
    patient.put("faults", {"search": {"fault": "hang"}, "ondemand-haiku": {"fault": "unavailable"}})
    with patient.connect("carl") as connection:
        answer = ask(connection, fresh(3))
    assert answer.end["finish"] == "catalogue"
    assert answer.end["citations"]
    assert "円" in answer.text
