"""Small signed calls of AWS that are polled like a model's: several are under way at once, and one thread waits.

A turn looks up embeddings, search, products and kept answers beside its tables, and gives up on each at its own
instant. The SDK's clients would block on one and cannot be stopped, so here a call is signed and carried by our own
transport.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from mangaassist.errors import KnowledgeUnavailable, Unavailable
from mangaassist.transport import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mangaassist.transport import Exchange, Transport

ANSWER_LIMIT_BYTES = 4 * 1024 * 1024
_OK = 200


class Signer(Protocol):
    """Signs one request for one service and region."""

    def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str | bytes]:
        """The request's headers with its signature; raises KnowledgeUnavailable when there are no credentials."""
        ...


class Call[T]:
    """One small answer on its way."""

    def __init__(self, exchange: Exchange, service: str, read: Callable[[Any], T]) -> None:
        self._exchange = exchange
        self._service = service
        self._read = read
        self._body = bytearray()

    def poll(self, wait_s: float) -> T | None:
        """The answer, waiting at most `wait_s` for it; None when it is not there yet.

        Raises KnowledgeUnavailable, also when the service refuses or answers nonsense; the call is over then.
        """
        left_s = self._exchange.countdown(wait_s)
        try:
            while (piece := self._exchange.read(left_s())) is not None:
                self._body += piece
                if len(self._body) > ANSWER_LIMIT_BYTES:
                    raise KnowledgeUnavailable(self._service, "the answer is too long")
                if not piece and not left_s():
                    return None
        except Unavailable as error:
            self.close()
            raise KnowledgeUnavailable(self._service, error.outcome) from error
        except KnowledgeUnavailable:
            self.close()
            raise
        self.close()
        return self._parsed()

    def wait(self, limit_s: float) -> T:
        """The answer within `limit_s`; raises KnowledgeUnavailable."""
        answer = self.poll(limit_s)
        if answer is None:
            self.close()
            raise KnowledgeUnavailable(self._service, "late")
        return answer

    def close(self) -> None:
        """Give up or finish: an unfinished call's connection is closed, a finished one's kept. Safe to call twice."""
        self._exchange.close()

    def _parsed(self) -> T:
        status = self._exchange.status
        if status != _OK:
            raise KnowledgeUnavailable(self._service, _code(self._body) or f"status {status}")
        try:
            return self._read(json.loads(self._body))
        except (ValueError, KeyError, TypeError, RecursionError, AttributeError, IndexError) as error:
            raise KnowledgeUnavailable(self._service, "garbled") from error


class Caller:
    """Calls one service at one address."""

    def __init__(self, transport: Transport, endpoint: str, signer: Signer, service: str) -> None:
        self._transport = transport
        self._endpoint = endpoint.rstrip("/")
        self._signer = signer
        self._service = service

    def countdown(self, limit_s: float) -> Callable[[], float]:
        """How much is left of a time that begins now."""
        return self._transport.countdown(limit_s)

    def post[T](
        self,
        path: str,
        body: Mapping[str, Any],
        read: Callable[[Any], T],
        limit_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> Call[T]:
        """Send a JSON document, within `limit_s`, without waiting for the answer that `read` will make sense of.

        Raises KnowledgeUnavailable.
        """
        url = f"{self._endpoint}{path}"
        data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        sent = {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})}
        signed = self._signer.sign("POST", url, sent, data)
        try:
            exchange = self._transport.send(Request("POST", url, signed, data), limit_s)
        except Unavailable as error:
            raise KnowledgeUnavailable(self._service, error.outcome) from error
        return Call(exchange, self._service, read)


class TableCaller(Caller):
    """Calls DynamoDB."""

    def ask[T](self, operation: str, body: Mapping[str, Any], read: Callable[[Any], T], limit_s: float) -> Call[T]:
        """Send an operation by its name, such as BatchGetItem; raises KnowledgeUnavailable."""
        headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"DynamoDB_20120810.{operation}"}
        return self.post("/", body, read, limit_s, headers)


def _code(body: bytes | bytearray) -> str:
    """The service's name of a refusal, if it can be told; never its sentence, which may repeat what was asked."""
    try:
        refusal = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    match refusal:
        case {"__type": str(kind)}:
            name = kind.rsplit("#")[-1]
        case {"error": {"type": str(name)}}:
            pass
        case _:
            return ""
    return name if name.replace("_", "").isalnum() and len(name) <= 80 else ""
