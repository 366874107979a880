"""What `template.yaml` deploys, as the twin needs it: routes, functions, environment, tables and parameters.

The template goes through the same translator that AWS runs, so that a shorthand means here what it means there.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3

from local.intrinsics import REGION, Intrinsics

if TYPE_CHECKING:
    from pathlib import Path

LOCAL_CODE = "s3://local/"  # the translator takes only S3 addresses; this one carries our folder through it
CODE_PROPERTIES = ("CodeUri", "ContentUri", "DefinitionUri")
TABLE_PROPERTIES = (
    "KeySchema",
    "AttributeDefinitions",
    "GlobalSecondaryIndexes",
    "LocalSecondaryIndexes",
    "BillingMode",
)


class TemplateUnusable(Exception):
    """The template cannot be run; the text says why in the translator's words."""


@dataclass(frozen=True)
class Function:
    """One Lambda function: where its code lies and what Lambda would tell it about itself."""

    name: str
    folder: Path
    handler: str  # "module.function"
    environment: dict[str, str]
    timeout_s: float
    memory_mb: int


@dataclass(frozen=True)
class Authorizer:
    """The function asked at `$connect`, and where its evidence must be (a missing source is a 401 without asking)."""

    function: str
    identity_sources: tuple[str, ...]


@dataclass(frozen=True)
class Api:
    """The WebSocket API; `routes` maps route keys to functions' names."""

    id: str
    stage: str
    selection: str
    routes: dict[str, str]
    authorizer: Authorizer | None


@dataclass(frozen=True)
class Table:
    """The arguments of CreateTable, and the attribute by which items expire."""

    create: dict[str, Any]
    ttl_attribute: str | None

    @property
    def name(self) -> str:
        return str(self.create["TableName"])


@dataclass(frozen=True)
class Parameter:
    """An SSM parameter as the template sets it."""

    name: str
    type: str
    value: str


@dataclass(frozen=True)
class Machine:
    """A state machine, with what its definition leaves open filled in."""

    name: str
    definition: str
    type: str  # STANDARD or EXPRESS


@dataclass(frozen=True)
class Schedule:
    """When EventBridge Scheduler starts which target on what input."""

    name: str
    expression: str
    timezone: str
    enabled: bool
    target: str  # an ARN
    input: str


@dataclass(frozen=True)
class Application:
    """Everything of the template that runs on one machine; topics, queues and buckets are just names."""

    api: Api
    functions: dict[str, Function]
    layers: tuple[Path, ...]
    tables: tuple[Table, ...]
    parameters: tuple[Parameter, ...]
    machines: tuple[Machine, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    topics: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    buckets: tuple[str, ...] = ()


def read(path: Path, parameters: dict[str, str] | None = None) -> Application:
    """Translate a SAM template and pick out what runs; raises TemplateUnusable."""
    chosen = parameters or {}
    translated = _translate(path, chosen)
    intrinsics = Intrinsics(translated, chosen)
    resources: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for logical_id, resource in translated["Resources"].items():
        if "Condition" not in resource or intrinsics.condition(resource["Condition"]):
            resources.setdefault(resource["Type"], []).append((logical_id, resource.get("Properties", {})))
    return Application(
        api=_api(resources, intrinsics),
        functions={
            name: _function(name, properties, intrinsics, path.parent)
            for name, properties in resources.get("AWS::Lambda::Function", [])
        },
        layers=tuple(
            path.parent / intrinsics.resolve(properties["Content"]["S3Key"])
            for _, properties in resources.get("AWS::Lambda::LayerVersion", [])
        ),
        tables=tuple(
            _table(name, intrinsics.resolve(properties))
            for name, properties in resources.get("AWS::DynamoDB::Table", [])
        ),
        parameters=tuple(
            Parameter(intrinsics.name_of(name), intrinsics.resolve(properties["Type"]), _value(intrinsics, properties))
            for name, properties in resources.get("AWS::SSM::Parameter", [])
        ),
        machines=tuple(
            _machine(name, intrinsics.resolve(properties), path.parent)
            for name, properties in resources.get("AWS::StepFunctions::StateMachine", [])
        ),
        schedules=tuple(
            _schedule(name, intrinsics.resolve(properties))
            for name, properties in resources.get("AWS::Scheduler::Schedule", [])
        ),
        topics=tuple(intrinsics.name_of(name) for name, _ in resources.get("AWS::SNS::Topic", [])),
        queues=tuple(intrinsics.name_of(name) for name, _ in resources.get("AWS::SQS::Queue", [])),
        buckets=tuple(intrinsics.name_of(name) for name, _ in resources.get("AWS::S3::Bucket", [])),
    )


def _translate(path: Path, parameters: dict[str, str]) -> dict[str, Any]:
    from samtranslator.model.exceptions import InvalidDocumentException
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator
    from samtranslator.yaml_helper import yaml_parse

    logging.getLogger("samtranslator").setLevel(logging.ERROR)  # it warns at exit of usage metrics it did not send
    try:
        source = yaml_parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TemplateUnusable(f"{path} cannot be read: {error.strerror}") from error
    for resource in source["Resources"].values():
        _carry_code(resource.get("Properties", {}))
    _carry_code(source.get("Globals", {}).get("Function", {}))
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=REGION))
    try:
        translated: dict[str, Any] = translator.translate(source, parameter_values=dict(parameters))
    except InvalidDocumentException as error:
        reasons = "; ".join(cause.message for cause in error.causes)
        raise TemplateUnusable(f"{path} cannot be translated: {reasons}") from error
    return translated


