"""A WebSocket API as API Gateway runs it: handshake, routes, limits, and the way back to each connection."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from local.events import Handshake, Identity, principal, request_id
from local.functions import HandlerFailed
from local.wire import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

    from local.environments import Environments
    from local.functions import Functions
    from local.template import Api
    from local.wire import Exchange

FRAME_BYTES = 32 * 1024
MESSAGE_BYTES = 128 * 1024
GOING_AWAY, TOO_BIG = 1001, 1009
MAILBOX = "sample"  # the connection ids in events/*.json begin with it
MAILBOX_LETTERS = 1000
LOOK_EVERY_S = 0.1  # how often connections are looked at for their limits
MANAGED = re.compile(r"^/(?P<stage>[^/]+)/@connections/(?P<id>[^/]+)$")
INTERNAL, TIMED_OUT, FORBIDDEN = "Internal server error", "Endpoint request timed out", "Forbidden"


@dataclass(frozen=True)
class Limits:
    """AWS's limits in seconds; tests shorten them."""

    integration_s: float = 29
    idle_s: float = 600
    connection_s: float = 7200

    def changed(self, document: Any) -> Limits:
        """These limits with some replaced; raises ValueError naming the field."""
        known = {limit.name for limit in fields(self)}
        if not isinstance(document, dict) or not set(document) <= known:
            raise ValueError(f"an object with some of {', '.join(sorted(known))} is expected")
        for name, value in document.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
                raise ValueError(f"{name}: a number of seconds above 0 is expected")
        return replace(self, **document)


@dataclass(eq=False)
class Connection:
    """An open connection; instants are monotonic except `last_active`."""

    identity: Identity
    send: Send
    opened: float = field(default_factory=time.monotonic)
    active: float = field(default_factory=time.monotonic)
    last_active: datetime = field(default_factory=lambda: datetime.now(UTC))
    closing: int | None = None  # the code that we are closing it with

    def touch(self) -> None:
        """Note that data went one way or the other."""
        self.active = time.monotonic()
        self.last_active = datetime.now(UTC)


