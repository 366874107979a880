"""What SageMaker's control plane tells of the emulated endpoint: its description, its configuration, its component."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.endpoint_metrics import VARIANT
from local.intrinsics import ACCOUNT, REGION
from local.wire import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local.endpoint import Fleet
    from local.endpoint_metrics import Metrics

INSTANCE_TYPE = "ml.g5.2xlarge"  # that the template makes the endpoint of by itself


@dataclass(frozen=True)
class Hosted:
    """The one endpoint that there is; `component` is empty where the variant holds the model itself."""

    name: str
    component: str
    fleet: Fleet
    metrics: Metrics

    @property
    def configuration(self) -> str:
        """The name of its endpoint configuration."""
        return f"{self.name}-config"


def described(hosted: Hosted | None, operation: str, asked: Mapping[str, Any], region: str) -> dict[str, Any]:
    """Answer an operation of the control plane; raises ServiceError for what is not there or not emulated."""
    if operation not in OPERATIONS:
        raise ServiceError(400, "UnknownOperationException", f"The twin emulates no {operation} of SageMaker.")
    kind, parameter, name_of, describe = OPERATIONS[operation]
    name = str(asked.get(parameter, ""))
    if hosted is None or not name or name != name_of(hosted) or region != REGION:
        raise ServiceError(400, "ValidationException", f'Could not find {kind} "{_arn(kind, name, region)}".')
    return describe(hosted)


def _endpoint(hosted: Hosted) -> dict[str, Any]:
    fleet = hosted.fleet
    status = fleet.status
    variant: dict[str, Any] = {
        "VariantName": VARIANT,
        "CurrentInstanceCount": fleet.in_service,
        "DesiredInstanceCount": fleet.desired,
    }
    if hosted.component:
        variant |= _managed(fleet)
    else:
        variant |= {"CurrentWeight": 1.0, "DesiredWeight": 1.0}
    if status == "Creating":
        variant["VariantStatus"] = [{"Status": "Creating", "StartTime": fleet.created_s}]
    return {
        "EndpointName": hosted.name,
        "EndpointArn": _arn("endpoint", hosted.name),
        "EndpointConfigName": hosted.configuration,
        "ProductionVariants": [variant],
        "EndpointStatus": status,
        "CreationTime": fleet.created_s,
        "LastModifiedTime": fleet.modified_s,
    }


def _configuration(hosted: Hosted) -> dict[str, Any]:
    variant: dict[str, Any] = {"VariantName": VARIANT, "InstanceType": INSTANCE_TYPE}
    variant |= _managed(hosted.fleet) if hosted.component else {"ModelName": f"{hosted.name}-model"}
    return {
        "EndpointConfigName": hosted.configuration,
        "EndpointConfigArn": _arn("endpoint-config", hosted.configuration),
        "ProductionVariants": [{**variant, "InitialInstanceCount": hosted.fleet.profile.minimum}],
        "CreationTime": hosted.fleet.created_s,
    }


def _component(hosted: Hosted) -> dict[str, Any]:
    """One copy fills an instance, as the stack makes it."""
    fleet = hosted.fleet
    return {
        "InferenceComponentName": hosted.component,
        "InferenceComponentArn": _arn("inference-component", hosted.component),
        "EndpointName": hosted.name,
        "EndpointArn": _arn("endpoint", hosted.name),
        "VariantName": VARIANT,
        "InferenceComponentStatus": "InService" if fleet.status == "InService" else "Creating",
        "RuntimeConfig": {"CurrentCopyCount": fleet.in_service, "DesiredCopyCount": fleet.desired},
        "CreationTime": fleet.created_s,
        "LastModifiedTime": fleet.modified_s,
    }


def _managed(fleet: Fleet) -> dict[str, Any]:
    bounds = {"MinInstanceCount": fleet.profile.minimum, "MaxInstanceCount": fleet.profile.maximum}
    return {"ManagedInstanceScaling": {"Status": "ENABLED", **bounds}}


def _arn(kind: str, name: str, region: str = REGION) -> str:
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{kind}/{name.lower()}"


type Describe = Callable[[Hosted], dict[str, Any]]
OPERATIONS: dict[str, tuple[str, str, Callable[[Hosted], str], Describe]] = {
    "DescribeEndpoint": ("endpoint", "EndpointName", lambda it: it.name, _endpoint),
    "DescribeEndpointConfig": ("endpoint-config", "EndpointConfigName", lambda it: it.configuration, _configuration),
    "DescribeInferenceComponent": (
        "inference-component",
        "InferenceComponentName",
        lambda it: it.component,
        _component,
    ),
}
