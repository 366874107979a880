"""A SageMaker endpoint with a model of one's own, emulated on the real wire: InvokeEndpoint, whole and streamed.

The control plane signs with the same name (`local/sagemaker_control.py`). The endpoint has one variant, or one
inference component when there is a name for one: only then may it scale to zero, and every call names the component.
"""

from __future__ import annotations

import json
import re
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from local import containers, payload_parts, sagemaker_control
from local.containers import ContainerError
from local.endpoint import Full, NoInstance
from local.endpoint_metrics import VARIANT, Invocation
from local.faults import ENDPOINT, ERRORS
from local.intrinsics import ACCOUNT, REGION
from local.payload_parts import TIMED_OUT, Call
from local.speech import BROKEN, CLOSED_BY_CLIENT, COMPLETED
from local.wire import JSON_1_1, ServiceError

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from local.containers import Reply
    from local.endpoint import Fleet, Place
    from local.faults import Fault, Faults
    from local.sagemaker_control import Hosted
    from local.wire import Exchange

PATH = re.compile(r"^/endpoints/(?P<name>[^/]+)/(?P<operation>invocations|invocations-response-stream)$")
COMPONENT = "x-amzn-sagemaker-inference-component"
LOOK_EVERY_S = 0.02  # how soon one who waits for a place notices that there is one, be it because the clock was moved
MOST_BYTES = 6_291_456
NO_COMPONENT = (
    "Inference Component Name header is not allowed for endpoints to which you dont plan to deploy inference "
    "components. Please remove the Inference Component Name header and try again."
)
COMPONENT_MISSING = (
    "Inference Component Name header is required for endpoints to which you plan to deploy inference components. "
    "Please include Inference Component Name header or consider using SageMaker models."
)
NO_CAPACITY = (
    400,
    "ValidationError",
    "Inference Component has no capacity to process this request. ApplicationAutoScaling may be in-progress (if "
    "configured) or try to increase the capacity by invoking UpdateInferenceComponentRuntimeConfig API.",
)
NOT_READY = (429, "ModelNotReadyException", "The model is not ready to serve inference. Try again later.")
THROTTLED = (400, "ThrottlingException", "Rate exceeded")
REFUSALS = {
    "throttle": THROTTLED,
    "denied": (403, "AccessDeniedException", "The caller is not authorized to perform: sagemaker:InvokeEndpoint"),
    "not_ready": NOT_READY,
    "no_capacity": NO_CAPACITY,
}
UNAVAILABLE = {
    "ServiceUnavailable": (503, "The service is unavailable. Try your call again."),
    "InternalFailure": (500, "An internal failure occurred."),
    "InternalDependencyException": (530, "A dependency failed."),
}
CRASHED = (500, '{"error":"The model failed."}')
UNHEARD = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for "
    "each container in Amazon CloudWatch, resolve the issue, and try again."
)


class ModelError(ServiceError):
    """The container's failure as the service tells it; `original` is its status, 0 where it said nothing."""

    def __init__(self, endpoint: str, original: int, text: str, *, overloaded: bool = False) -> None:
        whose = "client" if 400 <= original < 500 else "server"
        group = f"/aws/sagemaker/Endpoints/{endpoint}"
        where = f"https://{REGION}.console.aws.amazon.com/cloudwatch/home?region={REGION}#logEventViewer:group={group}"
        told = f'Received {whose} error ({original}) from primary with message "{text}".'
        super().__init__(424, "ModelError", f"{told} See {where} in account {ACCOUNT} for more information.")
        self.original = original
        self.overloaded = overloaded
        self.details = {
            "ErrorCode": "CLIENT_ERROR_FROM_MODEL" if whose == "client" else "INTERNAL_FAILURE_FROM_MODEL",
            "LogStreamArn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}",
            "OriginalMessage": text,
            "OriginalStatusCode": original,
        }


