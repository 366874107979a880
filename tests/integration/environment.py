"""A function's surroundings: its environment, its context object and the sample events."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mangaassist import bootstrap

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "ap-northeast-1",
    "STAGE": "dev",
    "CONNECTIONS_TABLE": "connections",
    "TURNS_TABLE": "turns",
    "SITUATION_TABLE": "situation",
    "IDEMPOTENCY_TABLE": "idempotency",
    "PRODUCTS_TABLE": "products",
    "ANSWERS_TABLE": "answers",
    "CONNECTIONS_ENDPOINT": "https://a1b2c3d4e5.execute-api.ap-northeast-1.amazonaws.com/live",
    "TOKEN_ISSUER": "https://issuer.example",
    "TOKEN_AUDIENCE": "mangaassist",
    "TOKEN_JWKS_URL": "https://issuer.example/.well-known/jwks.json",
    "ALLOWED_ORIGINS_PARAMETER": "allowed-origins",
    "CONNECTIONS_PER_USER": "2",
    "TURNS_PER_MINUTE": "20",
}
EVENTS = Path(__file__).parents[2] / "events"
CACHED = (bootstrap.settings, bootstrap.dynamodb, bootstrap.connections)


def enter(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    """Start as a fresh environment would: with these variables, and without what an earlier one has kept.

    The session stays: it holds nothing of the variables but knows every service's model, which takes long to read.
    """
    for name, value in (ENVIRONMENT | changes).items():
        monkeypatch.setenv(name, value)
    for cached in CACHED:
        cached.cache_clear()


@dataclass(frozen=True)
class Context:
    """What Lambda tells a function of itself."""

    function_name: str = "function"
    function_version: str = "7"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:ap-northeast-1:123456789012:function:function:live"
    aws_request_id: str = "9a0f3c1e-0000-4000-8000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        """As at the start of an invocation."""
        return 10_000


def event(
    name: str, token: str | None = None, headers: Mapping[str, str] | None = None, **context: Any
) -> dict[str, Any]:
    """A sample event with this token, these headers instead of or beside its own, and this of its request context."""
    changed: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text().replace("TOKEN", token or "TOKEN"))
    for header, value in (headers or {}).items():
        changed["headers"][header] = value
        changed["multiValueHeaders"][header] = [value]
    changed["requestContext"] |= context
    return changed
