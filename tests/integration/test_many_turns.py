"""Sixty-four turns at once in one process, through the real handler: none gets anything of another."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

import message
from mangaassist import bootstrap
from mangaassist.capacity.utilisation import Utilisation
from mangaassist.chat import gathering
from mangaassist.chat.connections import ConnectionStore
from mangaassist.chat.conversation import Conversation
from mangaassist.chat.followup import Followup
from mangaassist.chat.gathering import Stores
from mangaassist.chat.once import Once
from mangaassist.chat.reception import Reception
from mangaassist.chat.research import Research
from mangaassist.chat.sessions import SessionStore
from mangaassist.chat.turns import TurnStore
from mangaassist.knowledge.search import Search
from mangaassist.money.ledger import Ledger
from mangaassist.money.prices import Usage
from mangaassist.observability import logger, metrics
from mangaassist.routing import policy
from mangaassist.routing.backends import ModelCall, Stopped, StreamEvent, TextDelta, UsageReport
from mangaassist.routing.estimates import Estimates
from mangaassist.routing.failover import Failover
from mangaassist.routing.store import SituationStore
from tests.conftest import STACK
from tests.integration import environment, tables
from tests.integration.tables import CONNECTIONS, IDEMPOTENCY, SITUATION, TURNS
from tests.unit.fakes import FakeClock, FakeShelf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from mangaassist.chat.turn import Shopper
    from mangaassist.deadline import Deadline

AT_ONCE = 64
MEETING_S = 60.0
TAG = re.compile(r"zebra(\d+)")
PRICES = policy.preset("current").models["haiku-5-5"].prices[-1]


@dataclass(frozen=True)
class Context(environment.Context):
    """Lambda's, at the start of a turn."""

    def get_remaining_time_in_millis(self) -> int:
        return 29_000


@dataclass
class Stream:
    """Says whose question it answers, once every other turn's model has been called too."""

    number: int
    meeting: threading.Barrier
    said: int = 0

    def poll(self, wait_s: float) -> tuple[StreamEvent, ...] | None:
        if self.said == 0:
            self.meeting.wait(MEETING_S)
        self.said += 1
        if self.said <= 3:
            return (TextDelta(f"zebra{self.number} "),)
        if self.said == 4:
            return Stopped("complete"), UsageReport(Usage(input_tokens=100, output_tokens=1 + self.number))
        return None

    def close(self) -> None:
        pass


@dataclass
class Backend:
    """Answers each call about what it was asked."""

    meeting: threading.Barrier = field(default_factory=lambda: threading.Barrier(AT_ONCE))

    def open(self, call: ModelCall, limit_s: float) -> Stream:
        (found,) = set(TAG.findall(call.messages[-1].text))
        return Stream(int(found), self.meeting)