@dataclass
class Served:
    """What the endpoint has been used for."""

    calls: int = 0
    served: int = 0
    throttled: int = 0  # for want of a place or of an instance, too
    refused: int = 0
    broken: int = 0
    closed_by_client: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class SageMaker:
    """Both services; one event loop runs them, so their counters need no lock."""

    def __init__(
        self, hosted: Hosted | None, faults: Faults, dice: random.Random, jitter: float, pace: float = 1
    ) -> None:
        self._hosted = hosted
        self._faults = faults
        self._dice = dice
        self._jitter = jitter
        self._pace = pace  # of all latencies: below 1 for those in a hurry
        self._served = Served()

    def names(self) -> set[str]:
        """By what faults may call the endpoint."""
        return {self._hosted.name} if self._hosted else set()

    def state(self) -> dict[str, Any] | None:
        """How the endpoint is and what it was used for, for people and tests."""
        if self._hosted is None:
            return None
        fleet = self._hosted.fleet
        return {
            "name": self._hosted.name,
            "component": self._hosted.component,
            "dialect": fleet.profile.dialect,
            "status": fleet.status,
            "instances": {
                "in_service": fleet.in_service,
                "desired": fleet.desired,
                "starting_in_s": [round(left_s, 1) for left_s in fleet.starting_in_s()],
                "minimum": fleet.profile.minimum,
                "maximum": fleet.profile.maximum,
            },
            "running": fleet.serving,
            "waiting": fleet.waiting,
            **asdict(self._served),
        }

    async def __call__(self, exchange: Exchange) -> None:
        match = PATH.match(exchange.path)
        if match is None or exchange.method != "POST":
            await self._control(exchange)
            return
        arrived, body = time.monotonic(), await exchange.body()
        streamed = match["operation"].endswith("stream")
        try:
            hosted = self._found(unquote(match["name"]), exchange, body)
            await self._invoke(hosted, body, exchange, arrived=arrived, streamed=streamed)
        except ServiceError as error:
            details = error.details if isinstance(error, ModelError) else {}
            named = json.dumps({"Message": error.message, **details}, ensure_ascii=False).encode()
            await exchange.answer(error.status, named, headers=[("x-amzn-errortype", error.code)])

    def _found(self, name: str, exchange: Exchange, body: bytes) -> Hosted:
        """The endpoint that a call is for; raises ServiceError."""
        hosted = self._hosted
        if hosted is None or name != hosted.name or exchange.region != REGION:
            raise _invalid(f"Endpoint {name} of account {ACCOUNT} not found.")
        component = exchange.headers.get(COMPONENT, "")
        if component and not hosted.component:
            raise _invalid(NO_COMPONENT)
        if hosted.component and not component:
            raise _invalid(COMPONENT_MISSING)
        if component != hosted.component:
            raise _invalid(f"Inference Component {component} of account {ACCOUNT} not found.")
        if len(body) > MOST_BYTES:
            raise _invalid(f"Request body exceeds {MOST_BYTES} bytes.")
        return hosted

    async def _invoke(self, hosted: Hosted, body: bytes, exchange: Exchange, *, arrived: float, streamed: bool) -> None:
        call = self._call(hosted.fleet, self._faults.take(ENDPOINT, hosted.name))
        overhead_s = call.began - arrived
        self._served.calls += 1
        try:
            _refuse_as_scripted(call.fault, hosted.name)
            with _placed(hosted) as place:
                reply = _reply(hosted, body)
                self._served.input_tokens += reply.input_tokens
                outcome = await self._serve(hosted, call, reply, place, exchange, streamed=streamed)
        except ServiceError as error:
            told = (error.status, error.code, error.message)
            throttled = told in (THROTTLED, NOT_READY, NO_CAPACITY) or (
                isinstance(error, ModelError) and error.overloaded
            )
            self._served.throttled += throttled
            self._served.refused += not throttled
            if isinstance(error, ModelError):
                hosted.metrics.invoked(_measured(hosted, call, error.original or 500, overhead_s))
            elif error.status >= 500:
                hosted.metrics.invoked(Invocation(_now_s(hosted), hosted.fleet.in_service, error.status))
            elif told == NO_CAPACITY:
                hosted.metrics.found_nobody(_now_s(hosted))
            raise
        else:
            self._count(outcome)
            hosted.metrics.invoked(_measured(hosted, call, 200, overhead_s, broke=outcome == BROKEN))
        finally:
            self._served.output_tokens += call.said

    async def _serve(
        self, hosted: Hosted, call: Call, reply: Reply, place: Place, exchange: Exchange, *, streamed: bool
    ) -> str:
        """Answer when it is one's turn, and give how that ended; raises ServiceError."""
        while not hosted.fleet.serves(place):
            await exchange.pause(LOOK_EVERY_S)
            if exchange.left():
                return CLOSED_BY_CLIENT
            if time.monotonic() - call.began > call.limit_s:
                raise ModelError(hosted.name, 0, UNHEARD)
        headers = {"x-amzn-invoked-production-variant": VARIANT}
        if streamed:
            headers["x-amzn-sagemaker-content-type"] = reply.content_type
            outcome = await payload_parts.stream(call, reply, exchange, headers)
        else:
            outcome = await payload_parts.whole(call, reply, exchange)
        if outcome == TIMED_OUT:
            raise ModelError(hosted.name, 0, UNHEARD)
        if outcome == COMPLETED and not streamed:
            if call.fault_kind == "error_event":
                raise ModelError(hosted.name, *CRASHED)
            await exchange.answer(200, reply.whole(), reply.content_type, headers.items())
        return outcome

    def _call(self, fleet: Fleet, fault: Fault | None) -> Call:
        """Set the pace of a call."""
        profile, pace = fleet.profile, fleet.pace
        first, token = profile.first_token_ms * self._spread() * self._pace, profile.token_ms * self._pace
        if fault and fault.fault == "slow":
            first = first if fault.first_token_ms is None else fault.first_token_ms
            token = token if fault.token_ms is None else fault.token_ms
            pace = _as_scripted
        return Call(fault, first, token, pace, self._dice, self._spread, profile.invocation_s)

    def _count(self, outcome: str) -> None:
        self._served.served += outcome == COMPLETED
        self._served.broken += outcome == BROKEN
        self._served.closed_by_client += outcome == CLOSED_BY_CLIENT

    def _spread(self) -> float:
        return self._dice.lognormvariate(0, self._jitter)

    async def _control(self, exchange: Exchange) -> None:
        operation = exchange.headers.get("x-amz-target", "").rpartition(".")[2]
        try:
            asked = json.loads(await exchange.body())
            answer = sagemaker_control.described(self._hosted, operation, asked, exchange.region)
        except ServiceError as error:
            await exchange.refuse(error, JSON_1_1)
        else:
            await exchange.answer(200, json.dumps(answer).encode(), JSON_1_1)


