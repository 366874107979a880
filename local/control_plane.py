"""Bedrock's control plane, an emulator: provisioned throughput and the lists of models, on AWS's real REST wire."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from local.foundation_models import CustomModel, foundation_model_arn, iso
from local.provisioned import FAILURE, MOST_TAGS, Purchase
from local.wire import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.foundation_models import Offer
    from local.provisioned import Provisioned, ProvisionedThroughput
    from local.wire import Exchange

ROUTES = [
    (method, re.compile(path + "$"), operation)
    for method, path, operation in (
        ("POST", "/provisioned-model-throughput", "CreateProvisionedModelThroughput"),
        ("GET", "/provisioned-model-throughputs", "ListProvisionedModelThroughputs"),
        ("GET", "/provisioned-model-throughput/([^/]+)", "GetProvisionedModelThroughput"),
        ("PATCH", "/provisioned-model-throughput/([^/]+)", "UpdateProvisionedModelThroughput"),
        ("DELETE", "/provisioned-model-throughput/([^/]+)", "DeleteProvisionedModelThroughput"),
        ("POST", "/listTagsForResource", "ListTagsForResource"),
        ("POST", "/tagResource", "TagResource"),
        ("POST", "/untagResource", "UntagResource"),
        ("GET", "/foundation-models", "ListFoundationModels"),
        ("GET", "/foundation-models/([^/]+)", "GetFoundationModel"),
        ("GET", "/custom-models/([^/]+)", "GetCustomModel"),
    )
]
Name = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^([0-9a-zA-Z][_-]?)+$")]
PROFILE = re.compile(r":(application-)?inference-profile/|^(jp|us|eu|apac|au|ca|sa|us-gov|global)\.")
PAGE = 100


def operation_of(method: str, path: str) -> tuple[str, str] | None:
    """The operation that a request asks for, and what its path names."""
    for wanted, pattern, operation in ROUTES:
        if method == wanted and (match := pattern.match(path)):
            return operation, unquote(match.group(1)) if pattern.groups else ""
    return None


class _Fields(BaseModel):
    """What an operation takes, named as on the wire."""

    model_config = ConfigDict(extra="forbid")


class _Tag(_Fields):
    key: Annotated[str, Field(min_length=1, max_length=128)]
    value: Annotated[str, Field(max_length=256)]


class _Create(_Fields):
    clientRequestToken: (
        Annotated[str, Field(max_length=256, pattern=r"^[a-zA-Z0-9]([-a-zA-Z0-9]{0,254}[a-zA-Z0-9])?$")] | None
    ) = None
    modelUnits: Annotated[int, Field(ge=1, strict=True)]
    provisionedModelName: Name
    modelId: Annotated[str, Field(min_length=1, max_length=2048)]
    commitmentDuration: Literal["OneMonth", "SixMonths"] | None = None
    tags: list[_Tag] = []


class _Update(_Fields):
    desiredProvisionedModelName: Name | None = None
    desiredModelId: str | None = None


class _List(_Fields):
    creationTimeAfter: datetime | None = None
    creationTimeBefore: datetime | None = None
    statusEquals: Literal["Creating", "InService", "Updating", "Failed"] | None = None
    modelArnEquals: str | None = None
    nameContains: Name | None = None
    maxResults: Annotated[int, Field(ge=1, le=1000)] = PAGE
    nextToken: Annotated[str, Field(pattern=r"^\d{1,9}$")] | None = None
    sortBy: Literal["CreationTime"] = "CreationTime"
    sortOrder: Literal["Ascending", "Descending"] = "Descending"


class _ListModels(_Fields):
    byProvider: str | None = None
    byCustomizationType: str | None = None
    byOutputModality: Literal["TEXT", "IMAGE", "EMBEDDING"] = "TEXT"
    byInferenceType: Literal["ON_DEMAND", "PROVISIONED"] | None = None


class _Tagging(_Fields):
    resourceARN: str
    tags: list[_Tag] = []
    tagKeys: list[str] = []


@dataclass(frozen=True)
class _Call:
    region: str
    named: str  # in the path
    fields: dict[str, Any]  # of the body, or of the query where there is none
    fails: bool  # the scripted end of what is made


class ControlPlane:
    """The service; `provisioned` is its state, shared with the model emulator that serves from it."""

    def __init__(self, provisioned: ProvisionedThroughput) -> None:
        self._provisioned = provisioned
        self._models = provisioned.models
        self._operations: dict[str, Callable[[_Call], dict[str, Any]]] = {
            "CreateProvisionedModelThroughput": self._create,
            "ListProvisionedModelThroughputs": self._list,
            "GetProvisionedModelThroughput": self._get,
            "UpdateProvisionedModelThroughput": self._update,
            "DeleteProvisionedModelThroughput": self._delete,
            "ListTagsForResource": self._tags_of,
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "ListFoundationModels": self._list_models,
            "GetFoundationModel": self._get_model,
            "GetCustomModel": self._get_custom_model,
        }

    async def __call__(self, exchange: Exchange) -> None:
        asked = operation_of(exchange.method, exchange.path)
        body = await exchange.body()
        try:
            if asked is None:
                text = "The twin emulates no such operation of Bedrock."
                raise ServiceError(404, "UnknownOperationException", text)
            operation, named = asked
            fails = exchange.fault is not None and exchange.fault.fault == "create_fails"
            call = _Call(exchange.region, named, _object(body) if body else exchange.query, fails)
            answer = self._operations[operation](call)
        except ServiceError as error:
            await exchange.refuse(error)
        else:
            await exchange.answer_json(answer, 201 if operation.startswith("Create") else 200)

    def _create(self, call: _Call) -> dict[str, Any]:
        asked = _read(_Create, call.fields)
        tags = {tag.key: tag.value for tag in asked.tags}
        if len(tags) > MOST_TAGS:
            raise _too_many_tags()
        purchase = Purchase(
            name=asked.provisionedModelName,
            model=self._bought_model(call.region, asked.modelId),
            units=asked.modelUnits,
            commitment=asked.commitmentDuration,
            tags=tags,
            token=asked.clientRequestToken,
            fails=call.fails,
        )
        return {"provisionedModelArn": self._provisioned.buy(call.region, purchase).arn}

    def _bought_model(self, region: str, model_id: str) -> Offer | CustomModel:
        """The model that an id or ARN names, if its throughput can be bought; raises ServiceError."""
        if PROFILE.search(model_id):
            raise _invalid("modelId: an inference profile cannot be used for Provisioned Throughput.")
        if ":custom-model/" in model_id or "." not in model_id:
            custom = self._models.custom(region, model_id)
            if custom is None:
                raise _missing(f"The custom model {model_id} was not found.")
            return custom
        offer = self._models.offer(region, model_id)
        if offer is None:
            raise _invalid(f"The provided model identifier {model_id} is invalid in {region}.")
        if "PROVISIONED" not in offer.inference:
            raise _invalid(f"{model_id} does not support Provisioned Throughput: name a contextual variant that does.")
        if offer.model.status == "LEGACY":
            raise _invalid(f"{model_id} is a Legacy model: new Provisioned Throughput cannot be created for it.")
        return offer

    def _get(self, call: _Call) -> dict[str, Any]:
        one = self._provisioned.find(call.region, call.named)
        told = self._summary(one)
        if told["status"] == "Failed":
            told["failureMessage"] = FAILURE
        return told

    def _list(self, call: _Call) -> dict[str, Any]:
        asked = _read(_List, call.fields)
        found = [one for one in self._provisioned.alive(call.region) if self._fits(one, asked)]
        newest_first = asked.sortOrder == "Descending"
        found.sort(key=lambda one: one.order, reverse=newest_first)
        if asked.nextToken:
            last = int(asked.nextToken)
            found = [one for one in found if (one.order < last if newest_first else one.order > last)]
        page = found[: asked.maxResults]
        answer: dict[str, Any] = {"provisionedModelSummaries": [self._summary(one) for one in page]}
        if len(found) > len(page):
            answer["nextToken"] = str(page[-1].order)
        return answer

    def _fits(self, one: Provisioned, asked: _List) -> bool:
        return (
            (asked.nameContains is None or asked.nameContains in one.name)
            and (asked.statusEquals is None or asked.statusEquals == self._provisioned.status(one))
            and (asked.modelArnEquals is None or asked.modelArnEquals == one.purchase.model.arn)
            and (asked.creationTimeAfter is None or one.created_at > _aware(asked.creationTimeAfter))
            and (asked.creationTimeBefore is None or one.created_at < _aware(asked.creationTimeBefore))
        )

    def _summary(self, one: Provisioned) -> dict[str, Any]:
        told: dict[str, Any] = {
            "provisionedModelName": one.name,
            "provisionedModelArn": one.arn,
            "modelArn": one.purchase.model.arn,
            "desiredModelArn": one.purchase.model.arn,
            "foundationModelArn": one.foundation_model_arn,
            "modelUnits": one.purchase.units,
            "desiredModelUnits": one.purchase.units,
            "status": self._provisioned.status(one),
            "creationTime": iso(one.created_at),
            "lastModifiedTime": iso(one.modified_at),
        }
        if one.committed_until is not None:
            told["commitmentDuration"] = one.purchase.commitment
            told["commitmentExpirationTime"] = iso(one.committed_until)
        return told

    def _update(self, call: _Call) -> dict[str, Any]:
        asked = _read(_Update, call.fields)
        if asked.desiredModelId is not None:
            raise _invalid("desiredModelId: this emulator changes names only.")
        one = self._provisioned.find(call.region, call.named)
        if asked.desiredProvisionedModelName is not None:
            self._provisioned.rename(call.region, one.arn, asked.desiredProvisionedModelName)
        return {}

    def _delete(self, call: _Call) -> dict[str, Any]:
        self._provisioned.delete(call.region, call.named)
        return {}

    def _tags_of(self, call: _Call) -> dict[str, Any]:
        one = self._provisioned.find(call.region, _read(_Tagging, call.fields).resourceARN)
        return {"tags": [{"key": key, "value": value} for key, value in one.tags.items()]}

    def _tag(self, call: _Call) -> dict[str, Any]:
        asked = _read(_Tagging, call.fields)
        one = self._provisioned.find(call.region, asked.resourceARN)
        tags = one.tags | {tag.key: tag.value for tag in asked.tags}
        if len(tags) > MOST_TAGS:
            raise _too_many_tags()
        one.tags = tags
        return {}

    def _untag(self, call: _Call) -> dict[str, Any]:
        asked = _read(_Tagging, call.fields)
        one = self._provisioned.find(call.region, asked.resourceARN)
        one.tags = {key: value for key, value in one.tags.items() if key not in asked.tagKeys}
        return {}

    def _list_models(self, call: _Call) -> dict[str, Any]:
        asked = _read(_ListModels, call.fields)
        found = [
            offer
            for offer in self._models.offers(call.region)
            if (asked.byProvider is None or asked.byProvider.casefold() == offer.model.provider.casefold())
            and (asked.byInferenceType is None or asked.byInferenceType in offer.inference)
            and asked.byOutputModality == "TEXT"
            and asked.byCustomizationType is None
        ]
        return {"modelSummaries": [offer.summary() for offer in found]}

    def _get_model(self, call: _Call) -> dict[str, Any]:
        offer = self._models.offer(call.region, call.named)
        if offer is None:
            raise _missing(f"The model {call.named} was not found.")
        return {"modelDetails": offer.summary()}

    def _get_custom_model(self, call: _Call) -> dict[str, Any]:
        custom = self._models.custom(call.region, call.named)
        if custom is None:
            raise _missing(f"The custom model {call.named} was not found.")
        return {
            "modelArn": custom.arn,
            "modelName": custom.name,
            "baseModelArn": foundation_model_arn(custom.region, custom.base),
            "customizationType": "FINE_TUNING",
            "creationTime": iso(custom.created_at),
            "modelStatus": "Active",
        }


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise ServiceError(400, "SerializationException", "The request body is not valid JSON.") from error
    if not isinstance(fields, dict):
        raise ServiceError(400, "SerializationException", "The request body is not a JSON object.")
    return fields


def _read[Fields: _Fields](kind: type[Fields], fields: dict[str, Any]) -> Fields:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        told = "; ".join(f"Value at '{'.'.join(map(str, one['loc']))}': {one['msg']}" for one in problems)
        raise _invalid(f"{len(problems)} validation errors detected: {told}") from error


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _invalid(text: str) -> ServiceError:
    return ServiceError(400, "ValidationException", text)


def _missing(text: str) -> ServiceError:
    return ServiceError(404, "ResourceNotFoundException", text)


def _too_many_tags() -> ServiceError:
    return ServiceError(400, "TooManyTagsException", f"A resource can have at most {MOST_TAGS} tags.")