class Inboxes:
    """The shoppers' clients."""

    def __init__(self) -> None:
        self.of: dict[str, list[dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def post(self, connection_id: str, data: bytes) -> None:
        with self._lock:
            self.of.setdefault(connection_id, []).append(json.loads(data))


@dataclass
class Together:
    """A reception that lets no turn go, and write its metrics, before every other one has counted its own."""

    reception: Reception
    meeting: threading.Barrier = field(default_factory=lambda: threading.Barrier(AT_ONCE))

    def receive(self, body: str | None, shopper: Shopper, deadline: Deadline, context: Any) -> None:
        self.reception.receive(body, shopper, deadline, context)
        self.meeting.wait(MEETING_S)


@pytest.fixture
def inboxes(monkeypatch: pytest.MonkeyPatch, dynamodb: DynamoDBClient) -> Inboxes:
    """The message function's whole application over emulated tables and models; slow tables count as quick ones."""
    environment.enter(monkeypatch)
    monkeypatch.setattr(gathering, "GATHER_LIMIT_S", MEETING_S)
    situation = SituationStore(
        dynamodb, SITUATION, default_policy=policy.preset("current"), on_invalid_policy=lambda *_: pytest.fail("policy")
    )
    ledger = Ledger(dynamodb, unrepeated=dynamodb, situation_table=SITUATION, turns_table=TURNS)
    turns, sessions = TurnStore(dynamodb, TURNS), SessionStore(dynamodb, TURNS, ttl_days=30)
    inboxes, clock = Inboxes(), FakeClock()
    stores = Stores(
        connections=ConnectionStore(dynamodb, CONNECTIONS, is_gone=lambda _id: False),
        once=Once(dynamodb, IDEMPOTENCY),
        situation=situation,
        sessions=sessions,
        turns=turns,
        ledger=ledger,
        utilisation=Utilisation(dynamodb, unrepeated=dynamodb, situation_table=SITUATION),
        research=Research(Search(cast("Any", FakeShelf(clock)), None, None, clock.monotonic), None),
    )
    followup = Followup(turns, sessions, inboxes)
    failover = Failover(backends={"bedrock": Backend()}, estimates=Estimates(), purse=ledger, probes=situation)
    conversation = Conversation(
        stores=stores, failover=failover, followup=followup, poster=inboxes, turns_per_minute=20
    )
    reception = Reception(conversation, followup, inboxes)
    monkeypatch.setattr(bootstrap, "situation", lambda: situation)
    together = Together(reception)
    monkeypatch.setattr(bootstrap, "reception", lambda: together)
    return inboxes


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the logger writes, in its own format."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logger.registered_formatter)
    logging.getLogger(logger.service).addHandler(handler)
    yield stream
    logging.getLogger(logger.service).removeHandler(handler)


def run(number: int) -> dict[str, int]:
    """One shopper's question."""
    event = environment.event(
        "message-ask-ja",
        connectionId=f"connection-{number}",
        requestId=f"gateway-{number}",
        authorizer={"principalId": f"shopper-{number}"},
    )
    event["body"] = json.dumps({"action": "ask", "message": f"zebra{number}?", "session_id": f"session-{number}"})
    answer: dict[str, int] = message.handler(event, cast("Any", Context(aws_request_id=f"request-{number}")))
    return answer


def test_each_of_64_turns_keeps_its_frames_its_account_its_metrics_and_its_log_lines(
    inboxes: Inboxes, dynamodb: DynamoDBClient, log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics.clear_metrics()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert list(pool.map(run, range(AT_ONCE))) == [{"statusCode": 200}] * AT_ONCE

    rows = tables.everything(dynamodb, TURNS)
    lines = {row["user_id"]: row for row in rows if row["pk"].startswith("LEDGER#")}
    memory = {row["pk"]: row["history"] for row in rows if row["sk"] == "SESSION"}
    told = [json.loads(line) for line in log.getvalue().splitlines()]
    turns = {line["turn_id"]: line for line in told if line["message"] == "turn"}
    assert len(lines) == len(memory) == len(turns) == AT_ONCE
    for number in range(AT_ONCE):
        frames = inboxes.of[f"connection-{number}"]
        turn_id = frames[0]["turn_id"]
        assert {frame["turn_id"] for frame in frames} == {turn_id}
        assert [frame["seq"] for frame in frames] == list(range(len(frames)))
        text = "".join(frame["text"] for frame in frames if frame["type"] == "delta")
        assert text == f"zebra{number} " * 3
        cost = 100 * PRICES.input_nano_usd + (1 + number) * PRICES.output_nano_usd
        line = lines[f"shopper-{number}"]
        assert (line["turn_id"], line["cost_nano_usd"]) == (turn_id, cost)
        kept = [entry["text"].strip() for entry in memory[f"SESSION#session-{number}"]]
        assert kept == [f"zebra{number}?", text.strip()]
        logged = turns[turn_id]
        assert (logged["function_request_id"], logged["correlation_id"]) == (f"request-{number}", f"gateway-{number}")
        assert (logged["session_id"], logged["cost_nano_usd"]) == (f"session-{number}", cost)

    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    emitted = [it for it in documents if "target" not in it]
    assert len(emitted) == AT_ONCE, "a document for each turn"
    of_targets = [it for it in documents if "target" in it]
    assert [(it["target"], it["Answers"]) for it in of_targets] == [("ondemand-haiku", [1.0])] * AT_ONCE
    assert all((it["service"], it["Turns"]) == (STACK, [1.0]) for it in emitted)
    assert all(it["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]] for it in emitted)
    assert sorted(it["CostNanoUsd"] for it in emitted) == sorted([float(it["cost_nano_usd"])] for it in lines.values())
    spent = sum(line["cost_nano_usd"] for line in lines.values())
    days = [row for row in tables.everything(dynamodb, SITUATION) if row["sk"].startswith("SPEND#")]
    sums = [sum(day[name] for day in days) for name in ("spent_nano_usd", "committed_nano_usd", "attempts")]
    assert sums == [spent, spent, AT_ONCE]
