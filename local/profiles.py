"""How emulated models behave: their speed, what they accept, and how much of them there is (`profiles.json`)."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

if TYPE_CHECKING:
    from collections.abc import Callable

type Dialect = Literal["openai", "tgi", "lmi"]

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


class Endpoint(_Part):
    """A model of one's own on a SageMaker endpoint, and what scales its instances."""

    dialect: Dialect  # what its container speaks
    first_token_ms: float = Field(ge=0)
    token_ms: float = Field(ge=0)
    slowdown: float = Field(
        ge=0
    )  # by how much of itself each latency grows until all of an instance's places are taken
    requests_per_instance: int = Field(ge=1)
    queue_per_instance: int = Field(ge=0)
    context_tokens: int = Field(ge=1)  # of a prompt and its answer together
    invocation_s: float = Field(gt=0)  # how long the service waits for the container, in real time
    minimum: int = Field(ge=0)  # instances
    maximum: int = Field(ge=1)
    target: float = Field(gt=0)  # requests at a time that scaling wants for each instance
    starting_s: float = Field(ge=0)  # how long an instance is in the making, and what follows, by the twin's clock
    out_after_s: float = Field(ge=0)
    in_after_s: float = Field(gt=0)

    @model_validator(mode="after")
    def _in_order(self) -> Endpoint:
        if self.minimum > self.maximum:
            raise ValueError("minimum may not be over maximum")
        return self

    def changed(self, settings: dict[str, str]) -> Endpoint:
        """The same with some settings as a person wrote them; raises ValueError with the setting and the reason."""
        try:
            return Endpoint.model_validate(self.model_dump() | settings)
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors())
            raise ValueError(told.removeprefix(": ")) from error


class Profiles(_Part):
    """The whole file; `jitter` is the standard deviation of the logarithm of each latency."""

    jitter: float = Field(ge=0, le=1)
    burst_ms: float = Field(ge=0)  # what a model says within such a time leaves in one packet, as services send it
    models: tuple[Profile, ...]
    model_units: dict[Literal["quality", "fast"], Unit]
    creating_s: float = Field(ge=0)  # how long provisioned throughput is in the making
    embeddings: Embeddings
    search: Search
    endpoint: Endpoint

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
