"""The traffic profile: what the advice is asked for, as a document in which every wrong field is named."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from mangaassist.document import Part
from mangaassist.errors import ProfileInvalid
from mangaassist.money.budget import HOURS_PER_DAY, STORE_CURVE, SUM_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACES_PER_INSTANCE = 8  # answers at a time: the template's guess for a 7B model on ml.g5.2xlarge
SMALL_TEAM = 3  # people, or fewer

type Commitment = Literal["none", "OneMonth", "SixMonths"]

ShareOfDay = Annotated[float, Field(ge=0, le=1)]  # of all messages


class Profile(Part):
    """What a store expects of a day, needs and can do; all but the volume has a default."""

    messages_per_day: int = Field(ge=1, le=100_000_000)
    curve: tuple[Annotated[float, Field(ge=0, le=1)], ...] = STORE_CURVE  # shares of the day, by hour of Japan
    burst: Annotated[float, Field(ge=1, le=20)] = 1.2  # the busiest minute of an hour over its mean
    input_tokens: int = Field(default=350, ge=1, le=100_000)  # of a message, on average
    output_tokens: int = Field(default=150, ge=1, le=8192)
    complex_share: ShareOfDay = 0.1
    catalogue_share: ShareOfDay = 0.3
    kept_share: Annotated[float, Field(ge=0, lt=1)] = 0.0  # answered by an answer that was kept, so by no model
    first_text_ms: int = Field(default=3000, ge=50, le=28_000)  # that 95 of 100 shoppers should wait at most
    predictable: bool = True  # the curve comes again every day
    custom_model: bool = False  # a model that Bedrock does not serve, or a GPU of one's own choice
    fine_tuned: bool = False  # a model of Bedrock with one's own training
    commitment: Commitment = "none"  # the longest that can be entered into
    team_size: int = Field(default=4, ge=1, le=10_000)  # people who operate it
    monthly_usd: Annotated[Decimal, Field(gt=0, le=100_000_000)] = Decimal(15_000)  # what a month may cost
    region: str = Field(default="ap-northeast-1", pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    instance_type: str = Field(default="ml.g5.2xlarge", pattern=r"^ml\.[a-z0-9]+\.[a-z0-9]+$")
    instance_places: int = Field(default=PLACES_PER_INSTANCE, ge=1, le=1000)  # `make endpoint` measures it (size)
    search: bool = False  # by meaning, in OpenSearch Serverless

    @field_validator("curve")
    @classmethod
    def _whole_day(cls, curve: tuple[float, ...]) -> tuple[float, ...]:
        if len(curve) != HOURS_PER_DAY:
            raise ValueError(f"{HOURS_PER_DAY} shares are expected, one an hour, not {len(curve)}")
        if not math.isclose(sum(curve), 1, abs_tol=SUM_TOLERANCE):
            raise ValueError(f"its shares sum to {sum(curve):.4f}, not 1")
        return curve

    @model_validator(mode="after")
    def _shares_fit(self) -> Profile:
        if self.complex_share + self.catalogue_share > 1:
            together = self.complex_share + self.catalogue_share
            raise ValueError(f"complex_share, catalogue_share: together they are {together:g}, over 1")
        return self

    @property
    def has_small_team(self) -> bool:
        """Whether those who operate it are few."""
        return self.team_size <= SMALL_TEAM


def read(document: Mapping[str, Any]) -> Profile:
    """Validate a profile; raises ProfileInvalid with a reason for each wrong field."""
    try:
        return Profile.model_validate(document)
    except ValidationError as error:
        raise ProfileInvalid(reasons(error)) from error


def reasons(error: ValidationError) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in error.errors():
        said = part["msg"].removeprefix("Value error, ")
        where = ".".join(str(step) for step in part["loc"])
        if not where:  # a rule over several fields names them itself
            where, _, said = said.partition(": ")
        found[where] = said
    return found
