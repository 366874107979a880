"""Bedrock's control plane and Service Quotas, as far as buying and giving back provisioned throughput takes.

Every failure is a ControlPlaneError under the name that Step Functions gives it (`Bedrock.ThrottlingException`), so
that the workflow's retries and catches read the same whether a state calls AWS itself or, as here, through a function.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from mangaassist.errors import ControlPlaneError
from mangaassist.stores import error_code

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date

    from mypy_boto3_bedrock import BedrockClient
    from mypy_boto3_service_quotas import ServiceQuotasClient

OWNER, WINDOW, DAY = "mangaassist:owner", "mangaassist:window", "mangaassist:day"
CUSTOM_MODEL = ":custom-model/"
NOT_FOUND = "Bedrock.ResourceNotFoundException"


@dataclass(frozen=True, slots=True)
class Purchase:
    """Provisioned throughput that exists; `status` is Creating | InService | Updating | Failed."""

    arn: str
    name: str
    status: str
    units: int
    created_s: float
    window: str = ""
    day: str = ""
    failure: str = ""
    commitment: str | None = None
    committed_until_s: float | None = None

    def is_committed(self, now_s: float) -> bool:
        """Whether it cannot be deleted yet."""
        return self.committed_until_s is not None and self.committed_until_s > now_s


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What a service says of a model that it sells as provisioned throughput."""

    status: str  # ACTIVE | LEGACY
    end_of_life: date | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What to buy; the name is the idempotency token too, and the tags say whose it is and for when."""

    name: str
    model: str
    units: int
    owner: str
    window: str
    day: str


class ControlPlane:
    """Bedrock in the region of the purchases; every method raises ControlPlaneError."""

    def __init__(self, bedrock: BedrockClient, quotas: ServiceQuotasClient) -> None:
        self._bedrock = bedrock
        self._quotas = quotas

    def owned(self, owner: str) -> tuple[Purchase, ...]:
        """Everything alive that bears the owner's tag, oldest first."""
        return tuple(it for it, tags in self._alive() if tags.get(OWNER) == owner)

    def uncommitted_units(self, *, custom: bool) -> int:
        """Units of base or custom models, whosever they are, that count against the quota without commitment."""
        with named("Bedrock"):
            return sum(
                summary["modelUnits"]
                for summary in self._summaries()
                if "commitmentDuration" not in summary and (CUSTOM_MODEL in summary["modelArn"]) == custom
            )

    def get(self, arn: str) -> Purchase | None:
        """A purchase as it is now, without its tags; None when it does not exist (any more)."""
        try:
            with named("Bedrock"):
                return _purchase(self._bedrock.get_provisioned_model_throughput(provisionedModelId=arn), {})
        except ControlPlaneError as error:
            if error.name != NOT_FOUND:
                raise
            return None

    def create(self, order: Order) -> str:
        """Buy without commitment; gives the ARN, also that of an earlier call with the same name."""
        tags = {OWNER: order.owner, WINDOW: order.window, DAY: order.day}
        with named("Bedrock"):
            made = self._bedrock.create_provisioned_model_throughput(
                provisionedModelName=order.name,
                modelId=order.model,
                modelUnits=order.units,
                clientRequestToken=order.name,
                tags=[{"key": key, "value": value} for key, value in tags.items()],
            )
        return made["provisionedModelArn"]

    def delete(self, arn: str) -> bool:
        """Give back; False when there is nothing (any more)."""
        try:
            with named("Bedrock"):
                self._bedrock.delete_provisioned_model_throughput(provisionedModelId=arn)
        except ControlPlaneError as error:
            if error.name != NOT_FOUND:
                raise
            return False
        return True

    def lifecycle(self, model: str) -> Lifecycle | None:
        """What can be bought of a model; None when it is not sold as provisioned throughput here."""
        if CUSTOM_MODEL in model:
            return self._custom(model)
        with named("Bedrock"):
            sold = self._bedrock.list_foundation_models(byInferenceType="PROVISIONED")["modelSummaries"]
        for summary in sold:
            if model in (summary["modelId"], summary["modelArn"]):
                life: Mapping[str, Any] = summary.get("modelLifecycle", {})
                ends = life.get("endOfLifeTime")
                return Lifecycle(life.get("status", "ACTIVE"), ends.date() if ends else None)
        return None

    def quota(self, name: str) -> float | None:
        """The applied value of the Bedrock quota whose name begins so; None when the account lists none."""
        with named("ServiceQuotas"):
            for page in self._quotas.get_paginator("list_service_quotas").paginate(ServiceCode="bedrock"):
                for quota in page["Quotas"]:
                    if quota.get("QuotaName", "").lower().startswith(name.lower()):
                        return quota.get("Value")
        return None

    def _custom(self, model: str) -> Lifecycle | None:
        try:
            with named("Bedrock"):
                found = self._bedrock.get_custom_model(modelIdentifier=model)
        except ControlPlaneError as error:
            if error.name != NOT_FOUND:
                raise
            return None
        return Lifecycle("ACTIVE") if found.get("modelStatus", "Active") == "Active" else None

    def _alive(self) -> Iterator[tuple[Purchase, dict[str, str]]]:
        with named("Bedrock"):
            for summary in self._summaries():
                arn = summary["provisionedModelArn"]
                try:
                    listed = self._bedrock.list_tags_for_resource(resourceARN=arn).get("tags", [])
                except self._bedrock.exceptions.ResourceNotFoundException:
                    continue  # deleted since it was listed
                tags = {tag["key"]: tag["value"] for tag in listed}
                yield _purchase(summary, tags), tags

    def _summaries(self) -> Iterator[Any]:
        pages = self._bedrock.get_paginator("list_provisioned_model_throughputs")
        for page in pages.paginate(sortBy="CreationTime", sortOrder="Ascending"):
            yield from page.get("provisionedModelSummaries", [])


@contextmanager
def named(service: str) -> Iterator[None]:
    """Name AWS's failures as Step Functions does; no answer at all is its SdkClientException."""
    try:
        yield
    except ClientError as error:
        code = error_code(error)
        code = code if code.endswith("Exception") else f"{code}Exception"
        detail = f"{error.operation_name}: {error.response.get('Error', {}).get('Message', '')}"
        raise ControlPlaneError(f"{service}.{code}", detail) from error
    except BotoCoreError as error:
        raise ControlPlaneError(f"{service}.SdkClientException", type(error).__name__) from error


def _purchase(found: Any, tags: Mapping[str, str]) -> Purchase:
    ends = found.get("commitmentExpirationTime")
    return Purchase(
        arn=found["provisionedModelArn"],
        name=found["provisionedModelName"],
        status=found["status"],
        units=found["modelUnits"],
        created_s=found["creationTime"].timestamp(),
        window=tags.get(WINDOW, ""),
        day=tags.get(DAY, ""),
        failure=found.get("failureMessage", ""),
        commitment=found.get("commitmentDuration"),
        committed_until_s=ends.timestamp() if ends else None,
    )
