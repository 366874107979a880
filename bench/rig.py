"""The message function's whole application on memory: real code up to the ports, and behind them clients that answer
at once, so that what is measured is ours and nobody else's."""

from __future__ import annotations

import io
import json
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import boto3
from botocore.config import Config

from mangaassist.capacity.utilisation import Utilisation
from mangaassist.chat.connections import Channel, ConnectionStore
from mangaassist.chat.conversation import Conversation
from mangaassist.chat.followup import Followup
from mangaassist.chat.gathering import Stores
from mangaassist.chat.once import Once
from mangaassist.chat.reception import Reception
from mangaassist.chat.research import Research
from mangaassist.chat.sessions import SessionStore
from mangaassist.chat.turn import Shopper
from mangaassist.chat.turns import TurnStore
from mangaassist.clock import Clock
from mangaassist.deadline import Deadline
from mangaassist.knowledge.search import Search
from mangaassist.money.ledger import Ledger
from mangaassist.observability import logger, metrics
from mangaassist.routing import policy as policies
from mangaassist.routing.backends.bedrock import BedrockBackend
from mangaassist.routing.estimates import Estimates
from mangaassist.routing.failover import Failover
from mangaassist.routing.store import SituationStore
from mangaassist.stores import to_item
from mangaassist.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

    from mangaassist.routing.backends import Backend
    from mangaassist.routing.policy import Policy

REGION = "ap-northeast-1"
QUESTION = "『鬼滅の刃』が好きな友達に贈る漫画を教えてください。"
ASK = json.dumps({"action": "ask", "message": QUESTION, "session_id": "bench-session"})
SHOPPER = Shopper("bench-shopper", "bench-connection")
TURN_S = 27.0
HISTORY = [
    {"role": "user", "text": "営業時間を教えてください。"},
    {"role": "assistant", "text": "年中無休で、24時間ご注文いただけます。"},
]


@dataclass
class Memory:
    """Clients of DynamoDB and of the gateway's management API that keep next to nothing and answer at once."""

    posts: list[bytes] = field(default_factory=list)
    post_s: float = 0.0
    sleep: Callable[[float], None] = time.sleep

    def get_item(self, **request: Any) -> dict[str, Any]:
        """A session with one exchange, a turn that goes on, or nothing."""
        kind = request["Key"]["sk"]["S"]
        if kind == "TURN":
            return {"Item": to_item({"owner": SHOPPER.user_id})}
        if kind != "SESSION":
            return {}
        session = {"owner": SHOPPER.user_id, "history": HISTORY, "version": 1, "expires_at": 4_000_000_000}
        return {"Item": to_item(session)}

    def put_item(self, **_: Any) -> dict[str, Any]:
        """Done."""
        return {}

    def batch_write_item(self, **_: Any) -> dict[str, Any]:
        """Done."""
        return {"UnprocessedItems": {}}

    def update_item(self, **_: Any) -> dict[str, Any]:
        """Done; nobody wishes anything."""
        return {"Attributes": {}}

    def transact_write_items(self, **_: Any) -> dict[str, Any]:
        """Done."""
        return {}

    def get_paginator(self, _: str) -> Memory:
        """A query's pages."""
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        """Nothing is known of the world but that it is in order."""
        return [{"Items": []}]

    def post_to_connection(self, **request: Any) -> None:
        """A shopper's client."""
        if self.post_s:
            self.sleep(self.post_s)
        self.posts.append(request["Data"])


def model_client(address: str) -> BedrockRuntimeClient:
    """A client of the fake Bedrock, the way every tutorial makes it."""
    return _session().client(
        "bedrock-runtime", region_name=REGION, endpoint_url=address, config=Config(max_pool_connections=16)
    )


def bedrock_backend(address: str) -> BedrockBackend:
    """Our backend before the fake Bedrock."""
    client = model_client(address)
    return BedrockBackend(clients=lambda _: client, transport=Transport())


def policy_of(model_id: str) -> Policy:
    """The default policy with every model called by one id."""
    policy = policies.preset("current")
    models = {name: model.model_copy(update={"id": model_id}) for name, model in policy.models.items()}
    return policy.model_copy(update={"models": models})


class House:
    """An environment of the message function."""

    def __init__(self, backend: Backend, policy: Policy, clock: Clock | None = None) -> None:
        self.memory = Memory()
        self._clock = clock or Clock()
        client = cast("Any", self.memory)
        turns, channel = TurnStore(client, "turns"), Channel(client)
        sessions = SessionStore(client, "turns", ttl_days=30)
        ledger = Ledger(client, unrepeated=client, situation_table="situation", turns_table="turns")
        situation = SituationStore(
            client,
            "situation",
            default_policy=policy,
            now_s=self._clock.now_s,
            monotonic=self._clock.monotonic,
            on_invalid_policy=lambda version, reason: None,
        )
        followup = Followup(turns, sessions, channel)
        conversation = Conversation(
            stores=Stores(
                connections=ConnectionStore(client, "connections", is_gone=lambda _id: False),
                once=Once(client, "idempotency"),
                situation=situation,
                sessions=sessions,
                turns=turns,
                ledger=ledger,
                utilisation=Utilisation(client, unrepeated=client, situation_table="situation"),
                research=Research(Search(cast("Any", EmptyShelf()), None, None), None),
            ),
            failover=Failover(backends={"bedrock": backend}, estimates=Estimates(), purse=ledger, probes=situation),
            followup=followup,
            poster=channel,
            turns_per_minute=6000,
            clock=self._clock,
        )
        self._reception = Reception(conversation, followup, channel)

    def ask(self) -> None:
        """One turn, from the frame's text to the settled account; its metrics are dropped, as if printed."""
        now = self._clock.monotonic()
        deadline = Deadline(at=now + TURN_S, arrived_at=now, monotonic=self._clock.monotonic)
        self._reception.receive(ASK, SHOPPER, deadline, cast("Any", None))
        metrics.clear_metrics()

    def take_frames(self) -> list[dict[str, Any]]:
        """The frames posted since the last time."""
        posts, self.memory.posts = self.memory.posts, []
        return [json.loads(post) for post in posts]

    def verify(self) -> None:
        """Raise RuntimeError unless every turn since the last time ended well: nothing else is worth measuring."""
        frames = self.take_frames()
        begun = sum(frame["type"] == "start" for frame in frames)
        complete = sum(frame.get("finish") == "complete" for frame in frames)
        if not begun == complete == sum(frame["type"] in ("end", "error") for frame in frames):
            raise RuntimeError(f"of {begun} turns {complete} ended well")


class EmptyShelf:
    """A store that sells nothing, and says so at once: what is measured is the turn."""

    def begin(self, ids: Sequence[str], limit_s: float) -> EmptyShelf:
        return self

    def wait(self, limit_s: float) -> dict[str, Any]:
        return {}


def silence() -> None:
    """Let logs be written as ever, but to nowhere."""
    handler = logger.registered_handler
    if isinstance(handler, logging.StreamHandler):
        handler.setStream(io.StringIO())


def check(text: str, frames: list[dict[str, Any]]) -> None:
    """Raise RuntimeError unless the frames bring this text and a good end."""
    said = "".join(frame["text"] for frame in frames if frame["type"] == "delta")
    if said != text or frames[-1].get("finish") != "complete":
        raise RuntimeError(f"the turn did not end well: {frames[-1]}")


def _session() -> boto3.Session:
    return boto3.Session(aws_access_key_id="bench", aws_secret_access_key="bench", region_name=REGION)  # noqa: S106
