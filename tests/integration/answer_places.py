"""The places that keep answers as they really are, and what tests put into them behind the stores' backs."""

from __future__ import annotations

import asyncio
import io
import json
import random
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Protocol

import boto3
from botocore.credentials import Credentials
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends

from local import dynamodb
from local.faults import Faults
from local.redis import Redis
from mangaassist.knowledge.cache.answers import Answer, AnswerStore
from mangaassist.knowledge.cache.dynamodb import TableAnswers
from mangaassist.knowledge.cache.redis import RedisAnswers
from mangaassist.knowledge.cache.resp import Server
from mangaassist.knowledge.calls import TableCaller
from mangaassist.signing import SdkSigner
from mangaassist.transport import Transport
from tests.integration import redis_servers, tables
from tests.integration.wire import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mangaassist.knowledge.cache.resp import Reply
    from tests.integration.redis_servers import RedisServer
    from tests.integration.wire import Asked, Peer

REGION = "ap-northeast-1"
EMULATED = "emulated"  # the twin's own Redis
NAMES = ("table", EMULATED, *redis_servers.KINDS)


class Place(Protocol):
    """A place that keeps answers."""

    def store(self, now_s: Callable[[], float] = time.time) -> AnswerStore:
        """What the application makes of it; the server's own time is real."""
        ...

    def plant(self, bucket: str, wording: str, fields: Any) -> None:
        """Put anything at all into an answer's place."""
        ...

    def wordings(self, bucket: str) -> set[str]:
        """What it holds in a bucket, readable or not."""
        ...

    def forgets_at(self, bucket: str, wording: str) -> float:
        """When it forgets an answer by itself, in epoch seconds."""
        ...

    def empty(self) -> None:
        """Forget everything."""
        ...

    def close(self) -> None:
        """Leave no connection open."""
        ...


class RedisPlace:
    """A Redis server."""

    def __init__(self, server: RedisServer | EmulatedServer) -> None:
        self.server = server
        self._clients: list[Server] = []

    def store(self, now_s: Callable[[], float] = time.time) -> AnswerStore:
        self._clients.append(self.server.server())
        return RedisAnswers(self._clients[-1], now_s)

    def plant(self, bucket: str, wording: str, fields: Any) -> None:
        written = fields if isinstance(fields, bytes) else json.dumps(fields)
        self.server.ask("HSET", f"answers:{bucket}", wording, written)

    def wordings(self, bucket: str) -> set[str]:
        found = self.server.ask("HKEYS", f"answers:{bucket}")
        assert isinstance(found, list)
        return {wording.decode() for wording in found if isinstance(wording, bytes)}

    def forgets_at(self, bucket: str, wording: str) -> float:
        left_s = self.server.ask("TTL", f"answers:{bucket}")
        assert isinstance(left_s, int)
        assert left_s != -1, "never"
        return time.time() + left_s

    def empty(self) -> None:
        self.server.ask("FLUSHALL")

    def close(self) -> None:
        for client in self._clients:
            client.close()


@dataclass
class EmulatedServer:
    """The twin's own Redis, from which the tests ask as its owner."""

    endpoint: str

    def server(self) -> Server:
        """A new client, with no connection yet."""
        return Server(self.endpoint)

    def ask(self, *command: str | bytes | int) -> Reply:
        """Do something to it."""
        with closing(self.server()) as client:
            (reply,) = client.ask(command, limit_s=10)
        return reply


@contextmanager
def emulated(faults: Faults) -> Iterator[EmulatedServer]:
    """The twin's Redis on a loop of its own, met by these faults."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    redis = Redis(faults, time.time)
    try:
        yield EmulatedServer(asyncio.run_coroutine_threadsafe(redis.begin("127.0.0.1"), loop).result())
    finally:
        asyncio.run_coroutine_threadsafe(redis.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class TablePlace:
    """The answers table, over HTTP."""

    def __init__(self, url: str) -> None:
        self._client = boto3.client(
            "dynamodb", REGION, endpoint_url=url, aws_access_key_id="x", aws_secret_access_key="x"
        )
        signer = SdkSigner(lambda: Credentials("x", "x"), REGION, "dynamodb")
        self._transport = Transport()
        self._caller = TableCaller(self._transport, url, signer, "dynamodb")

    def store(self, now_s: Callable[[], float] = time.time) -> AnswerStore:
        return TableAnswers(self._caller, tables.ANSWERS, now_s)

    def plant(self, bucket: str, wording: str, fields: Any) -> None:
        tables.put(self._client, tables.ANSWERS, pk=f"ANSWER#{bucket}", sk=wording, **self._planted(fields))

    def wordings(self, bucket: str) -> set[str]:
        found = tables.everything(self._client, tables.ANSWERS)
        return {item["sk"] for item in found if item["pk"] == f"ANSWER#{bucket}"}

    def forgets_at(self, bucket: str, wording: str) -> float:
        item = tables.get(self._client, tables.ANSWERS, f"ANSWER#{bucket}", wording)
        return float(item["expires_at"])  # the attribute that the template names

    def empty(self) -> None:
        dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].reset()
        tables.create(self._client)

    def close(self) -> None:
        self._transport.close()
        self._client.close()

    @staticmethod
    def _planted(fields: Any) -> dict[str, Any]:
        return {**fields} if isinstance(fields, dict) else {"something": str(fields)}


@contextmanager
def running(name: str, folder: Path) -> Iterator[RedisPlace | TablePlace]:
    """One of NAMES, for as long as it is needed."""
    if name == "table":
        with ScriptedServer(tables_over_http()) as server:
            yield TablePlace(server.url)
    elif name == EMULATED:
        with emulated(Faults(random.Random(1))) as server:
            yield RedisPlace(server)
    else:
        with redis_servers.running(name, folder) as server:
            yield RedisPlace(server)


def tables_over_http() -> Callable[[Peer, Asked], None]:
    """A script that answers as DynamoDB, one request at a time: moto's conditional writes are not atomic."""
    one_at_a_time = Lock()

    def script(peer: Peer, asked: Asked) -> None:
        environ = {
            "REQUEST_METHOD": asked.method,
            "PATH_INFO": asked.target,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(asked.body),
            "CONTENT_LENGTH": str(len(asked.body)),
            "CONTENT_TYPE": asked.headers["content-type"],
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in asked.headers.items()},
        }
        with one_at_a_time:
            status, _, body = dynamodb.ask(environ)
        peer.send(b"HTTP/1.1 %d Told\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

    return script


def answer(wording: str = "w1", **changes: Any) -> Answer:
    """An answer that lives for an hour."""
    fields: dict[str, Any] = {
        "wording": wording,
        "text": "『ONE PIECE』は全10巻で、1巻500円です。\r\n\x00\u2028「続き」🏴‍☠️",
        "target": "ondemand-haiku",
        "model": "haiku",
        "stamps": {"one-piece": "0a1b", "ナルト": "ff"},
        "expires_at": int(time.time()) + 3600,
        "vector": bytes(range(256)) * 8,
    }
    return Answer(**fields | changes)
