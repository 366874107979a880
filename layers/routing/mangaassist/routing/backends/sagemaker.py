"""A model of one's own on a SageMaker endpoint, through InvokeEndpointWithResponseStream.

The endpoint's name is the deployment's and not the policy's: there is one, or none. The container gets OpenAI-style
chat messages; the stream carries its bytes in parts, which `completions` reads.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError

from mangaassist.errors import BackendError, Rejected, Unavailable
from mangaassist.routing.backends.answer import Answer
from mangaassist.routing.backends.completions import Reader
from mangaassist.routing.backends.refusals import failure
from mangaassist.transport import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mangaassist.routing.backends import ModelCall, StreamEvent
    from mangaassist.routing.backends.eventstream import Message
    from mangaassist.signing import Signer
    from mangaassist.transport import Transport

CONTAINER_FAILED = "ModelError"  # SageMaker's code for a container that answered otherwise than 200, or not at all
FULL = frozenset({429, 503})  # TGI's and LMI's statuses when no place is free
REFUSES = frozenset(range(400, 500)) - {401, 403, 404, 408, 429}  # those are faults of the endpoint, not the question's


class SageMakerBackend:
    """Calls one endpoint; one for all turns of a process, from any thread."""

    def __init__(
        self,
        transport: Transport,
        signer: Signer,
        address: str,
        endpoint: str,
        *,
        component: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the service's address, the endpoint's name, and the inference component's where there is one."""
        self._transport = transport
        self._signer = signer
        self._url = f"{address.rstrip('/')}/endpoints/{quote(endpoint, safe='')}/invocations-response-stream"
        self._component = component
        self._monotonic = monotonic

    def open(self, call: ModelCall, limit_s: float) -> Answer:
        """Sign and send the call, within `limit_s`; raises BackendError."""
        by = self._monotonic() + limit_s
        body = json.dumps(_body(call), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        if self._component:
            headers["x-amzn-sagemaker-inference-component"] = self._component
        try:
            signed = self._signer.sign("POST", self._url, headers, body)
        except (HTTPClientError, BotoConnectionError) as error:  # on the way to new credentials
            raise Unavailable("unavailable", type(error).__name__) from error
        except BotoCoreError as error:
            raise Rejected("denied", type(error).__name__) from error
        exchange = self._transport.send(Request("POST", self._url, signed, body), max(0.0, by - self._monotonic()))
        return Answer(exchange, _Meaning(scales_to_zero=bool(self._component)), self._monotonic)


class _Meaning:
    """The endpoint's messages: parts of what the container says."""

    def __init__(self, *, scales_to_zero: bool) -> None:
        self._reader = Reader()
        self._scales_to_zero = scales_to_zero

    @property
    def stopped(self) -> bool:
        """The container has said that the answer is over."""
        return self._reader.stopped

    @property
    def complete(self) -> bool:
        """Nothing more is to come."""
        return self._reader.done

    def events(self, message: Message) -> Iterable[StreamEvent]:
        """What a part brings; raises BackendError."""
        return self._reader.feed(message.payload) if message.name == "PayloadPart" else ()

    def rest(self) -> Iterable[StreamEvent]:
        """What the last bytes bring; raises BackendError."""
        return self._reader.end()

    def is_explained(self, code: str) -> bool:
        """Of a container that refuses, SageMaker tells the status in the body."""
        return code == CONTAINER_FAILED

    def refusal(self, code: str, status: int, body: bytes) -> BackendError:
        """Our error for a call that was not served.

        A container that is full (429, or 503) is busy, not broken; one that refuses a question (4xx: it is longer than
        the model's context) may answer the next, so that neither speaks against the endpoint. An inference component
        without a copy answers ValidationError, as a wrong request does: scaled to zero, it is asleep and not wrong.
        """
        found = failure(code, status)
        if code == CONTAINER_FAILED:
            original = _original_status(body)
            if original in FULL:
                return Unavailable("throttled", f"the container, status {original}")
            if original in REFUSES:
                return Unavailable("refused", f"the container, status {original}")
        if self._scales_to_zero and found.outcome == "invalid":
            return Unavailable("unavailable", f"{code}, status {status}")
        return found


def _original_status(body: bytes) -> int:
    """The container's own status, 0 where SageMaker does not tell it."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return 0
    match told:
        case {"OriginalStatusCode": int(status)}:
            return status
    return 0


def _body(call: ModelCall) -> dict[str, Any]:
    model = call.model
    system = [{"role": "system", "content": call.system}] if call.system else []
    messages = [{"role": message.role, "content": message.text} for message in call.messages]
    body: dict[str, Any] = {
        "messages": [*system, *messages],
        "max_tokens": call.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if model.sampling and model.temperature is not None:
        body["temperature"] = model.temperature
    return body | model.extra_request_fields
