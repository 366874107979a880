"""Emulated provisioned throughput: what was bought in each region, what has become of it, and what it has cost so far.

What is in the making gets ready as the twin's clock passes, however often it is moved; nothing here speaks HTTP.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from local.clock import JST
from local.foundation_models import CustomModel, Offer, foundation_model_arn
from local.intrinsics import ACCOUNT
from local.wire import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.clock import Clock
    from local.foundation_models import FoundationModels

TERMS = {"OneMonth": timedelta(days=30), "SixMonths": timedelta(days=180)}
MOST_TAGS = 50
FAILURE = "Provisioned Throughput could not be created because of an internal error. Delete it and try again."


@dataclass(frozen=True)
class Purchase:
    """What somebody wants to buy; checked as far as its form goes."""

    name: str
    model: Offer | CustomModel
    units: int
    commitment: str | None
    tags: dict[str, str]
    token: str | None
    fails: bool = False  # as scripted

    @property
    def variant(self) -> str:
        """The foundation model's id that decides how it behaves."""
        return self.model.base if isinstance(self.model, CustomModel) else self.model.id


@dataclass
class Provisioned:
    """One purchase, alive or not; `_s` are seconds of the twin's clock that never run backwards."""

    region: str
    arn: str
    order: int  # among all that was ever bought
    purchase: Purchase
    created_at: datetime
    created_s: float
    creating_s: float
    name: str
    tags: dict[str, str]
    modified_at: datetime
    deleted_at: datetime | None = None
    deleted_s: float | None = None

    def status(self, passed_s: float) -> str:
        """Where it is on its way to serve."""
        if passed_s - self.created_s < self.creating_s:
            return "Creating"
        return "Failed" if self.purchase.fails else "InService"

    def unit_hours(self, passed_s: float) -> float:
        """What is billed: from creation until deletion, used or not."""
        until = passed_s if self.deleted_s is None else self.deleted_s
        return self.purchase.units * (until - self.created_s) / 3600

    @property
    def in_service_at(self) -> datetime | None:
        return None if self.purchase.fails else self.created_at + timedelta(seconds=self.creating_s)

    @property
    def foundation_model_arn(self) -> str:
        return foundation_model_arn(self.region, self.purchase.variant)

    @property
    def committed_until(self) -> datetime | None:
        term = TERMS.get(self.purchase.commitment or "")
        return self.created_at + term if term else None