class Gateway:
    """The API: an ASGI application for shoppers and the `@connections` service for functions."""

    def __init__(self, api: Api, functions: Functions | Environments, domain: str, limits: Limits) -> None:
        self._api = api
        self._functions = functions
        self._domain = domain
        self._connections: dict[str, Connection] = {}
        self._mailboxes: dict[str, deque[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.limits = limits

    # ---- shoppers' side

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket from its handshake to its end."""
        await receive()  # websocket.connect
        identity = Identity(self._api, Handshake.of(scope), self._domain)
        refusal, subprotocol = await self._handshake(identity)
        if refusal is not None:
            await _reject(send, refusal, identity)
            return
        await send({"type": "websocket.accept", "subprotocol": subprotocol})
        connection = Connection(identity, send)
        self._connections[identity.id] = connection
        try:
            code, reason = await self._receive(connection, receive)
        finally:
            self._connections.pop(identity.id, None)
        if "$disconnect" in self._api.routes:
            self._functions.start(
                self._api.routes["$disconnect"], identity.disconnect(connection.closing or code, reason)
            )

    async def enforce_limits(self) -> None:
        """Close what has been idle or open for too long, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now = time.monotonic()
            for connection in list(self._connections.values()):
                idle, age = now - connection.active, now - connection.opened
                if idle > self.limits.idle_s or age > self.limits.connection_s:
                    self._spawn(self._close(connection, GOING_AWAY, "Going away"))

    def connections(self) -> list[dict[str, Any]]:
        """The open connections, for people and tests."""
        return [
            {
                "id": connection.identity.id,
                "principal": connection.identity.authorizer.get("principalId"),
                "connected_at": _iso(connection.identity.connected_at_ms / 1000),
                "last_active_at": connection.last_active.isoformat(),
            }
            for connection in self._connections.values()
        ]

    def mailbox(self, connection_id: str) -> list[Any]:
        """What was posted to a sample event's connection, oldest first."""
        letters = self._mailboxes.get(connection_id, ())
        return [_readable(letter) for letter in letters]

    async def _handshake(self, identity: Identity) -> tuple[tuple[int, str] | None, str | None]:
        """Ask the authorizer and `$connect`; a refusal (status, text), or the subprotocol agreed upon."""
        if (refusal := await self._authorize(identity)) is not None:
            return refusal, None
        route = self._api.routes.get("$connect")
        if route is None:
            return None, None
        try:
            answer = await self._within_limit(route, identity.connect())
        except TimeoutError:
            return (504, TIMED_OUT), None
        except HandlerFailed:
            return (500, INTERNAL), None
        status = answer.get("statusCode") if isinstance(answer, dict) else None
        if not isinstance(status, int):
            return (500, INTERNAL), None
        if not 200 <= status < 300:
            return (status, str(answer.get("body") or FORBIDDEN)), None
        headers: Mapping[str, str] = answer.get("headers") or {}
        echoed = (value for name, value in headers.items() if name.lower() == "sec-websocket-protocol")
        return None, next(echoed, None)

    async def _authorize(self, identity: Identity) -> tuple[int, str] | None:
        authorizer = self._api.authorizer
        if authorizer is None:
            return None
        if any(not _present(source, identity.handshake) for source in authorizer.identity_sources):
            return 401, "Unauthorized"
        try:
            event = identity.authorize(identity.method_arn("$connect"))
            allowed, context = principal(await self._within_limit(authorizer.function, event))
        except HandlerFailed as failure:
            return (401, "Unauthorized") if failure.text == "Unauthorized" else (500, INTERNAL)
        except (TimeoutError, ValueError):
            return 500, INTERNAL
        if not allowed:
            return 403, FORBIDDEN
        identity.authorizer = {**context, "integrationLatency": "1"}
        return None

    async def _receive(self, connection: Connection, receive: Receive) -> tuple[int, str]:
        """Hand every message to its route until the connection ends; the code and reason of its end."""
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return int(message.get("code") or 1005), str(message.get("reason") or "")
            connection.touch()
            body = message.get("text")
            self._spawn(self._deliver(connection, message["bytes"] if body is None else body))

    async def _deliver(self, connection: Connection, body: str | bytes) -> None:
        identity = connection.identity
        route = self._route(body)
        if route is None:
            await self._notice(connection, FORBIDDEN, request_id())
            return
        event = identity.message(route, body)
        reference = event["requestContext"]["requestId"]
        try:
            await self._within_limit(self._api.routes[route], event)
        except TimeoutError:
            await self._notice(connection, TIMED_OUT, reference)
        except HandlerFailed:
            await self._notice(connection, INTERNAL, reference)

    def _route(self, body: str | bytes) -> str | None:
        """The route whose key is what the selection expression finds in the body, else `$default`."""
        chosen = None
        try:
            value = json.loads(body)
            for step in self._api.selection.strip("${}").removeprefix("request.body.").split("."):
                value = value[step]
            chosen = value if isinstance(value, str) else None
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            pass  # not JSON, or nothing there: the default route's business
        if chosen in self._api.routes and not str(chosen).startswith("$"):
            return chosen
        return "$default" if "$default" in self._api.routes else None

    async def _within_limit(self, function: str, event: dict[str, Any]) -> Any:
        """Invoke, and stop waiting (never the handler) at the integration's limit."""
        invocation = asyncio.wrap_future(self._functions.start(function, event))
        done, _ = await asyncio.wait([invocation], timeout=self.limits.integration_s)
        if not done:
            invocation.add_done_callback(lambda late: late.cancelled() or late.exception())
            raise TimeoutError
        return invocation.result()

    async def _notice(self, connection: Connection, text: str, reference: str) -> None:
        notice = {"message": text, "connectionId": connection.identity.id, "requestId": reference}
        await self._post(connection, json.dumps(notice).encode())

    async def _post(self, connection: Connection, data: bytes) -> None:
        """Send a text frame; a client that has just left is not an error here."""
        if connection.closing is None:
            connection.touch()
            try:
                await connection.send({"type": "websocket.send", "text": data.decode("utf-8", "replace")})
            except OSError:  # uvicorn's ClientDisconnected
                self._connections.pop(connection.identity.id, None)

    async def _close(self, connection: Connection, code: int, reason: str) -> None:
        if connection.closing is None:
            connection.closing = code
            self._connections.pop(connection.identity.id, None)
            await connection.send({"type": "websocket.close", "code": code, "reason": reason})

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- functions' side

    async def manage(self, exchange: Exchange) -> None:
        """POST, GET and DELETE of `@connections`."""
        body = await exchange.body()
        try:
            await self._manage(exchange, body)
        except ServiceError as error:
            await exchange.refuse(error)

    async def _manage(self, exchange: Exchange, body: bytes) -> None:
        match = MANAGED.match(exchange.path)
        if match is None or match["stage"] != self._api.stage:
            raise ServiceError(403, "ForbiddenException", FORBIDDEN)
        connection_id = unquote(match["id"])
        if exchange.method == "POST" and len(body) > MESSAGE_BYTES:
            raise ServiceError(413, "PayloadTooLargeException", "Message too long")
        if connection_id.startswith(MAILBOX):
            await self._manage_mailbox(exchange, connection_id, body)
            return
        connection = self._connections.get(connection_id)
        if connection is None:
            raise ServiceError(410, "GoneException", "The connection with the provided id no longer exists.")
        match exchange.method:
            case "POST":
                if len(body) > FRAME_BYTES:
                    await self._close(connection, TOO_BIG, "Message too big")
                    raise ServiceError(413, "PayloadTooLargeException", "A frame has at most 32 KB")
                await self._post(connection, body)
                await exchange.answer_json({})
            case "GET":
                await exchange.answer_json(_description(connection))
            case "DELETE":
                await self._close(connection, 1000, "Connection closed by the service")
                await exchange.answer(204, b"")
            case _:
                raise ServiceError(403, "ForbiddenException", FORBIDDEN)

    async def _manage_mailbox(self, exchange: Exchange, connection_id: str, body: bytes) -> None:
        if exchange.method == "POST":
            self._mailboxes.setdefault(connection_id, deque(maxlen=MAILBOX_LETTERS)).append(body)
        await exchange.answer_json({})


async def _reject(send: Send, refusal: tuple[int, str], identity: Identity) -> None:
    status, text = refusal
    answer = {"message": text, "connectionId": identity.id, "requestId": request_id()}
    headers = [(b"content-type", b"application/json")]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": json.dumps(answer).encode()})


def _present(source: str, handshake: Handshake) -> bool:
    """Whether an identity source such as `route.request.querystring.token` was sent."""
    _, _, place, name = source.split(".", 3)
    return handshake.header(name) is not None if place == "header" else name in handshake.query


def _description(connection: Connection) -> dict[str, Any]:
    identity = connection.identity
    return {
        "connectedAt": _iso(identity.connected_at_ms / 1000),
        "identity": {"sourceIp": identity.handshake.source_ip, "userAgent": identity.user_agent},
        "lastActiveAt": connection.last_active.isoformat(),
    }


def _readable(letter: bytes) -> Any:
    try:
        return json.loads(letter)
    except ValueError:
        return letter.decode("utf-8", "replace")


def _iso(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat()
