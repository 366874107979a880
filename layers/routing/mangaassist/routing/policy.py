"""The routing policy: everything an operator may change without a deployment, as one validated document.

A default ships as a preset in `presets/`; an override lives in the situation table. Prices are in `money/rates.py`, the
day's budget in `money/budget.py`.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from importlib import resources
from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from mangaassist.document import Part
from mangaassist.errors import PolicyInvalid
from mangaassist.money.budget import MINUTES_PER_DAY, Budget, Share
from mangaassist.money.rates import Offer, Price, ServiceTier

TARGETS = ("provisioned-sonnet", "provisioned-haiku", "ondemand-sonnet", "ondemand-haiku", "sagemaker-custom")
CATALOGUE = "catalogue"  # the answer without a model, at the end of every chain
KEPT = "kept"  # the answer that another turn was given before
LONGEST_WINDOW_MINUTES = 22 * 60

Milliseconds = Annotated[int, Field(gt=0, le=120_000)]


class Model(Part):
    """A model as a service offers it: its id, what a request to it may contain, its prices and its end."""

    id: str = Field(pattern=r"^[A-Za-z0-9.:_/-]{1,2048}$")
    sampling: bool  # accepts temperature; newer Claude models answer 400 to it
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    prefill: bool  # accepts a conversation that ends with the assistant's words
    prompt_cache_min_tokens: int | None = None  # None: no cache points
    extra_request_fields: dict[str, Any] = Field(default_factory=dict)
    end_of_life: date | None = None
    prices: tuple[Price, ...] = Field(min_length=1)
    provisioned: Offer | None = None  # None: cannot be bought as provisioned throughput

    @model_validator(mode="after")
    def _consistent(self) -> Model:
        if self.temperature is not None and not self.sampling:
            raise ValueError("temperature is set but the model accepts no sampling parameters")
        for region, tier in {(price.region, price.tier) for price in self.prices}:
            days = [price.effective_from for price in self.prices_of(region, tier)]
            if days != sorted(set(days)):
                raise ValueError("prices of a tier and region must be ordered by effective_from, each day once")
        return self

    def prices_of(self, region: str, tier: ServiceTier) -> tuple[Price, ...]:
        """Those of a tier that are a region's own ("": every other region's), oldest first."""
        return tuple(price for price in self.prices if price.region == region and price.tier == tier)

    def price_on(self, day: date, region: str = "", tier: ServiceTier = "default") -> Price:
        """The price in force on a JST day; the oldest one for days before any. Raises IndexError where there is none.

        A valid policy has one for each of its targets.
        """
        prices = self.prices_of(region, tier) or self.prices_of("", tier)
        return next((price for price in reversed(prices) if price.effective_from <= day), prices[0])


class Estimate(Part):
    """What to expect of a target until live measurements say otherwise."""

    first_text_ms: Milliseconds
    token_ms: Annotated[float, Field(gt=0, le=1000)]


class Target(Part):
    """One place where a turn can be answered."""

    name: str = ""  # filled from its key
    backend: Literal["bedrock", "sagemaker"]
    quality: Literal["quality", "fast"]
    model: str
    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    deployed: bool = True
    published_capacity_only: bool = False  # provisioned throughput: routable only while capacity is published
    billing: Literal["tokens", "hours"] = "tokens"
    service_tier: ServiceTier = "default"  # of Bedrock
    max_tokens: int = Field(gt=0, le=8192)
    first_text_limit_ms: Milliseconds
    estimate: Estimate

    @property
    def own_capacity(self) -> bool:
        """Whether it is bought or deployed for this store alone: then a refusal says nothing of the other targets."""
        return self.published_capacity_only or self.backend == "sagemaker"


class Window(Part):
    """A daily span of JST in which capacity is provisioned for a target; it may cross midnight."""

    name: Literal["business", "peak"]  # those that the router has rules for
    start: str = Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    end: str = Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")
    target: str
    units: int = Field(ge=1, le=100)
    commitment: Literal["none", "OneMonth", "SixMonths"] = "none"

    @model_validator(mode="after")
    def _can_be_scheduled(self) -> Window:
        if self.commitment != "none":
            raise ValueError(
                f"commitment: {self.commitment} cannot be scheduled: a committed purchase is billed around the clock "
                "and cannot be deleted before its term ends. Leave it out here, or buy it by hand for the whole day"
            )
        if len(self.minutes()) > LONGEST_WINDOW_MINUTES:
            raise ValueError(
                f"start, end: a window lasts at most {LONGEST_WINDOW_MINUTES // 60} hours, because the next day's is "
                "bought before it starts. What is wanted around the clock is bought by hand, with a commitment"
            )
        return self

    @cached_property
    def start_minute(self) -> int:
        return _minute(self.start)

    @cached_property
    def end_minute(self) -> int:
        return _minute(self.end)

    def contains(self, minute: int) -> bool:
        """Whether a minute of the JST day lies inside: the start belongs to it, the end does not."""
        if self.start_minute < self.end_minute:
            return self.start_minute <= minute < self.end_minute
        return minute >= self.start_minute or minute < self.end_minute

    def minutes(self) -> frozenset[int]:
        """The minutes of the day that it covers."""
        length = (self.end_minute - self.start_minute) % MINUTES_PER_DAY or MINUTES_PER_DAY
        return frozenset((self.start_minute + step) % MINUTES_PER_DAY for step in range(length))


class Limits(Part):
    """Time limits of a turn, in milliseconds."""

    turn_ms: Annotated[int, Field(gt=1000, le=28_000)] = 28_000  # the gateway gives up at 29 s
    function_reserve_ms: Milliseconds = 800  # kept of the function's own time
    closing_reserve_ms: Milliseconds = 3_000  # kept of the turn for its last words, frame, account and record
    first_text_ms: Milliseconds = 2_800  # shared by the chain; the promise to the shopper is 3 s
    first_text_least_ms: Milliseconds = 1_500  # what the chain gets of it even after a slow start of the function
    first_text_reserve_ms: Milliseconds = 60  # kept of it for the catalogue answer
    quality_floor_ms: Milliseconds = 5_000  # with less left, the quality class gives way to the fast one
    stall_ms: Milliseconds = 4_000  # silence between tokens
    control_poll_ms: Milliseconds = 500  # how often a running turn looks for cancel and resume
    gone_grace_ms: Milliseconds = 5_000  # how long a turn waits for a shopper who left
    saturated_ms: Milliseconds = 1_500  # how long throttled capacity counts as full
    situation_ttl_ms: Milliseconds = 2_000  # how long an environment trusts its copy of the situation

    @model_validator(mode="after")
    def _consistent(self) -> Limits:
        for holds, rule in (
            (self.first_text_ms < self.turn_ms, "first_text_ms must be less than turn_ms"),
            (self.first_text_least_ms <= self.first_text_ms, "first_text_least_ms must not be more than first_text_ms"),
            (
                self.first_text_reserve_ms < self.first_text_least_ms,
                "first_text_reserve_ms must be less than first_text_least_ms",
            ),
            (self.closing_reserve_ms < self.turn_ms / 2, "closing_reserve_ms must be less than half of turn_ms"),
        ):
            if not holds:
                raise ValueError(rule)
        return self


class Breaker(Part):
    """When a failing target is left alone, and for how long."""

    failures: int = Field(default=3, ge=1, le=100)
    forget_ms: Milliseconds = 60_000  # failures further apart than this are not one trouble
    cooldown_ms: Milliseconds = 10_000
    cooldown_max_ms: Milliseconds = 120_000
    probe_ms: Milliseconds = 30_000  # how long one environment holds the half-open probe


class Provisioning(Part):
    """How far the purchase of provisioned throughput may go."""

    daily_usd: Annotated[Decimal, Field(gt=0, le=1_000_000)] = Decimal(400)  # what the windows of a JST day may cost
    give_up_minutes: int = Field(default=60, ge=5, le=240)  # after the purchase: what does not serve by then is deleted

    @cached_property
    def daily_nano_usd(self) -> int:
        return int(self.daily_usd * 1_000_000_000)


class Answer(Part):
    """What a question may be and what an answer should be."""

    system_prompt: str = Field(min_length=1, max_length=20_000)
    max_question_chars: int = Field(default=4_000, ge=1, le=30_000)
    history_tokens: int = Field(default=2_000, ge=0, le=100_000)
    least_tokens: int = Field(default=48, ge=1, le=512)  # an answer clipped below this is not worth starting
    short_prompt: str = "Answer in two or three short sentences."  # said too, where a tier of the budget wants it short


EMBEDDING_PRICES = {
    "amazon.titan-embed-text-v2:0": Price(
        effective_from=date(2024, 4, 30),
        input=Decimal("0.02"),
        output=Decimal(0),
        source="list price of us-east-1; Tokyo's was not confirmed",
        verified=False,
    ),
    "cohere.embed-multilingual-v3": Price(
        effective_from=date(2023, 11, 2),
        input=Decimal("0.1"),
        output=Decimal(0),
        source="list price of us-east-1; Tokyo's was not confirmed",
        verified=False,
    ),
}


class Knowledge(Part):
    """How long a turn looks things up, how much of the catalogue a model is shown, and which answers are kept."""

    lookup_ms: Milliseconds = 700  # for embedding, search and products together
    results: int = Field(default=6, ge=1, le=10)
    cache_ms: Milliseconds = 150  # for each look at the kept answers
    cache_ttl_s: int = Field(default=3600, ge=1, le=86_400)
    near_similarity: Annotated[float, Field(ge=0.5, le=1)] = 0.6  # of two wordings; what they ask decides before it
    same_question_wait_ms: Annotated[int, Field(ge=0, le=5_000)] = 1_500  # for another turn's answer to it
    embedding_prices: dict[str, Price] = Field(default_factory=lambda: dict(EMBEDDING_PRICES))


class Policy(Part):
    """The whole document."""

    name: str = Field(min_length=1, max_length=64)
    complexity_threshold: Share = 0.7
    windows: tuple[Window, ...] = ()
    provisioning: Provisioning = Provisioning()
    budget: Budget = Budget()
    limits: Limits = Limits()
    breaker: Breaker = Breaker()
    answer: Answer
    knowledge: Knowledge = Knowledge()
    models: dict[str, Model]
    targets: dict[str, Target]

    @model_validator(mode="before")
    @classmethod
    def _name_targets(cls, document: Any) -> Any:
        targets = document.get("targets") if isinstance(document, dict) else None
        if not isinstance(targets, dict):
            return document
        named = {name: {**body, "name": name} if isinstance(body, dict) else body for name, body in targets.items()}
        return {**document, "targets": named}

    @model_validator(mode="after")
    def _consistent(self) -> Policy:
        if missing := set(TARGETS) ^ set(self.targets):
            raise ValueError(f"targets: exactly {', '.join(TARGETS)} are expected; check {', '.join(sorted(missing))}")
        for name, target in self.targets.items():
            if target.model not in self.models:
                raise ValueError(f"targets.{name}.model: there is no model {target.model!r}")
            tier, model = target.service_tier, self.models[target.model]
            if not (model.prices_of(target.region, tier) or model.prices_of("", tier)):
                raise ValueError(f"targets.{name}: {target.model} has no price of tier {tier} in {target.region}")
        for window in self.windows:
            if window.target not in self.targets or not self.targets[window.target].published_capacity_only:
                raise ValueError(f"windows.{window.name}.target: {window.target!r} is not a provisioned target")
        for one, other in combinations(self.windows, 2):
            if one.name == other.name or one.minutes() & other.minutes():
                raise ValueError(f"windows: {one.name!r} and {other.name!r} overlap or share a name")
        return self

    def model_of(self, target: str) -> Model:
        """The model behind a target."""
        return self.models[self.targets[target].model]

    def price_of(self, target: str, day: date) -> Price:
        """What the tokens of a target cost on a JST day, whether it is billed by them or not."""
        it = self.targets[target]
        return self.models[it.model].price_on(day, it.region, it.service_tier)

    def window_at(self, now_jst: datetime) -> Window | None:
        """The window that a JST instant lies in, if any."""
        minute = now_jst.hour * 60 + now_jst.minute
        for window in self.windows:
            if window.contains(minute):
                return window
        return None


def load(document: str | bytes) -> Policy:
    """Validate a JSON document; raises PolicyInvalid naming every wrong field with its reason."""
    try:
        return Policy.model_validate_json(document)
    except ValidationError as error:
        raise PolicyInvalid("; ".join(_reason(part) for part in error.errors())) from error


def preset(name: str) -> Policy:
    """A policy that ships with the layer: `current`, or `claude-3` with the brief's models and prices."""
    return load(preset_document(name))


def preset_document(name: str) -> str:
    """The text of a shipped policy; raises PolicyInvalid for a name that does not ship."""
    file = resources.files(__package__) / "presets" / f"{name}.json"
    if not file.is_file():
        raise PolicyInvalid(f"there is no preset {name!r}")
    return file.read_text(encoding="utf-8")


def canonical(policy: Policy) -> str:
    """The document of a policy, the same text for the same policy."""
    return json.dumps(policy.model_dump(mode="json"), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _reason(part: Any) -> str:
    where = ".".join(str(step) for step in part["loc"])
    message = part["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def _minute(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
