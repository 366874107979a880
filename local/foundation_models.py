"""Which models emulated Bedrock offers, where, how they can be bought, and the quotas (`foundation_models.json`)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from local.intrinsics import ACCOUNT

FILE = Path(__file__).with_name("foundation_models.json")
BASE_UNITS, CUSTOM_UNITS = "L-FE44174A", "L-BE77399C"
ACROSS = "Model units no-commitment Provisioned Throughputs across {} models"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FoundationModel(_Part):
    """A model as its provider names it; provisioned throughput is bought for a contextual variant of it."""

    id: str
    name: str
    provider: str
    status: Literal["ACTIVE", "LEGACY"]
    begins: datetime | None = None
    legacy_since: datetime | None = None
    end_of_life: datetime | None
    on_demand: dict[str, tuple[Literal["ON_DEMAND", "INFERENCE_PROFILE"], ...]]  # by region
    provisioned: dict[str, tuple[str, ...]]  # the variants by region


class CustomModel(_Part):
    """A fine-tuned model of the account."""

    name: str
    id: str
    region: str
    base: str  # the variant that it was made of
    created_at: datetime

    @property
    def arn(self) -> str:
        return f"arn:aws:bedrock:{self.region}:{ACCOUNT}:custom-model/{self.base}/{self.id}"


class Units(_Part):
    """How many model units an account may have in a region: in all without commitment, and at most in one purchase."""

    base: int = 0
    custom: int = 0
    per_model: int = 0


@dataclass(frozen=True)
class Offer:
    """One id of a region's list of models: what it names, and how it can be used."""

    id: str
    region: str
    model: FoundationModel
    inference: tuple[str, ...]

    @property
    def arn(self) -> str:
        return foundation_model_arn(self.region, self.id)

    def summary(self) -> dict[str, Any]:
        """As ListFoundationModels and GetFoundationModel tell it."""
        return {
            "modelArn": self.arn,
            "modelId": self.id,
            "modelName": self.model.name,
            "providerName": self.model.provider,
            "inputModalities": ["TEXT"],
            "outputModalities": ["TEXT"],
            "responseStreamingSupported": True,
            "customizationsSupported": [],
            "inferenceTypesSupported": list(self.inference),
            "modelLifecycle": self._lifecycle(),
        }

    def _lifecycle(self) -> dict[str, str]:
        """The model's status, and those of its times that somebody has named."""
        model = self.model
        named = {
            "startOfLifeTime": model.begins,
            "legacyTime": model.legacy_since,
            "endOfLifeTime": model.end_of_life,
        }
        return {"status": model.status} | {name: iso(moment) for name, moment in named.items() if moment}


@dataclass(frozen=True)
class Quota:
    """One quota of Service Quotas."""

    code: str
    name: str
    value: int


class FoundationModels(_Part):
    """The whole file."""

    models: tuple[FoundationModel, ...]
    custom_models: tuple[CustomModel, ...]
    model_units: dict[str, Units] = Field(description="by region; none where a region is missing, as in a new account")

    def offers(self, region: str) -> list[Offer]:
        """Every id that a region lists."""
        offers = []
        for model in self.models:
            if model.on_demand.get(region):
                offers.append(Offer(model.id, region, model, model.on_demand[region]))
            for variant in model.provisioned.get(region, ()):
                offers.append(Offer(f"{model.id}:{variant}", region, model, ("PROVISIONED",)))
        return offers

    def offer(self, region: str, identifier: str) -> Offer | None:
        """The offer of an id or ARN."""
        return next((offer for offer in self.offers(region) if identifier in (offer.id, offer.arn)), None)

    def custom(self, region: str, identifier: str) -> CustomModel | None:
        """The fine-tuned model of a name or ARN."""
        found = (model for model in self.custom_models if identifier in (model.name, model.arn))
        return next((model for model in found if model.region == region), None)

    def units(self, region: str) -> Units:
        """A region's quotas of model units."""
        return self.model_units.get(region, Units())

    def quotas(self, region: str) -> list[Quota]:
        """The same, as Service Quotas lists them; of single models the names are AWS's and the codes are made up."""
        units = self.units(region)
        quotas = [Quota(BASE_UNITS, ACROSS.format("base"), units.base)]
        quotas.append(Quota(CUSTOM_UNITS, ACROSS.format("custom"), units.custom))
        for model in self.models:
            if region in model.provisioned:
                code = "L-" + hashlib.sha256(model.id.encode()).hexdigest()[:8].upper()
                name = f"Model units per provisioned model for {model.provider} {model.name}"
                quotas.append(Quota(code, name, units.per_model))
        return quotas


def foundation_model_arn(region: str, model_id: str) -> str:
    """The ARN of a foundation model, which no account owns."""
    return f"arn:aws:bedrock:{region}::foundation-model/{model_id}"


def iso(moment: datetime) -> str:
    """An instant as restJson writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def load() -> FoundationModels:
    """Read the models that ship with the twin."""
    return FoundationModels.model_validate_json(FILE.read_text(encoding="utf-8"))