@dataclass
class ProvisionedThroughput:
    """Everything that was ever bought; one event loop changes it.

    A clock that is moved back takes nothing out of service, and no bill back: what counts is how much time has passed.
    """

    models: FoundationModels
    clock: Clock
    creating_s: float
    on_deleted: Callable[[str], None] = field(default=lambda arn: None)  # told the ARN of what serves no longer
    _bought: list[Provisioned] = field(default_factory=list)

    def alive(self, region: str) -> Iterator[Provisioned]:
        """What a region has now, in the order in which it was bought."""
        return (one for one in self._bought if one.region == region and one.deleted_s is None)

    def arns(self) -> set[str]:
        """Every ARN that exists now."""
        return {one.arn for one in self._bought if one.deleted_s is None}

    def buy(self, region: str, purchase: Purchase) -> Provisioned:
        """Begin to make it; the same token gives what it gave before. Raises ServiceError."""
        for one in self._bought:
            if purchase.token and (one.region, one.purchase.token) == (region, purchase.token):
                return one
        if any(one.name == purchase.name for one in self.alive(region)):
            raise _invalid(f"The provisioned model name {purchase.name} is already in use.")
        self._check_quota(region, purchase)
        now, suffix = self.clock.now(), uuid.uuid4().hex[:12]
        one = Provisioned(
            region=region,
            arn=f"arn:aws:bedrock:{region}:{ACCOUNT}:provisioned-model/{suffix}",
            order=len(self._bought) + 1,
            purchase=purchase,
            created_at=now,
            created_s=self.clock.passed_s(),
            creating_s=self.creating_s,
            name=purchase.name,
            tags=dict(purchase.tags),
            modified_at=now,
        )
        self._bought.append(one)
        return one

    def find(self, region: str, identifier: str) -> Provisioned:
        """What lives under a name or an ARN; raises ServiceError."""
        for one in self.alive(region):
            if identifier in (one.name, one.arn):
                return one
        raise _missing()

    def rename(self, region: str, identifier: str, name: str) -> None:
        """Give it another name; raises ServiceError."""
        one = self.find(region, identifier)
        if any(other.name == name and other is not one for other in self.alive(region)):
            raise _invalid(f"The provisioned model name {name} is already in use.")
        one.name, one.modified_at = name, self.clock.now()

    def delete(self, region: str, identifier: str) -> None:
        """End it at once, with what still runs on it; raises ServiceError for one whose term is not over."""
        one, passed_s = self.find(region, identifier), self.clock.passed_s()
        term = TERMS.get(one.purchase.commitment or "")
        if term is not None and passed_s - one.created_s < term.total_seconds():
            text = "The Provisioned Throughput cannot be deleted before its commitment term is complete."
            raise ServiceError(400, "ConflictException", text)
        one.deleted_at, one.deleted_s = self.clock.now(), passed_s
        self.on_deleted(one.arn)

    def serving(self, region: str, arn: str) -> Provisioned:
        """What a model call on an ARN runs on; raises ServiceError when it does not serve there."""
        if arn.split(":")[3] != region:
            raise _invalid("The provided model identifier is invalid.")
        one = self.find(region, arn)
        match one.status(self.clock.passed_s()):
            case "InService":
                return one
            case "Creating":
                raise ServiceError(429, "ModelNotReadyException", "The model is not ready yet. Try again later.")
            case status:
                raise _invalid(f"The provisioned model cannot be used: its status is {status}.")

    def status(self, one: Provisioned) -> str:
        """Its status now."""
        return one.status(self.clock.passed_s())

    def state(self) -> list[dict[str, Any]]:
        """All that was ever bought with its meter, for people and tests."""
        passed_s = self.clock.passed_s()
        return [
            {
                "region": one.region,
                "name": one.name,
                "arn": one.arn,
                "model": one.purchase.variant,
                "units": one.purchase.units,
                "status": "Deleted" if one.deleted_at else one.status(passed_s),
                "commitment": one.purchase.commitment,
                "created_at": _told(one.created_at),
                "in_service_at": _told(one.in_service_at),
                "deleted_at": _told(one.deleted_at),
                "unit_hours": round(one.unit_hours(passed_s), 6),
                "tags": one.tags,
            }
            for one in self._bought
        ]

    def _check_quota(self, region: str, purchase: Purchase) -> None:
        limits = self.models.units(region)
        custom = isinstance(purchase.model, CustomModel)
        if purchase.units > limits.per_model:
            raise over_quota(purchase.variant)
        if purchase.commitment is not None:
            return
        passed_s = self.clock.passed_s()
        taken = sum(
            one.purchase.units
            for one in self.alive(region)
            if one.purchase.commitment is None
            and isinstance(one.purchase.model, CustomModel) == custom
            and one.status(passed_s) != "Failed"
        )
        if taken + purchase.units > (limits.custom if custom else limits.base):
            raise over_quota(purchase.variant)


def over_quota(model_id: str) -> ServiceError:
    """The refusal of what the account's quota of model units does not cover."""
    text = f"Your account does not currently have any no commitment model units reserved for {model_id}."
    return ServiceError(400, "ServiceQuotaExceededException", text)


def _missing() -> ServiceError:
    return ServiceError(404, "ResourceNotFoundException", "The provisioned model was not found.")


def _invalid(text: str) -> ServiceError:
    return ServiceError(400, "ValidationException", text)


def _told(moment: datetime | None) -> str | None:
    return moment.astimezone(JST).isoformat(timespec="milliseconds") if moment else None
