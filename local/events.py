"""The events that a WebSocket API hands to its functions, member by member as API Gateway writes them."""

from __future__ import annotations

import base64
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from local.intrinsics import ACCOUNT, REGION

if TYPE_CHECKING:
    from starlette.types import Scope

    from local.template import Api

REASONS = {1000: "Normal Closure", 1001: "Going away", 1005: "Client-side close frame status not set"}


def request_id() -> str:
    """An id as API Gateway makes them: short, and with a `=` at its end."""
    return base64.urlsafe_b64encode(os.urandom(11)).decode()


@dataclass(frozen=True)
class Handshake:
    """What a client brought when it connected."""

    headers: dict[str, list[str]]
    query: dict[str, list[str]]
    source_ip: str
    subprotocols: tuple[str, ...]

    @classmethod
    def of(cls, scope: Scope) -> Handshake:
        """Read a WebSocket request; header names are written as API Gateway passes them on."""
        host, port = scope["client"] or ("127.0.0.1", 0)
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(_header_case(name.decode()), []).append(value.decode("latin-1"))
        headers |= {"X-Forwarded-For": [host], "X-Forwarded-Port": [str(port)], "X-Forwarded-Proto": ["http"]}
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        return cls(headers, query, host, tuple(scope["subprotocols"]))

    def header(self, name: str) -> str | None:
        """A header's last value, whatever the case of its name."""
        return next((values[-1] for key, values in self.headers.items() if key.lower() == name.lower()), None)


@dataclass
class Identity:
    """A connection as events describe it; `authorizer` is what the authorizer said of its owner."""

    api: Api
    handshake: Handshake
    domain: str
    id: str = field(default_factory=request_id)
    connected_at_ms: int = field(default_factory=lambda: int(time.time() * 1000))
    authorizer: dict[str, str] = field(default_factory=dict)

    @property
    def user_agent(self) -> str:
        return self.handshake.header("User-Agent") or ""

    def authorize(self, method_arn: str) -> dict[str, Any]:
        """The event of a REQUEST authorizer."""
        return {
            "type": "REQUEST",
            "methodArn": method_arn,
            **_sent(self.handshake, empty={}),
            "stageVariables": {},
            "requestContext": self._context("$connect", "CONNECT"),
        }

    def connect(self) -> dict[str, Any]:
        """The event of `$connect`."""
        return {
            **_sent(self.handshake),
            "requestContext": self._context("$connect", "CONNECT"),
            "isBase64Encoded": False,
        }

    def message(self, route: str, body: str | bytes) -> dict[str, Any]:
        """The event of a message: no headers, no query, the raw body."""
        context = self._context(route, "MESSAGE") | {"messageId": request_id()}
        if isinstance(body, bytes):
            return {"requestContext": context, "body": base64.b64encode(body).decode(), "isBase64Encoded": True}
        return {"requestContext": context, "body": body, "isBase64Encoded": False}

    def disconnect(self, code: int, reason: str) -> dict[str, Any]:
        """The event of `$disconnect`, which may also never come."""
        headers = {"Host": self.domain, "x-api-key": "", "X-Forwarded-For": "", "x-restapi": ""}
        context = self._context("$disconnect", "DISCONNECT")
        context |= {"disconnectStatusCode": code, "disconnectReason": reason or REASONS.get(code, "")}
        return {
            "headers": headers,
            "multiValueHeaders": {name: [value] for name, value in headers.items()},
            "requestContext": context,
            "isBase64Encoded": False,
        }

    def method_arn(self, route: str) -> str:
        """What a policy document allows or denies."""
        return f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{self.api.id}/{self.api.stage}/{route}"

    def _context(self, route: str, kind: str) -> dict[str, Any]:
        now = datetime.now(UTC)
        context: dict[str, Any] = {
            "routeKey": route,
            "eventType": kind,
            "extendedRequestId": request_id(),
            "requestTime": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "messageDirection": "IN",
            "stage": self.api.stage,
            "connectedAt": self.connected_at_ms,
            "requestTimeEpoch": int(now.timestamp() * 1000),
            "identity": {"userAgent": self.user_agent, "sourceIp": self.handshake.source_ip},
            "requestId": request_id(),
            "domainName": self.domain,
            "connectionId": self.id,
            "apiId": self.api.id,
        }
        if self.authorizer:
            context["authorizer"] = dict(self.authorizer)
        return context


def principal(policy: Any) -> tuple[bool, dict[str, str]]:
    """Read an authorizer's answer: whether it allows, and the context that later events carry.

    Raises ValueError for an answer that API Gateway would turn into a 500.
    """
    try:
        statements = policy["policyDocument"]["Statement"]
        effects = {statement["Effect"] for statement in statements}
        context = {"principalId": policy["principalId"], **policy.get("context", {})}
    except (KeyError, TypeError) as error:
        raise ValueError(f"the authorizer's answer lacks {error}") from error
    if any(not isinstance(value, str | int | float | bool) for value in context.values()):
        raise ValueError("an authorizer's context may hold only strings, numbers and booleans")
    return effects == {"Allow"}, {name: _text(value) for name, value in context.items()}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sent(handshake: Handshake, empty: Any = None) -> dict[str, Any]:
    members: dict[str, Any] = {
        "headers": {name: values[-1] for name, values in handshake.headers.items()},
        "multiValueHeaders": handshake.headers,
    }
    if handshake.query or empty is not None:
        members["queryStringParameters"] = {name: values[-1] for name, values in handshake.query.items()}
        members["multiValueQueryStringParameters"] = handshake.query
    return members


def _header_case(name: str) -> str:
    words = {"websocket": "WebSocket"}
    return "-".join(words.get(part, part.capitalize()) for part in name.lower().split("-"))