@contextmanager
def _placed(hosted: Hosted) -> Iterator[Place]:
    """A place on the endpoint; raises ServiceError."""
    try:
        with hosted.fleet.place() as place:
            yield place
    except NoInstance as error:
        raise ServiceError(*(NO_CAPACITY if hosted.component else NOT_READY)) from error
    except Full as error:
        refusal = containers.overloaded(hosted.fleet.profile.dialect)
        raise ModelError(hosted.name, refusal.status, refusal.text, overloaded=True) from error


def _reply(hosted: Hosted, body: bytes) -> Reply:
    """What the container will say; raises ModelError for what it does not take."""
    profile = hosted.fleet.profile
    try:
        return containers.reply(containers.read(body, profile.dialect, profile.context_tokens), profile.dialect)
    except ContainerError as error:
        raise ModelError(hosted.name, error.status, error.text) from error


def _refuse_as_scripted(fault: Fault | None, name: str) -> None:
    kind = fault.fault if fault else ""
    if kind in REFUSALS:
        raise ServiceError(*REFUSALS[kind])
    if fault and kind == "unavailable":
        error = fault.error or ERRORS[kind][0]
        if error not in UNAVAILABLE:
            raise ModelError(name, *CRASHED)
        status, text = UNAVAILABLE[error]
        raise ServiceError(status, error, text)


def _measured(hosted: Hosted, call: Call, status: int, overhead_s: float, *, broke: bool = False) -> Invocation:
    return Invocation(
        at_s=_now_s(hosted),
        instances=hosted.fleet.in_service,
        status=status,
        model_us=(time.monotonic() - call.began) * 1e6,
        overhead_us=overhead_s * 1e6,
        first_chunk_us=(call.first_at - call.began) * 1e6 if call.first_at else None,
        broke=broke,
    )


def _now_s(hosted: Hosted) -> float:
    return hosted.fleet.clock.now().timestamp()


def _as_scripted() -> float:
    return 1.0


def _invalid(text: str) -> ServiceError:
    return ServiceError(400, "ValidationError", text)