def _carry_code(properties: dict[str, Any]) -> None:
    for name in CODE_PROPERTIES:
        if isinstance(properties.get(name), str):
            properties[name] = LOCAL_CODE + properties[name].removeprefix("./")


def _function(name: str, properties: dict[str, Any], intrinsics: Intrinsics, root: Path) -> Function:
    variables = intrinsics.resolve(properties.get("Environment", {}).get("Variables", {}))
    return Function(
        name=name,
        folder=root / properties["Code"]["S3Key"],
        handler=intrinsics.resolve(properties["Handler"]),
        environment={key: str(value) for key, value in variables.items()},
        timeout_s=float(intrinsics.resolve(properties.get("Timeout", 3))),
        memory_mb=int(intrinsics.resolve(properties.get("MemorySize", 128))),
    )


def _api(resources: dict[str, list[tuple[str, dict[str, Any]]]], intrinsics: Intrinsics) -> Api:
    apis = resources.get("AWS::ApiGatewayV2::Api", [])
    if len(apis) != 1:
        raise TemplateUnusable(f"exactly one WebSocket API is expected, the template has {len(apis)}")
    ((name, api),) = apis
    integrations = dict(resources["AWS::ApiGatewayV2::Integration"])
    routes = {
        properties["RouteKey"]: _invoked(
            intrinsics, integrations[intrinsics.resolve(properties["Target"]).split("/")[-1]]["IntegrationUri"]
        )
        for _, properties in resources["AWS::ApiGatewayV2::Route"]
    }
    authorizers = resources.get("AWS::ApiGatewayV2::Authorizer", [])
    stages = resources["AWS::ApiGatewayV2::Stage"]
    return Api(
        id=name,
        stage=str(intrinsics.resolve(stages[0][1]["StageName"])),
        selection=str(intrinsics.resolve(api["RouteSelectionExpression"])),
        routes=routes,
        authorizer=_authorizer(intrinsics, authorizers[0][1]) if authorizers else None,
    )


def _authorizer(intrinsics: Intrinsics, properties: dict[str, Any]) -> Authorizer:
    sources = intrinsics.resolve(properties.get("IdentitySource") or [])
    return Authorizer(_invoked(intrinsics, properties["AuthorizerUri"]), tuple(sources))


def _invoked(intrinsics: Intrinsics, uri: Any) -> str:
    """The function that an integration's address names, whichever alias it goes through."""
    text = str(intrinsics.resolve(uri))
    found = re.search(r":function:([^:/]+)", text)
    if found is None:
        raise TemplateUnusable(f"{text} names no function")
    return found.group(1)


def _table(name: str, properties: dict[str, Any]) -> Table:
    create = {key: properties[key] for key in TABLE_PROPERTIES if key in properties}
    ttl = properties.get("TimeToLiveSpecification", {})
    return Table({"TableName": name, **create}, ttl.get("AttributeName"))


def _machine(name: str, properties: dict[str, Any], root: Path) -> Machine:
    if "DefinitionString" in properties:
        definition = str(properties["DefinitionString"])
    else:
        file = root / properties["DefinitionS3Location"]["Key"]
        try:
            definition = file.read_text(encoding="utf-8")
        except OSError as error:
            raise TemplateUnusable(f"{file} cannot be read: {error.strerror}") from error
    for key, value in properties.get("DefinitionSubstitutions", {}).items():
        definition = definition.replace("${" + key + "}", str(value))
    return Machine(name, definition, properties.get("StateMachineType", "STANDARD"))


def _schedule(name: str, properties: dict[str, Any]) -> Schedule:
    target = properties["Target"]
    return Schedule(
        name=name,
        expression=properties["ScheduleExpression"],
        timezone=properties.get("ScheduleExpressionTimezone", "UTC"),
        enabled=properties.get("State", "ENABLED") == "ENABLED",
        target=str(target["Arn"]),
        input=str(target.get("Input", "{}")),
    )


def _value(intrinsics: Intrinsics, properties: dict[str, Any]) -> str:
    value = intrinsics.resolve(properties["Value"])
    return ",".join(value) if isinstance(value, list) else str(value)
