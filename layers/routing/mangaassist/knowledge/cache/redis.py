"""Kept answers in Redis or Valkey: one hash for each question, with a field for each wording.

ElastiCache Serverless speaks the cluster's protocol over TLS and takes a signed request as the password (IAM
authentication); any other server is reached by its address alone. Nothing is tried twice: the cache is there to be
quick.
"""

from __future__ import annotations

import base64
import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import redis
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.credentials import CredentialProvider
from redis.retry import Retry

from mangaassist.errors import KnowledgeUnavailable
from mangaassist.knowledge.cache.answers import MOST_WORDINGS, Answer, from_fields, to_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from botocore.credentials import Credentials

TOKEN_LIFE_S = 900  # of a signed request; a connection that it opened lives on for hours


class SignedPassword(CredentialProvider):
    """IAM authentication: a presigned `connect` request, without its scheme, is the password."""

    def __init__(self, credentials: Callable[[], Credentials | None], region: str, cache: str, user: str) -> None:
        self._credentials = credentials
        self._region = region
        self._cache = cache
        self._user = user

    def get_credentials(self) -> tuple[str, str]:
        """User and password for one new connection."""
        query = {"Action": "connect", "User": self._user, "ResourceType": "ServerlessCache"}
        request = AWSRequest("GET", f"https://{self._cache}/?{urlencode(query)}")
        found = self._credentials()
        if found is None:
            raise redis.AuthenticationError("no credentials")
        frozen = found.get_frozen_credentials()
        SigV4QueryAuth(frozen, "elasticache", self._region, expires=TOKEN_LIFE_S).add_auth(request)
        return self._user, str(request.url).removeprefix("https://")


class Connector:
    """Connects to `rediss://host:port` (`redis://` without TLS) at the first command; with a `password`, to a cluster.

    Connecting and each command take at most `limit_s`.
    """

    def __init__(
        self, endpoint: str, limit_s: float, *, ca_bundle: str | None = None, password: SignedPassword | None = None
    ) -> None:
        parts = urlsplit(endpoint)
        self._address = (parts.hostname or "", parts.port or 6379)
        self._password = password
        self._client: Any = None
        self._options: dict[str, Any] = {
            "socket_connect_timeout": limit_s,
            "socket_timeout": limit_s,
            "retry": Retry(NoBackoff(), 0),
        }
        if parts.scheme == "rediss":
            self._options |= {"ssl": True, "ssl_ca_certs": ca_bundle}

    def client(self) -> Any:
        """The client; raises redis.RedisError when a cluster cannot be reached, and tries again the next time."""
        if self._client is None:
            host, port = self._address
            if self._password is None:
                self._client = redis.Redis(host=host, port=port, **self._options)
            else:
                nodes = [ClusterNode(host, port)]  # type: ignore[no-untyped-call]
                self._client = RedisCluster(startup_nodes=nodes, credential_provider=self._password, **self._options)
        return self._client


class RedisAnswers:
    """An AnswerStore in Redis or Valkey; the limit of every call is the one of its connector."""

    def __init__(self, connector: Connector, now_s: Callable[[], float] = time.time) -> None:
        self._connector = connector
        self._now_s = now_s

    def read(self, bucket: str, limit_s: float) -> Sequence[Answer]:
        """The answers of a bucket."""
        with _redis_errors():
            found: dict[bytes, bytes] = self._connector.client().hgetall(_answers(bucket))
            return [_answer(written) for written in list(found.values())[:MOST_WORDINGS]]

    def write(self, bucket: str, answer: Answer, limit_s: float) -> None:
        """Keep an answer; the bucket lives as long as its newest answer."""
        fields = to_fields(answer) | {"vector": base64.b64encode(answer.vector).decode()}
        with _redis_errors():
            if gone := [old.wording for old in self.read(bucket, limit_s) if old.expires_at <= self._now_s()]:
                self._connector.client().hdel(_answers(bucket), *gone)
            self._connector.client().hset(_answers(bucket), answer.wording, json.dumps(fields, ensure_ascii=False))
            self._connector.client().expire(_answers(bucket), max(1, answer.expires_at - int(self._now_s())))

    def drop(self, bucket: str, wording: str, limit_s: float) -> None:
        """Forget an answer."""
        with _redis_errors():
            self._connector.client().hdel(_answers(bucket), wording)

    def claim(self, bucket: str, wording: str, lease_s: float, limit_s: float) -> bool:
        """Claim a wording."""
        with _redis_errors():
            return bool(self._connector.client().set(_claim(bucket, wording), b"", nx=True, px=int(lease_s * 1000)))

    def release(self, bucket: str, wording: str, limit_s: float) -> None:
        """Give up a claim."""
        with _redis_errors():
            self._connector.client().delete(_claim(bucket, wording))


@contextmanager
def _redis_errors() -> Iterator[None]:
    try:
        yield
    except (redis.RedisError, OSError, ValueError, KeyError, TypeError) as error:  # or an answer that is none
        raise KnowledgeUnavailable("cache", type(error).__name__) from error


def _answer(written: bytes) -> Answer:
    fields = json.loads(written)
    return from_fields(fields | {"vector": base64.b64decode(fields["vector"])})


def _answers(bucket: str) -> str:
    return f"answers:{bucket}"


def _claim(bucket: str, wording: str) -> str:
    return f"answers:claim:{bucket}:{wording}"
