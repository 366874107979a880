"""Bedrock through ConverseStream: botocore writes and signs the request, our own transport carries it.

Every failure becomes one of ours here, with its code and status and never with the service's sentence: that may
repeat what the shopper wrote.
"""

from __future__ import annotations

import json
import re
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
from mangaassist.routing.backends.eventstream import Decoder, Message
from mangaassist.tokens import estimate
from mangaassist.transport import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.awsrequest import AWSPreparedRequest
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

    from mangaassist.routing.backends import ModelCall, StreamEvent
    from mangaassist.transport import Exchange, Transport

ERROR_LIMIT_BYTES = 64 * 1024  # read of a refusal's body
END_LIMIT_S = 0.1  # how long the body may take to end after its last event; then the connection is given up

_STOP_REASONS = {  # all others end a complete answer
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "filtered",
    "content_filtered": "filtered",
    "refusal": "filtered",
}
_THROTTLED = "throttling throttled toomanyrequests requestlimitexceeded modelnotready servicequotaexceeded"
_UNAVAILABLE = (
    "serviceunavailable internalserver internalservererror internalfailure modeltimeout modelerror modelstreamerror"
)
_DENIED = (
    "accessdenied unrecognizedclient expiredtoken invalidsignature signaturedoesnotmatch missingauthenticationtoken "
    "incompletesignature invalidclienttokenid notauthorized optinrequired requestexpired requesttimetooskewed"
)
_COUNTS = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")  # in Usage's order

type Verdict = tuple[type[Unavailable | Rejected], str]
_BY_CODE: dict[str, Verdict] = {
    **dict.fromkeys(_THROTTLED.split(), (Unavailable, "throttled")),
    **dict.fromkeys(_UNAVAILABLE.split(), (Unavailable, "unavailable")),
    **dict.fromkeys(_DENIED.split(), (Rejected, "denied")),
    "resourcenotfound": (Unavailable, "retired"),  # no such model any more
    "validation": (Rejected, "invalid"),
}
_BY_STATUS: dict[int, Verdict] = {
    401: (Rejected, "denied"),
    403: (Rejected, "denied"),
    408: (Unavailable, "unavailable"),
    424: (Unavailable, "unavailable"),
    429: (Unavailable, "throttled"),
}
_BY_LEAST_STATUS: tuple[tuple[int, Verdict], ...] = (
    (500, (Unavailable, "unavailable")),
    (400, (Rejected, "invalid")),
    (0, (Unavailable, "garbled")),  # no service of AWS answers so
)
_SOUND_CODE = re.compile(r"[A-Za-z]{1,80}")  # anything else stays out of logs


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

    def open(self, call: ModelCall, limit_s: float) -> BedrockStream:
        """Sign and send the call, within `limit_s` once its region's client exists; raises BackendError."""
        signer = self._signer(_region(call))
        by = self._monotonic() + limit_s
        request = _signed(signer, self._parameters(call))
        return BedrockStream(self._transport.send(request, by - self._monotonic()), self._monotonic)

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


class BedrockStream:
    """An answer of ConverseStream on its way; made by `BedrockBackend.open`."""

    def __init__(self, exchange: Exchange, monotonic: Callable[[], float]) -> None:
        self._exchange = exchange
        self._monotonic = monotonic
        self._decoder = Decoder()
        self._refusal = b""
        self._failure: BackendError | None = None
        self._stopped = False
        self._ends_by: float | None = None  # set by the last event
        self._ended = False

    def poll(self, wait_s: float) -> tuple[StreamEvent, ...] | None:
        """Give what arrived, waiting at most `wait_s`; () when nothing did, None once the answer is complete.

        A model that works without text (it has started, it reasons) is Alive. Raises BackendError, `cut` when the
        stream ends before the model does; once the model has stopped, nothing that breaks can harm its answer.
        """
        by = self._monotonic() + wait_s
        try:
            while not self._ended:
                events = self._step(by)
                if events is not None:
                    return events
                if self._monotonic() >= by:
                    return ()
        except BackendError:
            if not self._stopped:
                raise
            self._ended = True
        return None

    def close(self) -> None:
        """Leave: an unfinished answer's connection is closed, a finished one's kept. Safe to call twice."""
        self._exchange.close()

    def _step(self, by: float) -> tuple[StreamEvent, ...] | None:
        """Read once: what arrived, () when the time is over, None to go on."""
        if self._failure is not None:
            raise self._failure
        if self._ends_by is not None:
            by = min(by, self._ends_by)
        body = self._exchange.read(max(0.0, by - self._monotonic()))
        if self._exchange.status not in (0, 200):
            return self._refused(body)
        if body is None:
            if not self._stopped:
                raise Unavailable("cut", "the stream ended")
            self._ended = True
            return None
        if not body:
            self._ended = self._ends_by is not None and self._monotonic() >= self._ends_by
            return None if self._ended else ()
        return self._decode(body) or None

    def _refused(self, body: bytes | None) -> tuple[StreamEvent, ...] | None:
        """Collect an error's body until the error is known; raises BackendError."""
        self._refusal += body or b""
        code = _code(self._exchange.header("x-amzn-errortype"))
        if code or body is None or len(self._refusal) > ERROR_LIMIT_BYTES:
            raise _failure(code or _code_within(self._refusal), self._exchange.status)
        return None if body else ()

    def _decode(self, body: bytes) -> tuple[StreamEvent, ...]:
        """The events that these bytes complete; a failure among them waits until they have been given."""
        events: list[StreamEvent] = []
        try:
            for message in self._decoder.feed(body):
                event = self._event(message)
                if event is not None:
                    events.append(event)
        except BackendError as error:
            self._failure = error
        return tuple(events)

    def _event(self, message: Message) -> StreamEvent | None:
        if message.kind != "event":
            raise _failure(message.name)
        match message.name:
            case "contentBlockDelta":
                return _delta(_parsed(message.payload))
            case "messageStart" | "contentBlockStart":
                return Alive()
            case "messageStop":
                stopped = _stopped(_parsed(message.payload))
                self._stopped = True
                return stopped
            case "metadata":
                if self._stopped:
                    self._ends_by = self._monotonic() + END_LIMIT_S
                return _usage(_parsed(message.payload))
        return None


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
        raise _failure(error.response["Error"]["Code"], metadata.get("HTTPStatusCode", 500)) from error
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


def _code(error_type: str) -> str:
    """The bare code in an error's type, such as `namespace#ThrottlingException:http://...`."""
    return error_type.split(":")[0].rsplit("#")[-1]


def _code_within(refusal: bytes) -> str:
    try:
        body = json.loads(refusal)
    except (ValueError, RecursionError):
        return ""
    match body:
        case {"__type": str(error_type)} | {"code": str(error_type)}:
            return _code(error_type)
    return ""


def _failure(code: str, status: int = 500) -> BackendError:
    """Our error for one of the service's, whether it refused the call or broke off the stream."""
    verdict = _BY_CODE.get(code.lower().removesuffix("exception")) or _BY_STATUS.get(status)
    if verdict is None:
        verdict = next(verdict for least, verdict in _BY_LEAST_STATUS if status >= least)
    kind, outcome = verdict
    return kind(outcome, f"{code if _SOUND_CODE.fullmatch(code) else 'no code'}, status {status}")
