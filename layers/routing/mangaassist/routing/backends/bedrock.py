"""Bedrock through ConverseStream: botocore writes and signs the request, our own transport carries it.

Every failure becomes one of ours here, with its code and status and never with the service's sentence: that may
repeat what the shopper wrote.
"""

from __future__ import annotations

import json
import time
from threading import Lock
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError

from mangaassist.errors import BackendError, Rejected, Unavailable
from mangaassist.money.prices import Usage
from mangaassist.routing.backends import Alive, Stopped, TextDelta, UsageReport
from mangaassist.routing.backends.answer import Answer
from mangaassist.routing.backends.refusals import failure
from mangaassist.tokens import estimate
from mangaassist.transport import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.awsrequest import AWSPreparedRequest
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

    from mangaassist.routing.backends import ModelCall, StreamEvent
    from mangaassist.routing.backends.eventstream import Message
    from mangaassist.transport import Transport

_STOP_REASONS = {  # all others end a complete answer
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "filtered",
    "content_filtered": "filtered",
    "refusal": "filtered",
}
_COUNTS = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")  # in Usage's order


class BedrockBackend:
    """Calls models on Bedrock; one for all turns of a process, from any thread."""

    def __init__(
        self,
        *,
        clients: Callable[[str], BedrockRuntimeClient],
        transport: Transport,
        guardrail_id: str = "",
        guardrail_version: str = "",
        estimate_tokens: Callable[[str], int] = estimate,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take clients by region: they only sign for us, and serve no other ConverseStream calls from then on."""
        self._clients = clients
        self._transport = transport
        self._guardrail = {"guardrailIdentifier": guardrail_id, "guardrailVersion": guardrail_version or "DRAFT"}
        self._estimate_tokens = estimate_tokens
        self._monotonic = monotonic
        self._lock = Lock()
        self._signers: dict[str, BedrockRuntimeClient] = {}

    def open(self, call: ModelCall, limit_s: float) -> Answer:
        """Sign and send the call, within `limit_s` once its region's client exists; raises BackendError."""
        signer = self._signer(_region(call))
        by = self._monotonic() + limit_s
        request = _signed(signer, self._parameters(call))
        return Answer(self._transport.send(request, by - self._monotonic()), _Meaning(), self._monotonic)

    def _signer(self, region: str) -> BedrockRuntimeClient:
        with self._lock:
            if region not in self._signers:
                client = self._clients(region)
                events: Any = client.meta.events  # its stubs know no handler that answers
                events.register("before-send.bedrock-runtime.ConverseStream", _answer_unsent, "mangaassist-unsent")
                events.register("after-call.bedrock-runtime.ConverseStream", _hand_over, "mangaassist-hand-over")
                self._signers[region] = client
            return self._signers[region]

    def _parameters(self, call: ModelCall) -> dict[str, Any]:
        model = call.model
        inference: dict[str, Any] = {"maxTokens": call.max_tokens}
        if model.sampling and model.temperature is not None:
            inference["temperature"] = model.temperature
        parameters: dict[str, Any] = {
            "modelId": call.model_id,
            "messages": [{"role": message.role, "content": [{"text": message.text}]} for message in call.messages],
            "inferenceConfig": inference,
        }
        if call.system:
            parameters["system"] = self._system(call)
        if model.extra_request_fields:
            parameters["additionalModelRequestFields"] = model.extra_request_fields
        if call.target.service_tier != "default":
            parameters["serviceTier"] = {"type": call.target.service_tier}
        if self._guardrail["guardrailIdentifier"]:
            parameters["guardrailConfig"] = self._guardrail
        return parameters

    def _system(self, call: ModelCall) -> list[dict[str, Any]]:
        """The system prompt, marked for the cache where it is long enough for the model to keep it."""
        least = call.model.prompt_cache_min_tokens
        blocks: list[dict[str, Any]] = [{"text": call.system}]
        if least is not None and self._estimate_tokens(call.system) >= least:
            blocks.append({"cachePoint": {"type": "default"}})
        return blocks


class _Meaning:
    """ConverseStream's messages."""

    def __init__(self) -> None:
        self.stopped = False
        self.complete = False

    def events(self, message: Message) -> tuple[StreamEvent, ...]:
        """What a message brings; raises BackendError."""
        match message.name:
            case "contentBlockDelta":
                return (_delta(_parsed(message.payload)),)
            case "messageStart" | "contentBlockStart":
                return (Alive(),)
            case "messageStop":
                stopped = _stopped(_parsed(message.payload))
                self.stopped = True
                return (stopped,)
            case "metadata":
                self.complete = self.stopped
                return (_usage(_parsed(message.payload)),)
        return ()

    def rest(self) -> tuple[StreamEvent, ...]:
        """Nothing: every event is a message of its own."""
        return ()

    def is_explained(self, code: str) -> bool:
        """Codes say all."""
        return False

    def refusal(self, code: str, status: int, body: bytes) -> BackendError:
        """Our error for a call that was not served."""
        return failure(code, status)


def _parsed(payload: bytes) -> Any:
    try:
        return json.loads(payload.decode())
    except (ValueError, RecursionError) as error:
        raise Unavailable("garbled", "event payload") from error


def _delta(payload: Any) -> StreamEvent:
    """Text by its block's type; reasoning, citations and tools are life without text."""
    match payload:
        case {"delta": {"text": str(text)}}:
            return TextDelta(_sound(text)) if text else Alive()
        case {"delta": dict()}:
            return Alive()
    raise Unavailable("garbled", "contentBlockDelta")


def _sound(text: str) -> str:
    """Text that can be encoded again: JSON may carry half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _stopped(payload: Any) -> Stopped:
    match payload:
        case {"stopReason": "malformed_model_output" | "malformed_tool_use" as reason}:
            raise Unavailable("garbled", reason)
        case {"stopReason": str(reason)}:
            return Stopped(_STOP_REASONS.get(reason, "complete"))
    raise Unavailable("garbled", "messageStop")


def _usage(payload: Any) -> UsageReport:
    match payload:
        case {"usage": {"inputTokens": int(), "outputTokens": int()} as usage}:
            counts = [usage.get(name, 0) for name in _COUNTS]
            if all(isinstance(count, int) and count >= 0 for count in counts):
                return UsageReport(Usage(*counts))
    raise Unavailable("garbled", "metadata")


def _region(call: ModelCall) -> str:
    """Where to call: provisioned capacity and profiles name their region, all else is the target's."""
    if call.model_id.startswith("arn:"):
        return call.model_id.split(":")[3] or call.target.region
    return call.target.region


def _signed(client: BedrockRuntimeClient, parameters: dict[str, Any]) -> Request:
    """Let botocore write and sign the request that it then believes to have sent; raises BackendError."""
    try:
        answer: Any = client.converse_stream(**parameters)
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, SSOError) as error:
        raise Rejected("denied", type(error).__name__) from error
    except (HTTPClientError, BotoConnectionError) as error:  # on the way to new credentials
        raise Unavailable("unavailable", type(error).__name__) from error
    except ClientError as error:
        metadata = error.response.get("ResponseMetadata", {})
        raise failure(error.response["Error"]["Code"], metadata.get("HTTPStatusCode", 500)) from error
    except BotoCoreError as error:
        raise Rejected("invalid", type(error).__name__) from None  # its sentence repeats the parameters
    prepared: Any = answer["request"]
    return Request(prepared.method, prepared.url, prepared.headers, prepared.body)


def _answer_unsent(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
    """Answer in the place of botocore's HTTP session, with the request as the answer's body."""
    return AWSResponse(request.url, 200, HTTPHeaders(), request)


def _hand_over(http_response: AWSResponse, parsed: dict[str, Any], **_: Any) -> None:
    """Pass the request on to whoever called the client; nothing is shared between calls, so threads cannot mix them."""
    parsed["request"] = http_response.raw
