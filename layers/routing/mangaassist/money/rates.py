"""Prices of models as data: by the token, with tiers, regions and days, and by the model unit and hour.

They are US dollars per million tokens in documents and whole nano-dollars per token in memory, so that all accounting
is integer arithmetic.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mangaassist.document import Part
from mangaassist.errors import PriceUnknown

UsdPerMillion = Annotated[Decimal, Field(ge=0, le=1000, decimal_places=3)]  # three places: whole nano-dollars per token
UsdPerHour = Annotated[Decimal, Field(gt=0, le=10_000, decimal_places=6)]

type ServiceTier = Literal["default", "priority", "flex"]  # of Bedrock; `reserved` is bought from AWS and not by token

NANO_USD_PER_HOUR = 1_000_000_000


class Rates(Part):
    """Prices in USD per million tokens."""

    input: UsdPerMillion
    output: UsdPerMillion
    cache_read: UsdPerMillion = Decimal(0)
    cache_write: UsdPerMillion = Decimal(0)

    @cached_property
    def input_nano_usd(self) -> int:
        return int(self.input * 1000)

    @cached_property
    def output_nano_usd(self) -> int:
        return int(self.output * 1000)

    @cached_property
    def cache_read_nano_usd(self) -> int:
        return int(self.cache_read * 1000)

    @cached_property
    def cache_write_nano_usd(self) -> int:
        return int(self.cache_write * 1000)


class LongContext(Rates):
    """The rates of the whole request once its prompt is longer than `above_tokens`."""

    above_tokens: int = Field(gt=0)


class Price(Rates):
    """The rates in force from a JST day on, with where they were read and whether that was verified."""

    effective_from: date
    region: str = ""  # "": of every region without a price of its own
    tier: ServiceTier = "default"
    long_context: LongContext | None = None
    source: str
    verified: bool


class Offer(Part):
    """A model as Bedrock sells it by the model unit and hour; AWS publishes neither price nor tokens of a unit."""

    id: str = Field(pattern=r"^[A-Za-z0-9.:_/-]{1,2048}$")  # a contextual variant (`…:24k`) or a custom model's ARN
    unit_hour_usd: UsdPerHour  # without a commitment: the only kind that can be given back
    committed_unit_hour_usd: dict[Literal["OneMonth", "SixMonths"], UsdPerHour] = Field(default_factory=dict)
    unit_tokens_per_minute: int = Field(gt=0)
    source: str
    verified: bool

    @model_validator(mode="after")
    def _consistent(self) -> Offer:
        dearer = [term for term, usd in self.committed_unit_hour_usd.items() if usd > self.unit_hour_usd]
        if dearer:
            raise ValueError(f"committed_unit_hour_usd: {', '.join(dearer)} is dearer than no commitment at all")
        return self

    @cached_property
    def unit_hour_nano_usd(self) -> int:
        return int(self.unit_hour_usd * NANO_USD_PER_HOUR)

    def unit_hour_usd_for(self, commitment: Literal["none", "OneMonth", "SixMonths"]) -> Decimal:
        """What a unit costs an hour under a commitment; raises PriceUnknown where there is no offer of that term."""
        if commitment == "none":
            return self.unit_hour_usd
        if commitment not in self.committed_unit_hour_usd:
            raise PriceUnknown(f"{self.id} has no price for {commitment}")
        return self.committed_unit_hour_usd[commitment]
