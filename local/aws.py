"""All of emulated AWS behind one port: requests go to the service that their signature names."""

from __future__ import annotations

import asyncio
import io
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from local import control_plane, opensearch, provisioned
from local.faults import CONTROL_PLANE, SEARCH
from local.wire import JSON, JSON_1_0, S3_XML, XML, Exchange, ServiceError

if TYPE_CHECKING:
    import threading
    from collections.abc import Awaitable, Callable

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication
    from starlette.types import Receive, Scope, Send

    from local.faults import Fault, Faults

    type Service = Callable[[Exchange], Awaitable[None]]
    type Answer = tuple[int, dict[str, str], bytes]

INSIDER = "TWIN0INSIDER"  # the access key of the twin's own look at the tables, which no fault may meet
RUNTIME = "bedrock-runtime"  # signs as `bedrock` too: only the path tells it from the control plane
SEARCHING = "aoss"  # what OpenSearch Serverless signs as
FAULT_KEYS = {
    SEARCHING: SEARCH,
    "bedrock": CONTROL_PLANE,
    "dynamodb": "dynamodb",
    "execute-api": "gateway",
    "lambda": "lambda",
    "s3": "s3",
    "sns": "sns",
    "ssm": "ssm",
}
PLAYED_BY = {"bedrock": frozenset({"create_fails"}), SEARCHING: opensearch.PLAYED}  # faults of the services' own
ERRORS = {"dynamodb": JSON_1_0, "s3": S3_XML, "sns": XML}
UNSIGNED = ServiceError(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
FOREIGN = ServiceError(403, "AccessDeniedException", "Web pages have no business here.")
GARBAGE = b"<html>this is not what an AWS service answers</html>"


class Aws:
    """The dispatcher; `services` are our own emulators by signing name, everything else is moto's."""

    def __init__(
        self, services: dict[str, Service], faults: Faults, issuer: Service, prepared: threading.Event
    ) -> None:
        self._services = services
        self._faults = faults
        self._issuer = issuer
        self._moto = Moto(prepared)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        async with Exchange(scope, receive, send) as exchange:
            if "origin" in exchange.headers:
                await exchange.refuse(FOREIGN)
            elif exchange.path.startswith("/issuer/") and exchange.method == "GET":
                await self._issuer(exchange)
            elif exchange.signature is None:
                await exchange.refuse(UNSIGNED)
            else:
                runtime = exchange.signature.service == "bedrock" and exchange.path.startswith("/model/")
                await self._serve(RUNTIME if runtime else exchange.signature.service, exchange)

    async def _serve(self, name: str, exchange: Exchange) -> None:
        body = await exchange.body()
        key, insider = FAULT_KEYS.get(name), exchange.signature is not None and exchange.signature.key == INSIDER
        if key and not insider:
            exchange.fault = self._faults.take(key, operation=_operation(name, exchange, body))
            if exchange.fault is not None and await _trouble(name, exchange.fault, exchange):
                return
        if (service := self._services.get(name)) is not None:
            await service(exchange)
        else:
            await self._moto(name, exchange, body)


def _operation(name: str, exchange: Exchange, body: bytes) -> str | None:
    """What is asked for, as far as each protocol tells it."""
    if name == "bedrock":
        return next(iter(control_plane.operation_of(exchange.method, exchange.path) or ()), None)
    if name == SEARCHING:
        return next(iter(opensearch.asked(exchange.method, exchange.path) or ()), None)
    if name == "s3":
        return _s3_operation(exchange)
    if name == "lambda":
        return "Invoke"
    if name == "sns":
        return dict(parse_qsl(body.decode("utf-8", "replace"))).get("Action")
    return exchange.headers.get("x-amz-target", "").rpartition(".")[2] or None


def _s3_operation(exchange: Exchange) -> str | None:
    """The plain operations on buckets and objects, asked for by path; what has a sub-resource is named like them."""
    bucket, _, key = exchange.path.lstrip("/").partition("/")
    plain = {"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}
    whole = {"PUT": "CreateBucket", "GET": "ListObjectsV2", "HEAD": "HeadBucket", "DELETE": "DeleteBucket"}
    return (plain if key else whole).get(exchange.method) if bucket else "ListBuckets"


async def _trouble(name: str, fault: Fault, exchange: Exchange) -> bool:
    """Play a scripted fault of a dependency; False when the request is only slow and goes on."""
    if fault.fault in PLAYED_BY.get(name, ()):
        return False
    match fault.fault:
        case "hang" | "stall":
            await exchange.pause(None)
        case "slow":
            await exchange.pause((fault.first_token_ms or 0) / 1000)
            return exchange.left()
        case "cut" if name == "bedrock":  # the worst of it: done, and the answer lost
            exchange.answer_is_lost = True
            return False
        case "cut":
            await exchange.cut()
        case "garbage":
            await exchange.answer(200, GARBAGE, JSON_1_0, [("x-amz-crc32", "1")])  # as of another body
        case "quota":
            await exchange.refuse(provisioned.over_quota("any model"))
        case "conflict":
            await exchange.refuse(ServiceError(400, "ConflictException", "The operation conflicts with another."))
        case kind:
            await exchange.refuse(_refusal(name, kind), ERRORS.get(name, JSON))
    return True


THROTTLED = {
    "bedrock": ServiceError(429, "ThrottlingException", "Too many requests, please wait before trying again."),
    "dynamodb": ServiceError(
        400,
        "ProvisionedThroughputExceededException",
        "The level of configured provisioned throughput for the table was exceeded.",
    ),
    "execute-api": ServiceError(429, "LimitExceededException", "Too Many Requests"),
    "lambda": ServiceError(429, "TooManyRequestsException", "Rate Exceeded."),
    "s3": ServiceError(503, "SlowDown", "Please reduce your request rate."),
    "sns": ServiceError(400, "Throttling", "Rate exceeded"),
    "ssm": ServiceError(400, "ThrottlingException", "Rate exceeded"),
}
DENIED = {
    "bedrock": (403, "AccessDeniedException"),
    "execute-api": (403, "ForbiddenException"),
    "lambda": (403, "AccessDeniedException"),
    "s3": (403, "AccessDenied"),
    "sns": (403, "AuthorizationError"),
}
UNAVAILABLE = {"bedrock": (500, "InternalServerException"), "lambda": (503, "ServiceException")}


def _refusal(name: str, kind: str) -> ServiceError:
    """A refusal in the words of each service; `error_event` has no meaning outside a stream and counts as a crash."""
    if kind == "throttle":
        return THROTTLED[name]
    if kind == "denied":
        status, code = DENIED.get(name, (400, "AccessDeniedException"))
        return ServiceError(status, code, "The caller is not authorized.")
    unavailable = (503, "ServiceUnavailable") if kind == "unavailable" else (500, "InternalServerError")
    return ServiceError(*UNAVAILABLE.get(name, unavailable), "Try again.")


PREPARED_S = 30  # how long a request waits for what it may need; by far enough for a slow machine
# moto knows many more, and some of them start containers: containers can reach this port (--containers).
MOTOS_SERVICES = frozenset({"dynamodb", "s3", "sns", "sqs", "states", "sts"})


class Moto:
    """moto, asked directly and one request at a time, so that its conditional writes are atomic.

    What the template has besides tables (workflows, topics, queues, buckets) must be `prepared` first.
    """

    def __init__(self, prepared: threading.Event) -> None:
        self._prepared = prepared
        self._dispatcher: DomainDispatcherApplication | None = None
        self._dynamodb = ThreadPoolExecutor(max_workers=1, thread_name_prefix="dynamodb")
        self._others = ThreadPoolExecutor(max_workers=1, thread_name_prefix="moto")

    async def __call__(self, service: str, exchange: Exchange, body: bytes) -> None:
        if service not in MOTOS_SERVICES:
            await exchange.refuse(ServiceError(501, "NotImplemented", f"The twin does not emulate {service}."))
            return
        loop = asyncio.get_running_loop()
        environ = _environ(exchange, body)
        thread, ask = (self._dynamodb, _ask_dynamodb) if service == "dynamodb" else (self._others, self._ask)
        try:
            status, given, answer = await loop.run_in_executor(thread, ask, environ)
        except ServiceError as error:
            await exchange.refuse(error)
            return
        headers = {name.lower(): value for name, value in given.items()}
        content_type = headers.pop("content-type", JSON)
        headers.pop("x-amzn-requestid", None)
        length = headers.pop("content-length", None)
        if exchange.method == "HEAD" and length:  # of what a GET would bring
            await exchange.start(status, content_type, [("content-length", length), *headers.items()])
            await exchange.write(b"", more=False)
        else:
            await exchange.answer(status, answer, content_type, headers.items())

    def _ask(self, environ: dict[str, Any]) -> Answer:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self._prepared.wait(PREPARED_S)
        if self._dispatcher is None:
            self._dispatcher = DomainDispatcherApplication(create_backend_app)
        host = self._dispatcher.infer_service_region_host(environ, environ["PATH_INFO"])
        if self._dispatcher.get_backend_for_host(host) is None:
            raise ServiceError(501, "NotImplemented", f"The twin emulates nothing at {host}.")
        heads: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Callable[[bytes], object]:
            heads.append((status, headers))
            return parts.append

        parts: list[bytes] = []
        parts += self._dispatcher(environ, start_response)
        status, headers = heads[-1]
        return int(status.split()[0]), dict(headers), b"".join(parts)


def _ask_dynamodb(environ: dict[str, Any]) -> Answer:
    from local import dynamodb  # not before it is needed: moto takes a while to import

    return dynamodb.ask(environ)


def _environ(exchange: Exchange, body: bytes) -> dict[str, Any]:
    """A request as WSGI has it."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": exchange.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": exchange.scope["path"].encode().decode("latin-1"),
        "RAW_URI": exchange.path,
        "QUERY_STRING": exchange.scope["query_string"].decode("latin-1"),
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": str(len(body)),
    }
    for name, value in exchange.headers.items():
        if name == "content-type":
            environ["CONTENT_TYPE"] = value
        elif name != "content-length":
            environ["HTTP_" + name.upper().replace("-", "_")] = value
    return environ
