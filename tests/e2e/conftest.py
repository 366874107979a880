"""The twin that the tests of a module talk to: a module of its own twin, so that no trouble is carried over."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.browsing import browser, visit  # noqa: F401 - fixtures
from tests.e2e.running import Running, frames, running, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection

OFF_PEAK, BUSINESS, PEAK = (f"2026-11-25T{hour}:00:00+09:00" for hour in ("03", "10", "19"))


@dataclass
class Answer:
    """What came back for one question, as a client sees it; `first_text_s` is measured by the client."""

    frames: list[dict[str, Any]] = field(default_factory=list)
    first_text_s: float | None = None

    @property
    def text(self) -> str:
        return text_of(self.frames)

    @property
    def end(self) -> dict[str, Any]:
        assert self.frames[-1]["type"] == "end", self.frames[-1]
        return self.frames[-1]

    @property
    def turn_id(self) -> str:
        return str(self.frames[0]["turn_id"])

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        return [(attempt["target"], attempt["outcome"]) for attempt in self.end["attempts"]]

    def kinds(self) -> list[str]:
        return [frame["type"] for frame in self.frames]


def ask(connection: ClientConnection, message: str, **more: Any) -> Answer:
    """Ask and read the answer to its end."""
    answer, began = Answer(), time.monotonic()
    connection.send(json.dumps({"action": "ask", "message": message, **more}))
    for frame in frames(connection):
        answer.frames.append(frame)
        if frame["type"] == "delta" and answer.first_text_s is None:
            answer.first_text_s = time.monotonic() - began
    return answer


def send(connection: ClientConnection, **frame: Any) -> None:
    """Send any other frame."""
    connection.send(json.dumps(frame))


def charges(twin: Running) -> dict[str, int]:
    """What the emulated service charged so far, over all models."""
    total: dict[str, int] = {}
    for charge in twin.get("state")["emulator"]["charges"].values():
        for name, value in charge.items():
            total[name] = total.get(name, 0) + value
    return total


def until(condition: Any, seconds: float = 6) -> None:
    """Wait for what happens a little later, such as the end of an abandoned turn."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.03)


@pytest.fixture(scope="module")
def twin() -> Iterator[Running]:
    with running("--set", "TURNS_PER_MINUTE=6000", "--set", "ANSWER_CACHE=off", "--pace", "0.2") as twin:
        twin.put("clock", {"now": OFF_PEAK})
        yield twin


@pytest.fixture(autouse=True)
def _no_faults_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "twin" in request.fixturenames:
        request.getfixturevalue("twin").delete("faults")
