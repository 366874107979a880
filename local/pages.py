"""What people and tests reach: the page, `/twin/*` and the shoppers' WebSocket, from this machine only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

FOLDER = Path(__file__).with_name("page")
SERVED = (
    *("capacity.css", "capacity.js", "chat.css", "chat.js", "client.js", "windows.js", "words.js"),
    *("console.css", "console.js", "console-words.js", "turns.js"),
)
FILES = {"/": "index.html", "/console": "console.html"} | {f"/{name}": name for name in SERVED}
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' {socket}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
NOT_OURS = "this is a development tool; it answers only its own pages and programs on this machine"


class Front:
    """The front door: checks who knocks, then shows the way."""

    def __init__(self, port: int, socket_path: str, gateway: ASGIApp, controls: list[Route]) -> None:
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        self._socket_path = socket_path
        self._gateway = gateway
        pages = [Route(path, self._page, methods=["GET"]) for path in FILES]
        self._http = Starlette(routes=[*pages, *controls])

    @property
    def origins(self) -> list[str]:
        """The origins of the page itself."""
        return [f"http://{host}" for host in sorted(self._hosts)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        ours = headers.get(b"host") in self._hosts  # another name that leads here is a DNS rebinding
        if scope["type"] == "websocket":
            if ours and scope["path"] == self._socket_path:
                await self._gateway(scope, receive, send)
            else:
                await send({"type": "websocket.close"})  # before the handshake: a 403
        elif scope["type"] == "http":
            if ours and (not scope["path"].startswith("/twin/") or self._may_control(headers)):
                await self._http(scope, receive, send)
            else:
                await JSONResponse({"error": NOT_OURS}, status_code=403)(scope, receive, send)

    def _may_control(self, headers: dict[bytes, str]) -> bool:
        """Whether a request comes from our page or from no page at all."""
        origin = headers.get(b"origin")
        site = headers.get(b"sec-fetch-site", "none")
        return (origin is None or origin in self.origins) and site in ("none", "same-origin")

    async def _page(self, request: Request) -> Response:
        file = FOLDER / FILES[request.url.path]
        sockets = " ".join(f"ws://{host}" for host in sorted(self._hosts))
        headers = {name: value.replace("{socket}", sockets) for name, value in HEADERS.items()}
        return Response(file.read_bytes(), media_type=TYPES[file.suffix], headers=headers)
