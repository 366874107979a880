"""How emulated models behave: their speed, what they accept, and how much of them there is (`profiles.json`)."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Callable

FILE = Path(__file__).with_name("profiles.json")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Profile(_Part):
    """One family of models, recognised by a pattern in its ids; the first that fits counts."""

    pattern: str
    quality: Literal["quality", "fast"]
    first_token_ms: float
    token_ms: float
    thinking: bool  # reasons before it speaks, by itself
    sampling: bool  # accepts temperature and topP
    prefill: bool  # accepts a conversation that ends with the assistant
    cache_min_tokens: int | None  # None: cache points save nothing
    requests_per_minute: int
    tokens_per_minute: int
    output_burn_down: int  # tokens of quota per token said


class Unit(_Part):
    """One model unit of provisioned throughput for a class of models."""

    first_token_ms: float
    token_ms: float
    tokens_per_minute: int


class Embeddings(_Part):
    """The embedding models."""

    first_token_ms: float
    requests_per_minute: int
    tokens_per_minute: int


class Search(_Part):
    """The search collection; what searching itself takes here comes on top."""

    latency_ms: float


class Profiles(_Part):
    """The whole file; `jitter` is the standard deviation of the logarithm of each latency."""

    jitter: float = Field(ge=0, le=1)
    models: tuple[Profile, ...]
    model_units: dict[Literal["quality", "fast"], Unit]
    creating_s: float = Field(ge=0)  # how long provisioned throughput is in the making
    embeddings: Embeddings
    search: Search

    def of(self, model_id: str) -> Profile:
        """The profile of a model; every id fits one."""
        return next(profile for profile in self.models if re.search(profile.pattern, model_id))


def load() -> Profiles:
    """Read the profiles that ship with the twin."""
    return Profiles.model_validate_json(FILE.read_text(encoding="utf-8"))


@dataclass
class Bucket:
    """A minute's worth of something that refills steadily; what was taken may be settled later, even below nothing."""

    per_minute: float
    monotonic: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._left = self.per_minute
        self._at = self.monotonic()

    def has(self, amount: float) -> bool:
        """Whether that much could be taken now."""
        now = self.monotonic()
        self._left = min(self.per_minute, self._left + (now - self._at) * self.per_minute / 60)
        self._at = now
        return self._left >= amount

    def take(self, amount: float) -> None:
        """Take an amount, or give it back when negative."""
        self._left -= amount
