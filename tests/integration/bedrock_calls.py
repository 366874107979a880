"""A backend that talks to a scripted server, what a test asks it, and answers as Bedrock sends them."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from local.eventstream import event
from mangaassist.errors import BackendError
from mangaassist.routing import policy
from mangaassist.routing.backends import Message, ModelCall, StreamEvent, TextDelta
from mangaassist.routing.backends.bedrock import BedrockBackend

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

    from mangaassist.money.rates import ServiceTier
    from mangaassist.routing.backends import ModelStream
    from mangaassist.transport import Transport

SYSTEM = "You are MangaAssist."
QUESTION = "完結した少年漫画のおすすめは？"
USAGE = {
    "inputTokens": 40,
    "outputTokens": 7,
    "totalTokens": 47,
    "cacheReadInputTokens": 512,
    "cacheWriteInputTokens": 3,
}
START = event("messageStart", {"role": "assistant"})
END = (
    event("contentBlockStop", {"contentBlockIndex": 0}),
    event("messageStop", {"stopReason": "end_turn"}),
    event("metadata", {"usage": USAGE, "metrics": {"latencyMs": 12}}),
)


def said(text: str) -> bytes:
    """A delta of text."""
    return event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}, "p": "abcdefgh"})


def whole(*texts: str) -> list[bytes]:
    """The events of a whole answer."""
    return [START, *map(said, texts), *END]


@cache
def _session() -> boto3.Session:
    return boto3.Session(aws_access_key_id="key", aws_secret_access_key="secret", region_name="ap-northeast-1")


def client(url: str, region: str = "ap-northeast-1") -> BedrockRuntimeClient:
    """A client as bootstrap makes it, at a server of ours."""
    config = Config(retries={"total_max_attempts": 1})
    return _session().client("bedrock-runtime", region_name=region, endpoint_url=url, config=config)


def backend(url: str, transport: Transport, *, guardrail_id: str = "", guardrail_version: str = "") -> BedrockBackend:
    """A backend whose clients of all regions lead to one server."""
    return BedrockBackend(
        clients=lambda region: client(url, region),
        transport=transport,
        guardrail_id=guardrail_id,
        guardrail_version=guardrail_version,
    )


def call(
    *messages: Message,
    model_id: str | None = None,
    system: str = SYSTEM,
    region: str = "ap-northeast-1",
    service_tier: ServiceTier = "default",
    **model: Any,
) -> ModelCall:
    """A call to the quality target of the current policy, with a changed model where the test needs one."""
    current = policy.preset("current")
    target = current.targets["ondemand-sonnet"].model_copy(update={"region": region, "service_tier": service_tier})
    asked = current.models[target.model].model_copy(update=model)
    return ModelCall(
        target=target,
        model=asked,
        model_id=model_id or asked.id,
        system=system,
        messages=messages or (Message("user", QUESTION),),
        max_tokens=300,
    )


def events_of(stream: ModelStream, within_s: float = 5.0) -> tuple[list[StreamEvent], BackendError | None]:
    """Everything that a stream gives until its end, its failure included, in the time of a patient caller."""
    events: list[StreamEvent] = []
    by = time.monotonic() + within_s
    try:
        while time.monotonic() < by:
            arrived = stream.poll(0.2)
            if arrived is None:
                return events, None
            events += arrived
    except BackendError as error:
        return events, error
    finally:
        stream.close()
    raise AssertionError(f"the stream did not end; it gave {events}")


def text_of(events: Iterable[StreamEvent]) -> str:
    """The text among events."""
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def ask(backend: BedrockBackend, question: ModelCall | None = None) -> tuple[list[StreamEvent], BackendError | None]:
    """One call from its sending to its end."""
    try:
        stream = backend.open(question or call(), limit_s=2)
    except BackendError as error:
        return [], error
    return events_of(stream)
