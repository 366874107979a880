"""Stands between a function and the emulated DynamoDB, and writes down which table each call does what to."""

from __future__ import annotations

import http.client
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

type Access = tuple[str, str]  # an IAM action and the table that it is done to

IN_TRANSACTIONS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}


class Recorder(ThreadingHTTPServer):
    """Passes every call on to `upstream` and adds it to `seen`."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream)
        self.seen: set[Access] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def recording(upstream: str) -> Iterator[Recorder]:
    """A recorder in front of an address."""
    with Recorder(upstream) as recorder:
        threading.Thread(target=recorder.serve_forever, name="recorder", daemon=True).start()
        try:
            yield recorder
        finally:
            recorder.shutdown()


def accesses(operation: str, call: dict[str, Any]) -> set[Access]:
    """What a call needs the permission for; a transaction needs those of its parts, a batch its own for each table."""
    if operation in ("BatchGetItem", "BatchWriteItem"):
        return {(f"dynamodb:{operation}", table) for table in call["RequestItems"]}
    if operation == "TransactWriteItems":
        parts = [part for item in call["TransactItems"] for part in item.items()]
        return {(f"dynamodb:{IN_TRANSACTIONS[kind]}", write["TableName"]) for kind, write in parts}
    return {(f"dynamodb:{operation}", call["TableName"])}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Recorder

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        self.server.seen |= accesses(operation, json.loads(body))
        upstream = http.client.HTTPConnection(str(self.server.upstream.netloc), timeout=10)
        upstream.request("POST", self.path, body, dict(self.headers.items()))
        reply = upstream.getresponse()
        answer = reply.read()
        upstream.close()
        self.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in {"connection", "content-length", "date", "server", "transfer-encoding"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: what was seen is the record."""
