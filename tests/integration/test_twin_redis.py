"""The twin's Redis in trouble, as the application's own client meets it; its commands are under test_answer_stores."""

from __future__ import annotations

import json
import random
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from local.faults import Faults
from mangaassist.errors import KnowledgeUnavailable
from tests.integration.answer_places import EmulatedServer, emulated

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_S = 0.3


@pytest.fixture
def faults() -> Faults:
    return Faults(random.Random(1))


@pytest.fixture
def server(faults: Faults) -> Iterator[EmulatedServer]:
    with emulated(faults) as server:
        yield server


def put(faults: Faults, **fault: object) -> None:
    faults.put(json.dumps({"cache": fault}).encode(), {"cache"})


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("throttle", "ERR"),
        ("unavailable", "LOADING"),
        ("denied", "NOPERM"),
        ("error_event", "ERR"),
        ("garbage", "garbled"),
        ("cut", "ConnectionResetError"),
        ("hang", "late"),
        ("stall", "late"),
    ],
)
def test_each_fault_is_told_apart_and_over_with_its_count(
    server: EmulatedServer, faults: Faults, fault: str, reason: str
) -> None:
    put(faults, fault=fault, count=1)
    with closing(server.server()) as client:
        with pytest.raises(KnowledgeUnavailable, match=reason):
            client.ask(("HGETALL", "k"), limit_s=LIMIT_S)
        assert client.ask(("HGETALL", "k"), limit_s=LIMIT_S) == [[]]


def test_a_fault_may_be_of_one_command(server: EmulatedServer, faults: Faults) -> None:
    put(faults, fault="denied", operation="HSET")
    with closing(server.server()) as client:
        assert client.ask(("HGETALL", "k"), limit_s=LIMIT_S) == [[]]
        with pytest.raises(KnowledgeUnavailable, match="NOPERM"):
            client.ask(("HSET", "k", "f", "v"), limit_s=LIMIT_S)


def test_a_slow_server_answers_late(server: EmulatedServer, faults: Faults) -> None:
    put(faults, fault="slow", first_token_ms=30)
    with closing(server.server()) as client:
        began = time.monotonic()
        assert client.ask(("PING",), limit_s=LIMIT_S) == ["PONG"]
    assert time.monotonic() - began >= 0.03


def test_what_it_does_not_know_it_says(server: EmulatedServer) -> None:
    with closing(server.server()) as client:
        for command in (("KEYS", "*"), ("HSET", "k"), ("SET", "k", "v", "XX", "PX", 1), ("EXPIRE", "k", "soon")):
            with pytest.raises(KnowledgeUnavailable, match="ERR"):
                client.ask(command, limit_s=LIMIT_S)
        client.ask(("SET", "k", "v", "NX", "PX", 5_000), limit_s=LIMIT_S)
        with pytest.raises(KnowledgeUnavailable, match="WRONGTYPE"):
            client.ask(("HGETALL", "k"), limit_s=LIMIT_S)
