"""One HTTP exchange of an emulated service, with the two things that ASGI has no word for: leaving and breaking off."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Receive, Scope, Send

    from local.faults import Fault

TRANSPORT = "transport"  # where the protocol below leaves the connection for `cut`
JSON = "application/json"
JSON_1_0 = "application/x-amz-json-1.0"
JSON_1_1 = "application/x-amz-json-1.1"
XML = "text/xml"
S3_XML = "application/xml"
CREDENTIAL = re.compile(r"Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")


class ServiceError(Exception):
    """An error as an AWS service answers it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Signature:
    """Whom a request says that it comes from, and the region and service that it was signed for."""

    key: str
    region: str
    service: str


class ClosableProtocol(HttpToolsProtocol):
    """Tells the application its connection, so that an emulated service can drop it in the middle of an answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self.app_state = {**self.app_state, TRANSPORT: transport}


class Exchange:
    """A request and the way to answer it; `async with` ends the watch for the client's leaving."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["raw_path"].decode()
        self.query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        self.headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        signed = CREDENTIAL.search(self.headers.get("authorization", ""))
        self.signature = Signature(*signed.groups()) if signed else None
        self.fault: Fault | None = None  # the scripted one that this request meets
        self.answer_is_lost = False  # what is asked for is done, and nobody hears of it
        self._receive = receive
        self._send = send
        self._body: bytes | None = None
        self._gone: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Exchange:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._gone is not None:
            self._gone.cancel()

    @property
    def region(self) -> str:
        """The region that the request was signed for."""
        return self.signature.region if self.signature else ""

    async def body(self) -> bytes:
        """The whole body; from then on the client's leaving is watched for."""
        if self._body is None:
            parts, more = list[bytes](), True
            while more:
                message = await self._receive()
                parts.append(message.get("body", b""))
                more = message.get("more_body", False)
            self._body = b"".join(parts)
            self._gone = asyncio.create_task(self._until_gone())
        return self._body

    def left(self) -> bool:
        """Whether the client has closed its connection."""
        return self._gone is not None and self._gone.done()

    async def pause(self, seconds: float | None) -> None:
        """Wait, but no longer than the client does; None waits for the client to leave."""
        if self._gone is None:
            raise RuntimeError("read the body before waiting")
        if seconds is None or seconds > 0:
            await asyncio.wait([self._gone], timeout=seconds)

    async def start(self, status: int, content_type: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send the head of an answer."""
        named = [("content-type", content_type), ("x-amzn-requestid", str(uuid.uuid4())), *headers]
        raw = [(name.encode(), value.encode()) for name, value in named]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, body: bytes, *, more: bool = True) -> None:
        """Send a piece of an answer's body."""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def answer(
        self, status: int, body: bytes, content_type: str = JSON, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Send a whole answer, unless it is to be lost."""
        if self.answer_is_lost:
            await self.cut()
            return
        await self.start(status, content_type, [("content-length", str(len(body))), *headers])
        await self.write(body, more=False)

    async def answer_json(self, value: Any, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send a whole answer as JSON."""
        await self.answer(status, json.dumps(value, ensure_ascii=False).encode(), JSON, headers)

    async def refuse(self, error: ServiceError, content_type: str = JSON) -> None:
        """Send an error, named where each protocol's clients look: restJson1 in the header, the others in the body."""
        if content_type == S3_XML:
            named = f"<Error><Code>{error.code}</Code><Message>{error.message}</Message></Error>"
        elif content_type == XML:
            told = f"<Code>{error.code}</Code><Message>{error.message}</Message>"
            named = f"<ErrorResponse><Error>{told}</Error></ErrorResponse>"
        else:
            named = json.dumps({"__type": error.code, "message": error.message})
        await self.answer(error.status, named.encode(), content_type, [("x-amzn-errortype", error.code)])

    async def cut(self) -> None:
        """Close the connection as a crashed service would, and see it closed; what was sent before does arrive."""
        self.sever()
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self.pause(None)

    def sever(self) -> None:
        """Close the connection at once; who waits in `pause` finds that the client has left."""
        cast("asyncio.Transport", self.scope["state"][TRANSPORT]).close()

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
