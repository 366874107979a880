"""All of emulated AWS behind one port: requests go to the service that their signature names."""

from __future__ import annotations

import asyncio
import io
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from local.wire import JSON, JSON_1_0, Exchange, ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication
    from starlette.types import Receive, Scope, Send

    from local.faults import Fault, Faults

    type Service = Callable[[Exchange], Awaitable[None]]
    type Answer = tuple[int, dict[str, str], bytes]

CREDENTIAL = re.compile(r"Credential=(?P<key>[^/]+)/\d{8}/[^/]+/(?P<service>[^/]+)/aws4_request")
INSIDER = "TWIN0INSIDER"  # the access key of the twin's own look at the tables, which no fault may meet
FAULT_KEYS = {"dynamodb": "dynamodb", "ssm": "ssm", "execute-api": "gateway"}
UNSIGNED = ServiceError(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
FOREIGN = ServiceError(403, "AccessDeniedException", "Web pages have no business here.")
GARBAGE = b"<html>this is not what an AWS service answers</html>"


class Aws:
    """The dispatcher; `services` are our own emulators by signing name, everything else is moto's."""

    def __init__(self, services: dict[str, Service], faults: Faults, issuer: Service) -> None:
        self._services = services
        self._faults = faults
        self._issuer = issuer
        self._moto = Moto()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        async with Exchange(scope, receive, send) as exchange:
            if "origin" in exchange.headers:
                await exchange.refuse(FOREIGN)
            elif exchange.path.startswith("/issuer/") and exchange.method == "GET":
                await self._issuer(exchange)
            elif (signed := CREDENTIAL.search(exchange.headers.get("authorization", ""))) is None:
                await exchange.refuse(UNSIGNED)
            else:
                await self._serve(signed["service"], signed["key"] == INSIDER, exchange)

    async def _serve(self, name: str, insider: bool, exchange: Exchange) -> None:
        body = await exchange.body()
        key = FAULT_KEYS.get(name)
        fault = self._faults.take(key) if key and not insider else None
        if fault is not None and await _trouble(name, fault, exchange):
            return
        if (service := self._services.get(name)) is not None:
            await service(exchange)
        else:
            await self._moto(name, exchange, body)


async def _trouble(name: str, fault: Fault, exchange: Exchange) -> bool:
    """Play a scripted fault of a dependency; False when the request is only slow and goes on."""
    match fault.fault:
        case "hang" | "stall":
            await exchange.pause(None)
        case "slow":
            await exchange.pause((fault.first_token_ms or 0) / 1000)
            return exchange.left()
        case "cut":
            await exchange.cut()
        case "garbage":
            await exchange.answer(200, GARBAGE, JSON_1_0, [("x-amz-crc32", "1")])  # as of another body
        case kind:
            await exchange.refuse(_refusal(name, kind), JSON_1_0 if name == "dynamodb" else JSON)
    return True


def _refusal(name: str, kind: str) -> ServiceError:
    """A refusal in the words of each service; `error_event` has no meaning outside a stream and counts as a crash."""
    if kind == "throttle":
        if name == "dynamodb":
            text = "The level of configured provisioned throughput for the table was exceeded."
            return ServiceError(400, "ProvisionedThroughputExceededException", text)
        if name == "execute-api":
            return ServiceError(429, "LimitExceededException", "Too Many Requests")
        return ServiceError(400, "ThrottlingException", "Rate exceeded")
    if kind == "denied":
        code = "ForbiddenException" if name == "execute-api" else "AccessDeniedException"
        return ServiceError(403 if name == "execute-api" else 400, code, "The caller is not authorized.")
    status = 503 if kind == "unavailable" else 500
    return ServiceError(status, "ServiceUnavailable" if status == 503 else "InternalServerError", "Try again.")


# moto knows many more, and some of them start containers: containers can reach this port (--containers).
MOTOS_SERVICES = frozenset({"dynamodb", "sns", "sqs", "states", "sts"})


class Moto:
    """moto, asked directly and one request at a time, so that its conditional writes are atomic."""

    def __init__(self) -> None:
        self._dispatcher: DomainDispatcherApplication | None = None
        self._one_at_a_time = ThreadPoolExecutor(max_workers=1, thread_name_prefix="moto")

    async def __call__(self, service: str, exchange: Exchange, body: bytes) -> None:
        if service not in MOTOS_SERVICES:
            await exchange.refuse(ServiceError(501, "NotImplemented", f"The twin does not emulate {service}."))
            return
        loop = asyncio.get_running_loop()
        environ = _environ(exchange, body)
        ask = _ask_dynamodb if service == "dynamodb" else self._ask
        try:
            status, given, answer = await loop.run_in_executor(self._one_at_a_time, ask, environ)
        except ServiceError as error:
            await exchange.refuse(error)
            return
        headers = {name.lower(): value for name, value in given.items()}
        content_type = headers.pop("content-type", JSON)
        headers.pop("content-length", None)
        headers.pop("x-amzn-requestid", None)
        await exchange.answer(status, answer, content_type, headers.items())

    def _ask(self, environ: dict[str, Any]) -> Answer:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

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
