"""Scripted trouble: which call fails next, and how."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

CONTROL_PLANE = "control-plane"
SEARCH = "search"
CACHE = "cache"
ENDPOINT = "sagemaker-custom"  # the target that a SageMaker endpoint answers
DEPENDENCIES = ("dynamodb", "ssm", "gateway", "embeddings", CONTROL_PLANE, "lambda", "sns", SEARCH, "s3", CACHE)
Kind = Literal[
    "throttle",
    "unavailable",
    "denied",
    "hang",
    "slow",
    "cut",
    "stall",
    "error_event",
    "garbage",
    "create_fails",
    "quota",
    "conflict",
    "reject_items",
    "not_ready",
    "no_capacity",
]
MID_STREAM = ("cut", "stall", "error_event")
MET_BY = {  # kinds of one dependency alone, and the operation that meets them
    "create_fails": "CreateProvisionedModelThroughput",
    "quota": "CreateProvisionedModelThroughput",
    "conflict": "DeleteProvisionedModelThroughput",
    "reject_items": "_bulk",
}
OWNERS = {
    **dict.fromkeys(("create_fails", "quota", "conflict"), CONTROL_PLANE),
    "reject_items": SEARCH,
    **dict.fromkeys(("not_ready", "no_capacity"), ENDPOINT),
}
ERRORS = {  # of the endpoint, by their names there; the first where nobody names one
    "unavailable": ("ServiceUnavailable", "InternalFailure", "InternalDependencyException", "ModelError"),
    "error_event": ("StreamBroken", "ModelInvocationTimeExceeded", "InternalStreamFailure"),
}


class FaultUnknown(Exception):
    """A fault cannot be scripted as asked; the text names the key or field and the reason."""


class Fault(BaseModel):
    """What goes wrong, and how often: `count` times, by a `probability` after `certain` ones, or until cleared."""

    model_config = ConfigDict(extra="forbid")

    fault: Kind
    count: Annotated[int, Field(ge=1)] | None = None
    probability: Annotated[float, Field(gt=0, le=1)] | None = None
    certain: Annotated[int, Field(ge=0)] = 0
    operation: str | None = None  # of a dependency, as its API names it; without one the fault is for all of them
    after_tokens: Annotated[int, Field(ge=0)] = 0
    first_token_ms: Annotated[float, Field(ge=0)] | None = None
    token_ms: Annotated[float, Field(ge=0)] | None = None
    error: str | None = None  # which one of those that an endpoint answers in such a case

    @model_validator(mode="after")
    def _consistent(self) -> Fault:
        if self.after_tokens and self.fault not in MID_STREAM:
            raise ValueError(f"after_tokens belongs to {', '.join(MID_STREAM)}")
        if self.fault != "slow" and (self.first_token_ms is not None or self.token_ms is not None):
            raise ValueError("first_token_ms and token_ms belong to slow")
        if self.operation and self.operation != MET_BY.get(self.fault, self.operation):
            raise ValueError(f"{self.fault} belongs to {MET_BY[self.fault]}")
        if self.certain and self.probability is None:
            raise ValueError("certain belongs to a probability")
        if self.error and self.error not in (known := ERRORS.get(self.fault, ())):
            raise ValueError(f"error is one of {', '.join(known)} here" if known else f"{self.fault} has no error")
        return self

    def is_met_by(self, operation: str | None) -> bool:
        """Whether a call of that operation meets the fault."""
        return (self.operation or MET_BY.get(self.fault)) in (None, operation)


_FAULTS: TypeAdapter[dict[str, Fault]] = TypeAdapter(dict[str, Fault])


@dataclass
class Faults:
    """The faults in force by key: a target, a model id, an endpoint, or a dependency."""

    random: random.Random
    endpoint: str = ""  # the other name of the target that it answers

    def __post_init__(self) -> None:
        self._faults: dict[str, Fault] = {}
        self.met: Counter[str] = Counter()  # how often, by key, since the start

    def put(self, document: bytes, known: set[str]) -> None:
        """Script the faults of a JSON object beside those in force; raises FaultUnknown and then changes nothing."""
        try:
            faults = _FAULTS.validate_json(document)
        except ValidationError as error:
            raise FaultUnknown("; ".join(_reason(part) for part in error.errors(include_url=False))) from error
        if unknown := sorted(set(faults) - known):
            raise FaultUnknown(f"{', '.join(unknown)}: not one of {', '.join(sorted(known))}")
        for key, fault in faults.items():
            name = ENDPOINT if key == self.endpoint else key
            if (owner := OWNERS.get(fault.fault, name)) != name:
                raise FaultUnknown(f"{key}: {fault.fault} belongs to {owner}")
            if fault.error and name != ENDPOINT:
                raise FaultUnknown(f"{key}: error belongs to {ENDPOINT}")
            if fault.operation and key not in DEPENDENCIES:
                raise FaultUnknown(f"{key}: operation belongs to {', '.join(DEPENDENCIES)}")
        self._faults |= faults

    def clear(self, key: str | None = None) -> None:
        """Forget the fault of a key, or all of them."""
        if key is None:
            self._faults.clear()
        else:
            self._faults.pop(key, None)

    def take(self, *keys: str, operation: str | None = None) -> Fault | None:
        """The fault that a call known under these names meets, if any; a counted one is used up by it."""
        for key in keys:
            fault = self._faults.get(key)
            if fault is None or not fault.is_met_by(operation):
                continue
            if fault.certain:
                self._faults[key] = fault.model_copy(update={"certain": fault.certain - 1})
            elif fault.probability is not None and self.random.random() >= fault.probability:
                continue
            if fault.count is not None:
                if fault.count == 1:
                    del self._faults[key]
                else:
                    self._faults[key] = self._faults[key].model_copy(update={"count": fault.count - 1})
            self.met[key] += 1
            return fault
        return None

    def listed(self) -> dict[str, dict[str, object]]:
        """The faults in force, with the counts that remain."""
        return {key: fault.model_dump(exclude_none=True, exclude_defaults=True) for key, fault in self._faults.items()}


def _reason(part: Mapping[str, Any]) -> str:
    where = ".".join(str(step) for step in part["loc"])
    message = str(part["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
