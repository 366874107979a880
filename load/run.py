"""A run: all shoppers of a plan against one place, and what the place's process took meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from load.schedule import by_shopper
from load.shopper import CONNECT_AHEAD_S, Asked, Line, Shopper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from load.schedule import Planned

WATCH_EVERY_S = 1.0
DOOR_LIMIT_S = 15.0  # in which the first connection must come about
REST_LIMIT_S = 15.0  # in which nothing of a run may be left in the place


@dataclass(frozen=True, slots=True)
class Place:
    """Where shoppers connect; a twin has controls beside its WebSocket, a deployment has not."""

    url: str
    tokens: tuple[str, ...] = ()  # shoppers take turns with them; without any, the twin makes one for each

    @property
    def origin(self) -> str | None:
        """The twin's page, as a browser names it; a deployment's is not known."""
        return None if self.tokens else f"http://{urlsplit(self.url).netloc}"

    @property
    def controls(self) -> str:
        """The address of the twin's controls."""
        return f"http://{urlsplit(self.url).netloc}/twin"


@dataclass(frozen=True, slots=True)
class Sample:
    """What the twin's process had and had used at an instant of the run, and what the load's own had used."""

    at_s: float
    cpu_s: float
    environments_cpu_s: float
    own_cpu_s: float
    memory_mb: float | None
    threads: int
    sockets: int | None
    environments_memory_mb: float | None
    environments_threads: int
    environments_sockets: int | None
    under_way: int  # turns that wait for their last frame


@dataclass
class Run:
    """What a run brought; `left` is what was still there when it should have been at rest."""

    asked: list[Asked] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)  # tries to connect, by what came of them


class NobodyConnects(Exception):
    """Not even one connection comes about; the text says why."""


class TwinTokens:
    """Tokens of the twin."""

    def __init__(self, client: httpx.AsyncClient, controls: str) -> None:
        self._client = client
        self._controls = controls

    async def of(self, user: str) -> str:
        """Ask the twin."""
        try:
            answer = await self._client.get(f"{self._controls}/token", params={"user": user})
            return str(answer.raise_for_status().json()["token"])
        except httpx.HTTPError as error:
            raise OSError(str(error)) from error


class GivenTokens:
    """Tokens that somebody made for a deployment, handed out in turn."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = tokens

    async def of(self, user: str) -> str:
        """One for each user, over and over."""
        return self._tokens[int(user.rpartition("-")[2]) % len(self._tokens)]


def run(place: Place, planned: Sequence[Planned], progress: Callable[[Run, float], object]) -> Run:
    """Let all shoppers ask; `progress` hears of the run and its instant once a second. Raises NobodyConnects."""
    return asyncio.run(_run(place, planned, progress))


async def _run(place: Place, planned: Sequence[Planned], progress: Callable[[Run, float], object]) -> Run:
    result = Run()
    async with httpx.AsyncClient(timeout=10, limits=httpx.Limits(max_connections=20)) as client:
        tokens = GivenTokens(place.tokens) if place.tokens else TwinTokens(client, place.controls)
        await _try_door(Line(place.url, tokens, "load-0", place.origin))
        starts_s = planned[0].at_s - CONNECT_AHEAD_S if planned else 0.0
        began = asyncio.get_running_loop().time() - starts_s
        shares = by_shopper(planned)
        lines = {number: Line(place.url, tokens, f"load-{number}", place.origin) for number in shares}
        watch = asyncio.create_task(_watch(place, client, began, result, progress))
        try:
            async with asyncio.TaskGroup() as shoppers:
                for number, turns in shares.items():
                    shoppers.create_task(Shopper(lines[number], began).ask_all(turns, result.asked))
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
        result.refused = sum((line.refused for line in lines.values()), Counter())
        if not place.tokens:
            result.left = await _rest(place, client)
    return result


async def _try_door(line: Line) -> None:
    """Connect once before the load: a wrong address or token is no lost turn of the place."""
    try:
        await line.open(asyncio.get_running_loop().time() + DOOR_LIMIT_S)
    except TimeoutError:
        raise NobodyConnects(", ".join(line.refused) or "no answer in time") from None
    await line.close()


async def _watch(
    place: Place, client: httpx.AsyncClient, began: float, result: Run, progress: Callable[[Run, float], object]
) -> None:
    loop = asyncio.get_running_loop()
    while True:
        at_s = loop.time() - began
        if not place.tokens:
            with contextlib.suppress(httpx.HTTPError):
                figures = (await client.get(f"{place.controls}/process")).raise_for_status().json()
                result.samples.append(_sample(at_s, figures, sum(not it.turn.is_over for it in result.asked)))
        progress(result, at_s)
        await asyncio.sleep(WATCH_EVERY_S)


def _sample(at_s: float, figures: dict[str, Any], under_way: int) -> Sample:
    return Sample(
        at_s=round(at_s, 2),
        cpu_s=figures["cpu_s"],
        environments_cpu_s=figures["environments_cpu_s"],
        own_cpu_s=round(time.process_time(), 3),
        memory_mb=figures["memory_mb"],
        threads=figures["threads"],
        sockets=figures["sockets"],
        environments_memory_mb=figures["environments_memory_mb"],
        environments_threads=figures["environments_threads"],
        environments_sockets=figures["environments_sockets"],
        under_way=under_way,
    )


async def _rest(place: Place, client: httpx.AsyncClient) -> dict[str, int]:
    """What is left of connections and model streams once there was time for them to end."""
    until = time.monotonic() + REST_LIMIT_S
    left = {"states that could not be read": 1}
    while True:
        with contextlib.suppress(httpx.HTTPError):
            state = (await client.get(f"{place.controls}/state")).raise_for_status().json()
            left = {"connections": len(state["connections"]), "model streams": state["emulator"]["active_streams"]}
        if not any(left.values()) or time.monotonic() > until:
            return {name: count for name, count in left.items() if count}
        await asyncio.sleep(0.5)
