"""Calls of the emulated endpoint by a real boto3 client, and what comes of them."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from local import answers
from local.answers import Said
from tests.e2e.running import ROOT
from tests.integration.twin_calls import QUESTION

if TYPE_CHECKING:
    from tests.e2e.running import Running

TEMPLATE = ("--template", str(ROOT / "tests" / "data" / "twin" / "template.yaml"))
NAME, TARGET = "manga-assist-fm", "sagemaker-custom"
SMALL = "requests_per_instance=2,queue_per_instance=1,target=1,maximum=3,starting_s=300"
SYSTEM = "あなたは店員です。"
WHOLE = answers.answer(SYSTEM, (Said("user", QUESTION),))
STARTED = 300


def chat(**more: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
    return {
        "messages": messages,
        "max_tokens": 1000,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.7,
        **more,
    }


def begin(runtime: Any, body: Any = None, **more: Any) -> Any:
    return runtime.invoke_endpoint_with_response_stream(
        EndpointName=more.pop("name", NAME), Body=json.dumps(body or chat()), ContentType="application/json", **more
    )


def parts(runtime: Any, body: Any = None, **more: Any) -> list[bytes]:
    with closing(begin(runtime, body, **more)["Body"]) as stream:
        return [event["PayloadPart"]["Bytes"] for event in stream]


def each(runtime: Any, received: list[bytes]) -> None:
    with closing(begin(runtime)["Body"]) as stream:
        for event in stream:
            received.append(event["PayloadPart"]["Bytes"])


def invoke(runtime: Any, body: Any = None, **more: Any) -> Any:
    asked = json.dumps(body or chat(stream=False))
    answer = runtime.invoke_endpoint(EndpointName=NAME, Body=asked, ContentType="application/json", **more)
    return json.loads(answer["Body"].read())


def failed(call: Any) -> tuple[int, str]:
    """The container's status and words, as the service tells them."""
    with pytest.raises(ClientError) as refusal:
        call()
    told: dict[str, Any] = {**refusal.value.response}
    assert (told["ResponseMetadata"]["HTTPStatusCode"], told["Error"]["Code"]) == (424, "ModelError")
    whose = "client" if 400 <= told["OriginalStatusCode"] < 500 else "server"
    assert told["Error"]["Message"].startswith(f"Received {whose} error ({told['OriginalStatusCode']}) from primary")
    return told["OriginalStatusCode"], told["OriginalMessage"]


def chunks(said: bytes) -> list[dict[str, Any]]:
    *events, done, rest = said.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return [json.loads(event.removeprefix(b"data: ")) for event in events]


def text_of(said: list[dict[str, Any]]) -> str:
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in said if chunk["choices"])


def fast(twin: Running, **more: Any) -> None:
    twin.put("faults", {TARGET: {"fault": "slow", "first_token_ms": 0, "token_ms": 0, **more}})


def lasting(twin: Running) -> None:
    """Answers that begin at once and do not end by themselves."""
    fast(twin, token_ms=60_000)


def endpoint(twin: Running) -> dict[str, Any]:
    state: dict[str, Any] = twin.get("state")["endpoint"]
    return state


def until(condition: Any) -> None:
    by = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < by
        time.sleep(0.02)
