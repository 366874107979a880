"""The password of the cache's user: a request to connect, signed anew for each connection."""

from __future__ import annotations

import logging
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import CredentialRetrievalError
from time_machine import travel

from mangaassist.errors import KnowledgeUnavailable
from mangaassist.knowledge.cache.redis import SignedPassword
from mangaassist.knowledge.cache.resp import Server
from tests.integration.resp_wire import Actor, says, why
from tests.integration.signatures import FIRST, REGION, SECOND, Renewed, is_presigned

if TYPE_CHECKING:
    from botocore.credentials import Credentials

CACHE, USER = "manga-valkey", "manga-message-valkey"


def password(credentials: object = lambda: FIRST) -> SignedPassword:
    """The password with these credentials."""
    return SignedPassword(credentials, REGION, CACHE, USER)  # type: ignore[arg-type]


def test_it_is_a_presigned_request_without_its_scheme() -> None:
    user, token = password()()
    parts = urlsplit(f"https://{token}")
    query = {name: value for name, (value,) in parse_qs(parts.query).items()}
    assert (user, parts.netloc, parts.path) == (USER, CACHE, "/")
    assert token.startswith(f"{CACHE}/?Action=connect&User={USER}&ResourceType=ServerlessCache&X-Amz-")
    assert query["X-Amz-Credential"].split("/")[0::2] == ["AKIAFIRST", REGION, "aws4_request"]
    assert query["X-Amz-Credential"].split("/")[3] == "elasticache"
    assert (query["X-Amz-Expires"], query["X-Amz-SignedHeaders"]) == ("900", "host")
    assert query["X-Amz-Security-Token"] == "first-token"
    assert is_presigned(f"https://{token}", "elasticache", FIRST)
    assert not is_presigned(f"https://{token}", "elasticache", SECOND)


def test_it_is_signed_anew_with_the_credentials_of_the_moment() -> None:
    renewed = Renewed()
    made = password(renewed)
    with travel(datetime(2026, 11, 23, 3, tzinfo=UTC), tick=False) as time:
        first = made()[1]
        time.shift(1)
        second = made()[1]
    renewed.renew()
    third = made()[1]
    assert first != second
    assert is_presigned(f"https://{third}", "elasticache", SECOND)


def test_each_connection_logs_in_with_its_own() -> None:
    with (
        Actor(says(b"+OK\r\n"), says(b":1\r\n"), says(b":1\r\n"), says(b"+OK\r\n"), says(b":1\r\n")) as actor,
        closing(Server(actor.endpoint, login=password())) as client,
    ):
        for _ in range(2):
            client.ask(("DEL", "answers:b"), limit_s=5)
        client.close()
        client.ask(("DEL", "answers:b"), limit_s=5)
    logins = [said for said in actor.asked if said.startswith(b"*3\r\n$4\r\nAUTH\r\n")]
    assert len(logins) == 2
    assert len(actor.asked) == 5
    for said in logins:
        _, _, _, _, user, _, token, _ = said.decode().split("\r\n")
        assert user == USER
        assert is_presigned(f"https://{token}", "elasticache", FIRST)


def _none() -> Credentials | None:
    return None


def _refused() -> Credentials | None:
    raise CredentialRetrievalError(provider="container", error_msg="refused")


@pytest.mark.parametrize(("credentials", "reason"), [(_none, "no credentials"), (_refused, "CredentialRetrievalError")])
def test_without_credentials_the_cache_is_unavailable(credentials: object, reason: str) -> None:
    with Actor(says(b"+OK\r\n")) as actor, closing(Server(actor.endpoint, login=password(credentials))) as client:
        assert why(lambda: client.ask(("DEL", "answers:b"), limit_s=5)) == reason
        assert actor.asked == []


def test_it_is_never_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        Actor(says(b"-WRONGPASS invalid username-password pair\r\n")) as actor,
        closing(Server(actor.endpoint, login=password())) as client,
        pytest.raises(KnowledgeUnavailable) as caught,
    ):
        client.ask(("DEL", "answers:b"), limit_s=5)
    assert str(caught.value) == "cache: WRONGPASS"
    assert caught.value.__cause__ is None
    assert not [record for record in caplog.records if not record.name.startswith("botocore")]
    assert "X-Amz-Signature" not in caplog.text
