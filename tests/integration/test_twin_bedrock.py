"""The model emulator, asked by a real boto3 client over HTTP: what it answers, what it refuses, how it breaks."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import botocore.exceptions
import pytest
import urllib3.exceptions
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from local.answers import tokens
from local.speech import REASONING
from tests.e2e.running import ROOT, Running, running
from tests.integration.twin_calls import BROKEN, HAIKU, events, refused, user

if TYPE_CHECKING:
    from collections.abc import Iterator

SONNET = "jp.anthropic.claude-sonnet-4-6"
OLD_HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"


@pytest.fixture(scope="module")
def twin() -> Iterator[Running]:
    with running("--template", str(ROOT / "tests" / "data" / "twin" / "template.yaml")) as twin:
        yield twin


@pytest.fixture(autouse=True)
def _no_faults_left(twin: Running) -> Iterator[None]:
    yield
    twin.delete("faults")


@pytest.fixture(scope="module")
def bedrock(twin: Running) -> Any:
    return twin.client("bedrock-runtime")


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"text": text}]}


def fast(twin: Running, key: str = "ondemand-haiku", **more: Any) -> None:
    twin.put("faults", {key: {"fault": "slow", "first_token_ms": 0, "token_ms": 0, **more}})


def text_of(received: list[dict[str, Any]]) -> str:
    deltas = [event["contentBlockDelta"]["delta"] for event in received if "contentBlockDelta" in event]
    return "".join(delta.get("text", "") for delta in deltas)


def charge(twin: Running, model: str = HAIKU) -> dict[str, int]:
    charges: dict[str, dict[str, int]] = twin.get("state")["emulator"]["charges"]
    return charges.get(model, dict.fromkeys(("input_tokens", "output_tokens", "closed_by_client", "throttled"), 0))


def test_a_stream_has_the_events_of_the_service_in_their_order(twin: Running, bedrock: Any) -> None:
    fast(twin)
    received = events(bedrock)
    names = [next(iter(event)) for event in received]
    assert names[0] == "messageStart"
    assert names[-3:] == ["contentBlockStop", "messageStop", "metadata"]
    assert text_of(received).startswith("【エミュレーター】")
    assert "ワンピース" in text_of(received)
    usage = received[-1]["metadata"]["usage"]
    assert usage["inputTokens"] > 0
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]
    assert received[-2]["messageStop"]["stopReason"] == "end_turn"


def test_a_thinking_model_reasons_first_in_a_block_of_its_own(twin: Running, bedrock: Any) -> None:
    fast(twin)
    blocks = [event["contentBlockDelta"] for event in events(bedrock) if "contentBlockDelta" in event]
    assert "reasoningContent" in blocks[0]["delta"]
    assert [block["contentBlockIndex"] for block in blocks] == sorted(block["contentBlockIndex"] for block in blocks)
    assert {tuple(block["delta"]) for block in blocks if block["contentBlockIndex"] == 1} == {("text",)}


def test_converse_says_the_same_at_once(twin: Running, bedrock: Any) -> None:
    fast(twin)
    answer = bedrock.converse(modelId=HAIKU, messages=user())
    texts = [block["text"] for block in answer["output"]["message"]["content"] if "text" in block]
    assert texts == [text_of(events(bedrock))]
    assert answer["metrics"]["latencyMs"] >= 0


def test_answers_know_the_language_the_conversation_and_the_notes(twin: Running, bedrock: Any) -> None:
    fast(twin)
    assert text_of(events(bedrock, messages=user("Is Berserk finished?"))).startswith("[emulated]")
    earlier = [*user("ベルセルクの作者は？"), assistant("三浦建太郎です。"), *user("ほかの作品は？")]
    notes = [{"text": "あなたは店員です。資料: 『王狼』『ジパング』"}]
    text = text_of(events(bedrock, messages=earlier, system=notes))
    assert "ベルセルクの作者は？" in text
    assert "『王狼』『ジパング』" in text


def test_max_tokens_cuts_the_answer_and_says_so(twin: Running, bedrock: Any) -> None:
    fast(twin)
    received = events(bedrock, inferenceConfig={"maxTokens": 30})
    assert received[-2]["messageStop"]["stopReason"] == "max_tokens"
    assert received[-1]["metadata"]["usage"]["outputTokens"] == 30
    only_thought = events(bedrock, inferenceConfig={"maxTokens": 5})
    assert text_of(only_thought) == ""  # reasoning counts toward the limit


def test_a_model_told_to_go_on_completes_the_same_answer(twin: Running, bedrock: Any) -> None:
    fast(twin)
    fast(twin, OLD_HAIKU)
    whole = text_of(events(bedrock))
    begun = whole[:40]
    prefilled = text_of(events(bedrock, OLD_HAIKU, [*user(), assistant(begun)]))
    assert begun + prefilled == whole
    instruction = "Your answer above was interrupted. Go on exactly where it stops."
    instructed = text_of(events(bedrock, messages=[*user(), assistant(begun), *user(instruction)]))
    assert whole.endswith(instructed) or instructed.endswith(whole[40:])


@pytest.mark.parametrize(
    ("request_members", "reason"),
    [
        ({"messages": []}, "start with a user message"),
        ({"messages": [assistant("a")]}, "start with a user message"),
        ({"messages": [*user(), *user()]}, "must alternate"),
        ({"messages": user(" ")}, "is blank"),
        ({"messages": [{"role": "user", "content": []}]}, "is empty"),
        ({"messages": [*user(), assistant("a")]}, "prefill"),
        ({"messages": user(), "inferenceConfig": {"temperature": 0.5}}, "deprecated"),
        ({"messages": user(), "inferenceConfig": {"topP": 0.5}}, "deprecated"),
        ({"messages": user(), "system": [{"text": "x"}, *[{"cachePoint": {"type": "default"}}] * 5]}, "maximum of 4"),
    ],
)
def test_what_the_service_refuses_is_refused(bedrock: Any, request_members: dict[str, Any], reason: str) -> None:
    with pytest.raises(ClientError) as refusal:
        bedrock.converse_stream(modelId=HAIKU, **request_members)
    assert refusal.value.response["Error"]["Code"] == "ValidationException"
    assert reason in refusal.value.response["Error"]["Message"]


def test_older_models_take_a_temperature(twin: Running, bedrock: Any) -> None:
    fast(twin, SONNET)
    assert events(bedrock, SONNET, inferenceConfig={"temperature": 0.5})


@pytest.mark.parametrize("model", ["anthropic.claude-v2", "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/x"])
def test_models_that_nobody_can_call_are_not_found(bedrock: Any, model: str) -> None:
    assert refused(lambda: events(bedrock, model)) == (404, "ResourceNotFoundException")


@pytest.mark.parametrize(
    ("fault", "refusal"),
    [
        ("throttle", (429, "ThrottlingException")),
        ("unavailable", (503, "ServiceUnavailableException")),
        ("denied", (403, "AccessDeniedException")),
    ],
)
def test_scripted_refusals_are_the_services_own(
    twin: Running, bedrock: Any, fault: str, refusal: tuple[int, str]
) -> None:
    twin.put("faults", {"ondemand-haiku": {"fault": fault, "count": 2}})
    assert refused(lambda: events(bedrock)) == refusal
    assert twin.get("faults")["ondemand-haiku"]["count"] == 1
    assert refused(lambda: events(bedrock)) == refusal
    assert twin.get("faults") == {}


@pytest.mark.parametrize("after", [0, 3, 100_000])
def test_a_cut_comes_after_so_many_tokens_of_text(twin: Running, bedrock: Any, after: int) -> None:
    fast(twin, HAIKU, count=1)
    whole = text_of(events(bedrock))
    twin.put("faults", {HAIKU: {"fault": "cut", "after_tokens": after, "count": 1}})
    received: list[dict[str, Any]] = []
    before = charge(twin)["output_tokens"]
    with pytest.raises(BROKEN):
        _each(bedrock, received)
    assert whole.startswith(text_of(received))
    assert not any("metadata" in event for event in received)
    if after == 3:
        said = len(tokens(REASONING)) + 3
        _until(lambda: charge(twin)["output_tokens"] - before == said)
        assert text_of(received) == "".join(tokens(whole)[:3])


def test_an_error_event_ends_the_stream(twin: Running, bedrock: Any) -> None:
    twin.put("faults", {HAIKU: {"fault": "error_event", "after_tokens": 2}})
    with pytest.raises(EventStreamError) as failure:
        events(bedrock)
    assert failure.value.response["Error"]["Code"] == "modelStreamErrorException"


def test_garbage_is_no_event_stream(twin: Running, bedrock: Any) -> None:
    twin.put("faults", {HAIKU: {"fault": "garbage"}})
    with pytest.raises(BROKEN):
        events(bedrock)


@pytest.mark.parametrize("fault", ["hang", "stall"])
def test_silence_lasts_until_the_client_leaves_and_then_really_ends(twin: Running, fault: str) -> None:
    twin.put("faults", {HAIKU: {"fault": fault}})
    before = charge(twin)["closed_by_client"]
    timed_out = (botocore.exceptions.ReadTimeoutError, urllib3.exceptions.ReadTimeoutError)
    impatient = twin.client("bedrock-runtime", config=Config(read_timeout=0.4))
    with closing(impatient), pytest.raises(timed_out):
        events(impatient)
    _until(lambda: twin.get("state")["emulator"]["active_streams"] == 0)
    assert charge(twin)["closed_by_client"] == before + 1


def test_leaving_in_the_middle_stops_the_model_and_charges_what_was_said(twin: Running, bedrock: Any) -> None:
    twin.put("faults", {HAIKU: {"fault": "slow", "first_token_ms": 0, "token_ms": 30}})
    before = charge(twin)
    stream = bedrock.converse_stream(modelId=HAIKU, messages=user())["stream"]
    for event in stream:
        if "text" in event.get("contentBlockDelta", {}).get("delta", {}):
            break
    assert twin.get("state")["emulator"]["streams"][0]["target"] == "ondemand-haiku"
    stream.close()
    _until(lambda: twin.get("state")["emulator"]["active_streams"] == 0)
    after = charge(twin)
    assert after["closed_by_client"] == before["closed_by_client"] + 1
    assert 0 < after["output_tokens"] - before["output_tokens"] < 60


def test_a_target_fault_spares_other_calls_of_the_same_model(twin: Running, bedrock: Any) -> None:
    twin.put("faults", {"provisioned-haiku": {"fault": "throttle"}})
    fast(twin)
    assert events(bedrock)


@pytest.mark.parametrize("units", [1, 2])
def test_model_units_carry_so_many_tokens_a_minute(twin: Running, units: int) -> None:
    bought, bedrock = twin.buy(f"units-{units}", units=units), twin.client("bedrock-runtime", region="us-east-1")
    most_of_it = {"maxTokens": 40_000}  # claimed before the model runs, given back when it has not said as much
    calls = [bedrock.converse_stream(modelId=bought, messages=user(), inferenceConfig=most_of_it) for _ in range(units)]
    assert refused(lambda: events(bedrock, bought, inferenceConfig=most_of_it)) == (429, "ThrottlingException")
    assert charge(twin, bought)["throttled"] == 1
    for call in calls:
        call["stream"].close()
    _until(lambda: twin.get("state")["emulator"]["active_streams"] == 0)
    assert events(bedrock, bought, inferenceConfig=most_of_it)
    twin.give_up(bought)


@pytest.mark.parametrize("family", ["pro", "lite"])
def test_models_of_amazon_take_a_temperature_and_no_prefill(twin: Running, family: str) -> None:
    bought = twin.buy(f"nova-{family}", f"amazon.nova-{family}-v1:0:24k")
    bedrock = twin.client("bedrock-runtime", region="us-east-1")
    deltas = [
        event["contentBlockDelta"]
        for event in events(bedrock, bought, inferenceConfig={"temperature": 0.5})
        if "contentBlockDelta" in event
    ]
    assert {tuple(delta["delta"]) for delta in deltas} == {("text",)}
    assert refused(lambda: events(bedrock, bought, [*user(), assistant("a")])) == (400, "ValidationException")
    twin.give_up(bought)


def test_a_long_prompt_is_cached_once_and_read_after(twin: Running, bedrock: Any) -> None:
    fast(twin)
    system = [{"text": "店の決まり。" * 300}, {"cachePoint": {"type": "default"}}]
    first, second = (events(bedrock, system=system)[-1]["metadata"]["usage"] for _ in range(2))
    assert first["cacheWriteInputTokens"] > 512
    assert first["cacheReadInputTokens"] == 0
    assert second["cacheReadInputTokens"] == first["cacheWriteInputTokens"]
    assert second["inputTokens"] == first["inputTokens"] < 100


def test_embeddings_of_titan(bedrock: Any) -> None:
    def embed(text: str, **more: Any) -> dict[str, Any]:
        body = json.dumps({"inputText": text, **more})
        answer: dict[str, Any] = json.loads(
            bedrock.invoke_model(modelId="amazon.titan-embed-text-v2:0", body=body)["body"].read()
        )
        return answer

    near, nearer, far = (embed(text)["embedding"] for text in ("進撃の巨人", "進撃の巨人 第3巻", "Cooking with cats"))
    assert len(near) == 1024
    assert sum(x * x for x in near) == pytest.approx(1)
    assert _dot(near, nearer) > _dot(near, far)
    small = embed("a", dimensions=256, embeddingTypes=["float", "binary"])
    assert len(small["embedding"]) == len(small["embeddingsByType"]["binary"]) == 256
    assert refused(lambda: embed("", dimensions=256)) == (400, "ValidationException")
    assert refused(lambda: embed("a", dimensions=300)) == (400, "ValidationException")


def test_embeddings_of_cohere(bedrock: Any) -> None:
    def embed(**body: Any) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(
            bedrock.invoke_model(modelId="cohere.embed-multilingual-v3", body=json.dumps(body))["body"].read()
        )
        return answer

    plain = embed(texts=["あ", "い"], input_type="search_query")
    assert [len(vector) for vector in plain["embeddings"]] == [1024, 1024]
    typed = embed(texts=["あ"], input_type="search_document", embedding_types=["float"])
    assert len(typed["embeddings"]["float"][0]) == 1024
    assert refused(lambda: embed(texts=["あ"] * 97, input_type="search_query")) == (400, "ValidationException")
    assert refused(lambda: embed(texts=["あ"], input_type="odd")) == (400, "ValidationException")


def test_embeddings_break_under_their_own_key(twin: Running, bedrock: Any) -> None:
    twin.put("faults", {"embeddings": {"fault": "throttle", "count": 1}})
    call = {"modelId": "amazon.titan-embed-text-v2:0", "body": '{"inputText": "a"}'}
    assert refused(lambda: bedrock.invoke_model(**call)) == (429, "ThrottlingException")
    assert bedrock.invoke_model(**call)["body"].read()


def _each(bedrock: Any, received: list[dict[str, Any]]) -> None:
    with closing(bedrock.converse_stream(modelId=HAIKU, messages=user())["stream"]) as stream:
        for event in stream:
            received.append(event)


def _until(condition: Any) -> None:
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def _dot(one: list[float], other: list[float]) -> float:
    return sum(x * y for x, y in zip(one, other, strict=True))
