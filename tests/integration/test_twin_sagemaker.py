"""The emulated endpoint, asked by a real boto3 client over HTTP: what it says, what it refuses, how it breaks."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import botocore.exceptions
import pytest
import urllib3.exceptions
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from local import answers
from tests.e2e.running import Running, running
from tests.integration.endpoint_calls import (
    NAME,
    SMALL,
    STARTED,
    TARGET,
    TEMPLATE,
    WHOLE,
    begin,
    chat,
    chunks,
    each,
    endpoint,
    failed,
    fast,
    invoke,
    lasting,
    parts,
    text_of,
    until,
)
from tests.integration.twin_calls import BROKEN, QUESTION, refused

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def twin() -> Iterator[Running]:
    with running(
        *TEMPLATE, "--pace", "0.05", "--endpoint", SMALL + ",invocation_s=0.6,out_after_s=1000000,context_tokens=2000"
    ) as twin:
        twin.put("clock", {"advance_s": STARTED})
        yield twin


@pytest.fixture(autouse=True)
def _no_faults_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "twin" in request.fixturenames:
        request.getfixturevalue("twin").delete("faults")


@pytest.fixture(scope="module")
def runtime(twin: Running) -> Any:
    return twin.client("sagemaker-runtime")


def test_a_stream_is_a_chats_chunks_exactly(twin: Running, runtime: Any) -> None:
    fast(twin)
    answer = begin(runtime)
    assert answer["ContentType"] == "text/event-stream"
    assert answer["InvokedProductionVariant"] == "main"
    said = chunks(b"".join(event["PayloadPart"]["Bytes"] for event in answer["Body"]))
    assert text_of(said) == WHOLE
    assert said[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [chunk["choices"][0]["finish_reason"] for chunk in said if chunk["choices"]][-1] == "stop"
    usage = said[-1]["usage"]
    assert said[-1]["choices"] == []
    assert usage["completion_tokens"] == len(answers.tokens(WHOLE))
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert not any("usage" in chunk for chunk in chunks(b"".join(parts(runtime, chat(stream_options=None)))))


def test_parts_keep_to_no_character_and_no_line(twin: Running, runtime: Any) -> None:
    fast(twin)
    received = parts(runtime)

    def whole(part: bytes) -> bool:
        try:
            part.decode()
        except UnicodeDecodeError:
            return False
        return True

    assert not all(map(whole, received))
    assert any(part.endswith(b"\nda") for part in received)
    assert any(part.count(b"\n\n") > 1 for part in received)
    assert text_of(chunks(b"".join(received))) == WHOLE


def test_parts_stay_exact_at_a_models_pace(twin: Running, runtime: Any) -> None:
    fast(twin, token_ms=3)
    assert text_of(chunks(b"".join(parts(runtime)))) == WHOLE


def test_the_whole_answer_says_the_same_at_once(twin: Running, runtime: Any) -> None:
    fast(twin)
    answer = invoke(runtime)
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": WHOLE}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert json.loads(b"".join(parts(runtime, chat(stream=False))))["choices"] == answer["choices"]


def test_max_tokens_cuts_the_answer_and_says_so(twin: Running, runtime: Any) -> None:
    fast(twin)
    answer = invoke(runtime, chat(stream=False, max_tokens=7))
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["choices"][0]["message"]["content"] == "".join(answers.tokens(WHOLE)[:7])
    assert answer["usage"]["completion_tokens"] == 7


def test_a_model_told_to_go_on_completes_the_same_answer(twin: Running, runtime: Any) -> None:
    fast(twin)
    begun = [*chat()["messages"], {"role": "assistant", "content": WHOLE[:40]}]
    told = chat(stream=False, messages=begun, continue_final_message=True, add_generation_prompt=False)
    assert WHOLE[:40] + invoke(runtime, told)["choices"][0]["message"]["content"] == WHOLE
    assert invoke(runtime, chat(stream=False, messages=begun))["choices"][0]["message"]["content"] == WHOLE


@pytest.mark.parametrize(
    ("dialect", "content_type", "refusal"),
    [("tgi", "text/event-stream", (429, "overloaded")), ("lmi", "application/jsonlines", (503, "queue is full"))],
)
def test_the_older_dialects_stream_exactly(dialect: str, content_type: str, refusal: tuple[int, str]) -> None:
    settings = f"dialect={dialect},starting_s=0,requests_per_instance=1,queue_per_instance=0"
    with running(*TEMPLATE, "--endpoint", settings) as twin:
        runtime = twin.client("sagemaker-runtime")
        fast(twin)
        answer = begin(runtime)
        assert answer["ContentType"] == content_type
        lines = b"".join(event["PayloadPart"]["Bytes"] for event in answer["Body"]).splitlines()
        assert all(line.startswith(b"data:{") for line in lines[::2]) or dialect == "lmi"
        said = [json.loads(line.removeprefix(b"data:")) for line in lines if line]
        assert "".join(one["token"]["text"] for one in said if not one["token"].get("special")) == WHOLE
        assert said[-1]["generated_text"] == WHOLE
        told = invoke(runtime, {"inputs": QUESTION, "parameters": {"max_new_tokens": 1000}})
        assert told == ([{"generated_text": WHOLE}] if dialect == "tgi" else {"generated_text": WHOLE})
        if dialect == "tgi":
            assert said[-1]["details"]["generated_tokens"] == len(answers.tokens(WHOLE))
            short = b"".join(parts(runtime, chat(max_tokens=3))).splitlines()[-2]
            assert json.loads(short.removeprefix(b"data:"))["details"]["finish_reason"] == "length"
        lasting(twin)
        with closing(begin(runtime)["Body"]):
            status, text = failed(lambda: begin(runtime))
        assert (status, refusal[1] in text) == (refusal[0], True)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content"),
        ({"messages": [{"role": "system", "content": "a"}]}, "nobody"),
        ({"inputs": "a"}, "at least one message"),
        (chat(max_tokens=0), "max_tokens"),
        (chat(max_tokens=1990), "maximum context length is 2000"),
        (chat(temperature=3), "temperature"),
        (chat(continue_final_message=True), "Cannot set both"),
        ([1], "not a JSON object"),
    ],
)
def test_what_the_container_refuses_is_a_models_error(runtime: Any, body: Any, reason: str) -> None:
    status, text = failed(lambda: begin(runtime, body))
    assert (status, reason in text) == (400, True)


def test_an_endpoint_that_is_not_there_is_not_found(twin: Running, runtime: Any) -> None:
    with pytest.raises(ClientError) as refusal:
        begin(runtime, name="nobody")
    told = refusal.value.response
    assert told["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert told["Error"]["Code"] == "ValidationError"
    assert told["Error"]["Message"] == "Endpoint nobody of account 123456789012 not found."
    elsewhere = twin.client("sagemaker-runtime", region="us-east-1")
    assert refused(lambda: begin(elsewhere)) == (400, "ValidationError")
    assert refused(lambda: begin(runtime, InferenceComponentName="copy")) == (400, "ValidationError")
    control = twin.client("sagemaker")
    missing = refused(lambda: control.describe_endpoint(EndpointName="nobody"))
    assert missing == (400, "ValidationException")


def test_without_the_functions_variable_there_is_no_endpoint() -> None:
    with running(*TEMPLATE) as twin:
        assert refused(lambda: begin(twin.client("sagemaker-runtime"))) == (400, "ValidationError")
        assert endpoint(twin) is None
    with running(*TEMPLATE, "--set", f"SAGEMAKER_ENDPOINT={NAME}", "--set", "SAGEMAKER_COMPONENT=copy") as twin:
        assert (endpoint(twin)["name"], endpoint(twin)["component"]) == (NAME, "copy")


@pytest.mark.parametrize("settings", ["dialect=morse", "minimum=5", "instances=2", "yes"])
def test_settings_that_mean_nothing_are_refused_with_the_reason(settings: str) -> None:
    with pytest.raises(AssertionError, match="did not get ready"), running(*TEMPLATE, "--endpoint", settings):
        pass


@pytest.mark.parametrize(
    ("fault", "refusal"),
    [
        ({"fault": "throttle"}, (400, "ThrottlingException")),
        ({"fault": "denied"}, (403, "AccessDeniedException")),
        ({"fault": "not_ready"}, (429, "ModelNotReadyException")),
        ({"fault": "no_capacity"}, (400, "ValidationError")),
        ({"fault": "unavailable"}, (503, "ServiceUnavailable")),
        ({"fault": "unavailable", "error": "InternalFailure"}, (500, "InternalFailure")),
        ({"fault": "unavailable", "error": "InternalDependencyException"}, (530, "InternalDependencyException")),
        ({"fault": "unavailable", "error": "ModelError"}, (424, "ModelError")),
        ({"fault": "hang"}, (424, "ModelError")),
    ],
)
@pytest.mark.parametrize("key", [TARGET, NAME])
def test_scripted_refusals_are_the_services_own(
    twin: Running, runtime: Any, key: str, fault: dict[str, Any], refusal: tuple[int, str]
) -> None:
    twin.put("faults", {key: {**fault, "count": 2}})
    assert refused(lambda: begin(runtime)) == refusal
    assert refused(lambda: invoke(runtime)) == refusal
    assert twin.get("faults") == {}


@pytest.mark.parametrize("after", [0, 3, 100_000])
def test_a_cut_comes_after_so_many_tokens(twin: Running, runtime: Any, after: int) -> None:
    twin.put("faults", {TARGET: {"fault": "cut", "after_tokens": after}})
    received: list[bytes] = []
    with pytest.raises(BROKEN):
        each(runtime, received)
    events = b"".join(received).split(b"\n\n")
    said = [json.loads(event.removeprefix(b"data: ")) for event in events if event]
    assert text_of(said) == "".join(answers.tokens(WHOLE)[:after])
    with pytest.raises(BROKEN):
        invoke(runtime)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"fault": "error_event"}, "ModelStreamError"),
        ({"fault": "error_event", "error": "ModelInvocationTimeExceeded"}, "ModelStreamError"),
        ({"fault": "error_event", "error": "InternalStreamFailure"}, "InternalStreamFailure"),
        ({"fault": "stall"}, "ModelStreamError"),  # until the service gives the container up
    ],
)
def test_a_stream_can_end_in_an_exception(twin: Running, runtime: Any, fault: dict[str, Any], error: str) -> None:
    twin.put("faults", {TARGET: {**fault, "after_tokens": 2}})
    with pytest.raises(EventStreamError) as failure:
        parts(runtime)
    assert failure.value.response["Error"]["Code"] == error
    assert failure.value.response["Error"]["Message"]
    assert refused(lambda: invoke(runtime)) == (424, "ModelError")


def test_an_exception_tells_its_code_on_the_wire(twin: Running, runtime: Any) -> None:
    twin.put("faults", {TARGET: {"fault": "error_event"}})
    raw = begin(runtime)["Body"]._raw_stream.data
    assert b"exception-type\x07\x00\x10ModelStreamError" in raw
    assert b'"ErrorCode":"StreamBroken"' in raw


def test_garbage_is_no_event_stream(twin: Running, runtime: Any) -> None:
    twin.put("faults", {TARGET: {"fault": "garbage"}})
    with pytest.raises(BROKEN):
        parts(runtime)


@pytest.mark.parametrize("fault", ["hang", "stall"])
def test_a_client_may_leave_before_the_service_gives_up(twin: Running, fault: str) -> None:
    twin.put("faults", {TARGET: {"fault": fault}})
    before = endpoint(twin)["closed_by_client"]
    impatient = twin.client("sagemaker-runtime", config=Config(read_timeout=0.2))
    with pytest.raises((botocore.exceptions.ReadTimeoutError, urllib3.exceptions.ReadTimeoutError)):
        parts(impatient)
    until(lambda: endpoint(twin)["closed_by_client"] == before + 1)
    assert endpoint(twin)["running"] == 0


def test_leaving_in_the_middle_stops_the_model(twin: Running, runtime: Any) -> None:
    lasting(twin)
    before = endpoint(twin)
    stream = begin(runtime)["Body"]
    until(lambda: endpoint(twin)["running"] == 1)
    stream.close()
    until(lambda: endpoint(twin)["running"] == 0)
    after = endpoint(twin)
    assert after["closed_by_client"] == before["closed_by_client"] + 1
    assert after["output_tokens"] - before["output_tokens"] < 5
