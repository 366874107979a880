"""Kept answers in Redis or Valkey: one hash for each question, with a field for each wording.

ElastiCache Serverless takes a signed request as the password (IAM authentication).
"""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError

from mangaassist.errors import KnowledgeUnavailable
from mangaassist.knowledge.cache.answers import MOST_WORDINGS, Answer, from_fields, making_room, to_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from botocore.credentials import Credentials

    from mangaassist.knowledge.cache.resp import Command, Reply, Server

TOKEN_LIFE_S = 900  # of a signed request; a connection that it opened lives on for hours


class SignedPassword:
    """IAM authentication: a presigned `connect` request, without its scheme, is the password."""

    def __init__(self, credentials: Callable[[], Credentials | None], region: str, cache: str, user: str) -> None:
        self._credentials = credentials
        self._region = region
        self._cache = cache
        self._user = user

    def __call__(self) -> tuple[str, str]:
        """User and password for one new connection; raises KnowledgeUnavailable."""
        query = {"Action": "connect", "User": self._user, "ResourceType": "ServerlessCache"}
        request = AWSRequest("GET", f"https://{self._cache}/?{urlencode(query)}")
        try:
            found = self._credentials()
            if found is None:
                raise KnowledgeUnavailable("cache", "no credentials")
            frozen = found.get_frozen_credentials()
            SigV4QueryAuth(frozen, "elasticache", self._region, expires=TOKEN_LIFE_S).add_auth(request)
        except BotoCoreError as error:
            raise KnowledgeUnavailable("cache", type(error).__name__) from error
        return self._user, str(request.url).removeprefix("https://")


class RedisAnswers:
    """An AnswerStore in Redis or Valkey."""

    def __init__(self, server: Server, now_s: Callable[[], float] = time.time) -> None:
        self._server = server
        self._now_s = now_s

    def read(self, bucket: str, limit_s: float) -> Sequence[Answer]:
        """The answers of a bucket; what is none (another version's, say) is left out."""
        found = self._fields(bucket, limit_s)
        return [answer for _, answer in found if answer is not None][:MOST_WORDINGS]

    def write(self, bucket: str, answer: Answer, limit_s: float) -> None:
        """Keep an answer; the bucket lives as long as its newest answer."""
        left_s = self._server.countdown(limit_s)
        now_s = self._now_s()
        ends = {wording: old.expires_at if old else 0 for wording, old in self._fields(bucket, left_s())}
        gone = making_room(ends, answer.wording.encode(), now_s)
        fields = to_fields(answer) | {"vector": base64.b64encode(answer.vector).decode()}
        key = _answers(bucket)
        commands: list[Command] = [("HDEL", key, *gone)] if gone else []
        commands.append(("HSET", key, answer.wording, json.dumps(fields, ensure_ascii=False)))
        commands.append(("EXPIRE", key, max(1, answer.expires_at - int(now_s))))
        self._server.ask(*commands, limit_s=left_s())

    def drop(self, bucket: str, wording: str, limit_s: float) -> None:
        """Forget an answer."""
        self._server.ask(("HDEL", _answers(bucket), wording), limit_s=limit_s)

    def claim(self, bucket: str, wording: str, lease_s: float, limit_s: float) -> bool:
        """Claim a wording."""
        lease_ms = int(lease_s * 1000)
        (reply,) = self._server.ask(("SET", _claim(bucket, wording), "", "NX", "PX", lease_ms), limit_s=limit_s)
        return reply is not None

    def release(self, bucket: str, wording: str, limit_s: float) -> None:
        """Give up a claim."""
        self._server.ask(("DEL", _claim(bucket, wording)), limit_s=limit_s)

    def _fields(self, bucket: str, limit_s: float) -> list[tuple[bytes, Answer | None]]:
        """Every wording of a bucket with its answer, or with None for what is none."""
        (reply,) = self._server.ask(("HGETALL", _answers(bucket)), limit_s=limit_s)
        return list(_pairs(reply))


def _pairs(reply: Reply) -> Iterator[tuple[bytes, Answer | None]]:
    if not isinstance(reply, list) or len(reply) % 2:
        raise KnowledgeUnavailable("cache", "garbled")
    for wording, written in zip(reply[::2], reply[1::2], strict=True):
        if not isinstance(wording, bytes) or not isinstance(written, bytes):
            raise KnowledgeUnavailable("cache", "garbled")
        yield wording, _answer(written)


def _answer(written: bytes) -> Answer | None:
    try:
        fields = json.loads(written)
        return from_fields(fields | {"vector": base64.b64decode(fields["vector"])})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _answers(bucket: str) -> str:
    return f"answers:{bucket}"


def _claim(bucket: str, wording: str) -> str:
    return f"answers:claim:{bucket}:{wording}"
