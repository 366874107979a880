"""OpenSearch Serverless' data plane, an emulator: the part of OpenSearch's REST that a vector search needs.

It answers on the real wire and searches exactly, by brute force, where the service approximates. A collection is of
one of two generations. `nextgen` takes the ids that documents are given, and leaves vectors out of `_source` unless
they are named. `classic` makes ids itself, refuses given ones and updates, and searches without filters unless a field
says that its engine is faiss. What is written can be searched `refresh_s` later: at once here, about 10 s later on the
service, and 60 s in classic vector collections. An index must exist before anything is written into it; texts are read
by one analyser, whatever the mapping says; aggregations, sorting and scripts there are none.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from local.search_errors import SearchError, illegal
from local.wire import JSON

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from local.profiles import Profiles
    from local.search_collection import Collection
    from local.wire import Exchange

    type Generation = Literal["nextgen", "classic"]
    type Work = Callable[[Collection], dict[str, Any]]

GENERATIONS: tuple[Generation, ...] = ("nextgen", "classic")  # the first where nobody says
ROUTES = [
    (methods, re.compile(f"^{path}$"), operation)
    for methods, path, operation in (
        (("POST", "PUT"), "/_bulk", "_bulk"),
        (("POST", "PUT"), "/(?P<index>[^/_][^/]*)/_bulk", "_bulk"),
        (("POST", "GET"), "/(?P<index>[^/_][^/]*)/_search", "_search"),
        (("POST", "GET"), "/(?P<index>[^/_][^/]*)/_count", "_count"),
        (("GET",), "/(?P<index>[^/_][^/]*)/_mapping", "_mapping"),
        (("PUT", "HEAD", "GET", "DELETE"), "/(?P<index>[^/_][^/]*)", None),
    )
]
REFUSALS = {
    "throttle": (429, "Too Many Requests"),
    "unavailable": (503, "Service Unavailable"),
    "denied": (403, "Forbidden"),
    "error_event": (500, "Internal Server Error"),
}
PLAYED = frozenset({*REFUSALS, "stall", "reject_items"})  # the faults that are this service's own to play


def asked(method: str, path: str) -> tuple[str, str | None] | None:
    """The operation that a request asks for, and the index that its path names; of an index itself it is the method."""
    for methods, pattern, operation in ROUTES:
        if method in methods and (match := pattern.match(path)):
            index = match.groupdict().get("index")
            return operation or method, unquote(index) if index else None
    return None


class OpenSearch:
    """The service; what may take long runs in one thread of its own."""

    def __init__(
        self,
        profiles: Profiles,
        dice: random.Random,
        pace: float = 1,
        *,
        generation: Generation = "nextgen",
        refresh_s: float = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._profiles = profiles
        self._dice = dice
        self._pace = pace
        self._generation = generation
        self._refresh_s = refresh_s
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="search")
        self._collection: Collection | None = None
        self._searches = 0

    def state(self) -> dict[str, Any]:
        """What is there and what was asked, for people and tests."""
        known = self._collection
        return {
            "generation": self._generation,
            "documents": known.documents() if known else {},
            "searches": self._searches,
            "bulk_items": known.items if known else 0,
            "rejected": known.rejected if known else 0,
        }

    async def __call__(self, exchange: Exchange) -> None:
        body = await exchange.body()
        kind = exchange.fault.fault if exchange.fault else ""
        if "x-amz-content-sha256" not in exchange.headers:
            kind = "denied"  # the service accepts no signature without it
        if kind in REFUSALS:
            status, name = REFUSALS[kind]
            await _answer(exchange, status, {"status": status, "error": {"reason": f"{status} {name}", "type": name}})
            return
        wanted = asked(exchange.method, exchange.path)
        if wanted is None:  # _refresh among them
            await exchange.answer(404, b"")
            return
        try:
            _check(exchange)
            work = self._work(*wanted, body, reject=kind == "reject_items")
            await exchange.pause(self._wait_s())
            answer = await asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)
        except SearchError as error:
            await _answer(exchange, error.status, error.body)
        else:
            await _answer(exchange, 200, answer)

    def _work(self, operation: str, index: str | None, body: bytes, *, reject: bool) -> Work:
        name = index or ""
        self._searches += operation == "_search"
        work: dict[str, Work] = {
            "_bulk": lambda known: known.bulk(body, index, reject=reject),
            "_search": lambda known: known.search(name, body),
            "_count": lambda known: known.count(name, body),
            "_mapping": lambda known: known.mapping(name),
            "PUT": lambda known: known.create(name, body),
            "GET": lambda known: known.describe(name),
            "HEAD": lambda known: known.describe(name),
            "DELETE": lambda known: known.delete(name),
        }
        return work[operation]

    def _do(self, work: Work) -> bytes:
        if self._collection is None:
            from local.search_collection import Collection  # not before it is needed: numpy takes a while to import

            classic = self._generation == "classic"
            self._collection = Collection(self._refresh_s, self._clock, classic=classic)
        return json.dumps(work(self._collection), ensure_ascii=False).encode()

    def _wait_s(self) -> float:
        latency_s = self._profiles.search.latency_ms / 1000
        return latency_s * self._dice.lognormvariate(0, self._profiles.jitter) * self._pace


def _check(exchange: Exchange) -> None:
    """Refuse what Serverless does not take in a query string, which is nearly everything."""
    refresh = exchange.query.pop("refresh", "false")
    if refresh != "false":
        raise SearchError(400, "status_exception", f"{refresh} refresh policy is not supported.")
    if exchange.query:
        raise illegal(f"request [{exchange.path}] contains unrecognized parameter: [{next(iter(exchange.query))}]")


async def _answer(exchange: Exchange, status: int, told: dict[str, Any] | bytes) -> None:
    body = told if isinstance(told, bytes) else json.dumps(told, ensure_ascii=False).encode()
    if exchange.fault is None or exchange.fault.fault != "stall":
        await exchange.answer(status, body)
        return
    await exchange.start(status, JSON, [("content-length", str(len(body)))])
    await exchange.write(body[: len(body) // 2])
    await exchange.pause(None)
