"""Promises of the template, read from its translation: what SAM makes of it counts, not what we meant."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from mangaassist.settings import Settings
from tests.infrastructure.cloudformation import chosen_by
from tests.infrastructure.deployment import Deployment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.infrastructure.cloudformation import Template

GATEWAY_LIMIT_S = 29
NAMES = (
    "authorizer",
    "connect",
    "message",
    "disconnect",
    "capacity",
    "ingest",
    "advisor",
    "reconcile",
    "lifecycle",
    "pretraffic",
)
BEHIND_THE_GATEWAY = ("AuthorizerFunction", "ConnectFunction", "MessageFunction", "DisconnectFunction")
ON_INSTANCES = "MessageOnInstancesFunction"  # the message function once more
NEVER_EXPIRE, CACHES = {"ProductsTable"}, {"AnswersTable"}


def test_one_word_per_function_in_folder_file_handler_and_logical_id(
    functions: dict[str, dict[str, Any]], root: Path
) -> None:
    assert set(functions) - {ON_INSTANCES} == {f"{name.capitalize()}Function" for name in NAMES}
    for name in NAMES:
        function = functions[f"{name.capitalize()}Function"]
        assert function["Handler"] == f"{name}.handler"
        assert function["Code"]["S3Key"] == f"functions/{name}/"
        assert (root / "functions" / name / f"{name}.py").is_file()


def test_functions_run_the_pinned_python(functions: dict[str, dict[str, Any]], root: Path) -> None:
    pinned = (root / ".python-version").read_text("utf-8").strip()
    assert {function["Runtime"] for function in functions.values()} == {f"python{pinned}"}


def test_functions_give_up_no_later_than_the_gateway(functions: dict[str, dict[str, Any]]) -> None:
    assert all(functions[name]["Timeout"] <= GATEWAY_LIMIT_S for name in BEHIND_THE_GATEWAY)
    assert functions["MessageFunction"]["Timeout"] == GATEWAY_LIMIT_S


def test_every_function_logs_json_to_a_group_with_retention(
    functions: dict[str, dict[str, Any]], template: Template
) -> None:
    groups = template.of_type("AWS::Logs::LogGroup")
    assert all(group["RetentionInDays"] == {"Ref": "LogRetentionDays"} for group in groups.values())
    used = [function["LoggingConfig"]["LogGroup"]["Ref"] for function in functions.values()]
    used.remove("MessageLogGroup")  # where the message function logs on instances too
    assert sorted([*used, "AccessLogGroup", "ProvisionedThroughputLogGroup"]) == sorted(groups)
    assert {function["LoggingConfig"]["LogFormat"] for function in functions.values()} == {"JSON"}


def test_every_function_has_the_routing_layer_of_its_own_architecture(
    functions: dict[str, dict[str, Any]], template: Template
) -> None:
    ((layer, properties),) = template.of_type("AWS::Lambda::LayerVersion").items()
    assert properties["CompatibleArchitectures"] == [{"Ref": "Architecture"}]
    for function in functions.values():
        assert function["Architectures"] == [{"Ref": "Architecture"}]
        assert function["Layers"] == [{"Ref": layer}]


def test_the_layer_is_built_for_the_architecture_of_the_functions(root: Path) -> None:
    source = _as_written(root)["Resources"]["RoutingLayer"]
    assert source["Metadata"] == {"BuildMethod": "python3.13", "BuildArchitecture": {"Ref": "Architecture"}}


def test_every_setting_is_in_the_environment_of_every_function(functions: dict[str, dict[str, Any]]) -> None:
    wanted = {name.upper() for name in Settings.model_fields}
    for function in functions.values():
        assert wanted <= set(function["Environment"]["Variables"])


def test_the_defaults_are_settings_that_the_application_accepts(template: Template) -> None:
    settings = Settings.from_env(template.variables("MessageFunction"))
    assert settings.stage == "dev"
    assert settings.tracing == "off"


def test_nothing_but_aws_is_called_unless_an_endpoint_is_given(functions: dict[str, dict[str, Any]]) -> None:
    variables = functions["MessageFunction"]["Environment"]["Variables"]
    assert chosen_by(variables["AWS_ENDPOINT_URL"], ()) == {"Ref": "AWS::NoValue"}


def test_routes_lead_to_aliases(template: Template) -> None:
    routes = {it["RouteKey"]: it for it in template.of_type("AWS::ApiGatewayV2::Route").values()}
    assert set(routes) == {"$connect", "$default", "$disconnect"}
    integrations = template.of_type("AWS::ApiGatewayV2::Integration")
    reached = {
        key: chosen_by(
            integrations[route["Target"]["Fn::Join"][1][1]["Ref"]]["IntegrationUri"]["Fn::Sub"][1]["FunctionArn"], ()
        )["Ref"]
        for key, route in routes.items()
    }
    assert reached == {
        "$connect": "ConnectFunctionAliaslive",
        "$default": "MessageFunctionAliaslive",
        "$disconnect": "DisconnectFunctionAliaslive",
    }
    assert set(reached.values()) <= set(template.of_type("AWS::Lambda::Alias"))


def test_a_connection_needs_the_authorizer_which_sees_every_handshake(template: Template) -> None:
    ((name, authorizer),) = template.of_type("AWS::ApiGatewayV2::Authorizer").items()
    connect = next(it for it in template.of_type("AWS::ApiGatewayV2::Route").values() if it["RouteKey"] == "$connect")
    assert connect["AuthorizationType"] == "CUSTOM"
    assert connect["AuthorizerId"] == {"Ref": name}
    assert authorizer["AuthorizerUri"]["Fn::Sub"][1]["AuthArn"] == {"Ref": "AuthorizerFunctionAliaslive"}
    # the token may come in either place, and with a source listed the gateway would refuse the other by itself
    assert authorizer["IdentitySource"] == []


def test_access_logs_hold_no_token(template: Template) -> None:
    ((stage, properties),) = template.of_type("AWS::ApiGatewayV2::Stage").items()
    assert properties["StageName"] == "live", stage
    line = properties["AccessLogSettings"]["Format"]
    assert all(isinstance(value, str) and value.startswith("$context.") for value in json.loads(line).values())
    assert not re.search(r"querystring|\brequest\.|header|path|protocol\b", line)
    assert properties["DefaultRouteSettings"].get("DataTraceEnabled") is not True


def test_the_gateway_is_throttled(template: Template) -> None:
    ((_, stage),) = template.of_type("AWS::ApiGatewayV2::Stage").items()
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == {"Ref": "ThrottleRate"}
    assert stage["DefaultRouteSettings"]["ThrottlingBurstLimit"] == {"Ref": "ThrottleBurst"}


def test_tables_are_encrypted_expire_their_items_and_outlive_their_stack(template: Template) -> None:
    tables = template.of_type("AWS::DynamoDB::Table")
    assert set(tables) == {
        "ConnectionsTable",
        "TurnsTable",
        "SituationTable",
        "IdempotencyTable",
        "ProductsTable",
        "AnswersTable",
    }
    for name, table in tables.items():
        assert chosen_by(table["SSESpecification"], ()) == {"SSEEnabled": True}
        assert table["BillingMode"] == "PAY_PER_REQUEST"
        if name in NEVER_EXPIRE:
            assert "TimeToLiveSpecification" not in table
        else:
            ttl = "expiration" if name == "IdempotencyTable" else "expires_at"
            assert table["TimeToLiveSpecification"] == {"AttributeName": ttl, "Enabled": True}
        if name in CACHES:
            continue
        for switch in (
            table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"],
            table["DeletionProtectionEnabled"],
        ):
            assert (chosen_by(switch, ("IsProd",)), chosen_by(switch, ())) == (True, False)
        assert template.resources[name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert template.resources[name]["UpdateReplacePolicy"] == "Retain"


def test_a_cache_of_answers_leaves_nothing_behind(template: Template) -> None:
    for name in CACHES:
        resource = template.resources[name]
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Delete", "Delete")
        assert not {"PointInTimeRecoverySpecification", "DeletionProtectionEnabled"} & set(resource["Properties"])


def test_uploads_travel_by_tls_alone_are_seen_by_nobody_else_and_go_after_90_days(template: Template) -> None:
    ((name, bucket),) = template.of_type("AWS::S3::Bucket").items()
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    (encryption,) = chosen_by(bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"], ())
    assert encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    assert (rule["Status"], rule["ExpirationInDays"], "Prefix" in rule) == ("Enabled", 90, False)
    assert template.resources[name]["DeletionPolicy"] == "RetainExceptOnCreate"
    ((_, policy),) = template.of_type("AWS::S3::BucketPolicy").items()
    assert policy["Bucket"] == {"Ref": name}
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert {template.filled(it) for it in statement["Resource"]} == {f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"}


def test_an_upload_starts_its_ingestion_and_is_never_lost_without_a_word(template: Template) -> None:
    ((name, bucket),) = template.of_type("AWS::S3::Bucket").items()
    assert bucket["NotificationConfiguration"] == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
    ((rule_name, rule),) = template.of_type("AWS::Events::Rule").items()
    assert rule["EventPattern"]["detail"]["bucket"] == {"name": [{"Ref": name}]}
    (target,) = rule["Targets"]
    queue = {"Fn::GetAtt": ["IngestDeadLetters", "Arn"]}
    assert target["Arn"] == {"Ref": "IngestFunctionAliaslive"}
    assert target["DeadLetterConfig"] == {"Arn": queue}
    ((_, policy),) = template.of_type("AWS::SQS::QueuePolicy").items()
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Resource"], statement["Principal"]) == (queue, {"Service": "events.amazonaws.com"})
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [rule_name, "Arn"]}}}
    failures = template.of_type("AWS::Lambda::EventInvokeConfig")["IngestFunctionEventInvokeConfig"]
    assert (failures["FunctionName"], failures["Qualifier"]) == ({"Ref": "IngestFunction"}, "live")
    assert (failures["MaximumRetryAttempts"], failures["MaximumEventAgeInSeconds"]) == (2, 6 * 3600)
    assert failures["DestinationConfig"] == {"OnFailure": {"Destination": queue}}


def test_every_queue_of_dead_letters_is_kept_two_weeks_and_encrypted(template: Template) -> None:
    queues = template.of_type("AWS::SQS::Queue")
    for queue in queues.values():
        encrypted = chosen_by(queue["SqsManagedSseEnabled"], ())
        assert (queue["MessageRetentionPeriod"], encrypted) == (14 * 86400, True)


def test_the_idempotency_table_is_as_powertools_lays_it_out(template: Template) -> None:
    table = template.of_type("AWS::DynamoDB::Table")["IdempotencyTable"]
    assert table["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]


@pytest.mark.parametrize(
    ("chosen", "snapshot", "is_warm"),
    [("none", None, False), ("snapstart", {"ApplyOn": "PublishedVersions"}, False), ("provisioned", None, True)],
)
def test_snapstart_and_provisioned_concurrency_exclude_each_other(
    template: Template, chosen: str, snapshot: Any, is_warm: bool
) -> None:
    deployment = Deployment(template, {"ColdStart": chosen})
    assert deployment.resources["MessageFunction"].get("SnapStart") == snapshot
    assert ("MessageConcurrency" in deployment.resources) == is_warm


@pytest.mark.parametrize(
    ("parameter", "least", "most"),
    [
        ("MessageMemory", 1024, 3008),
        ("ProvisionedConcurrency", 10, 1000),
        ("PeakProvisionedConcurrency", 10, 1000),
    ],
)
def test_bounds_of_parameters(template: Template, parameter: str, least: int, most: int) -> None:
    bounds = template.parameters[parameter]
    assert (bounds["MinValue"], bounds["MaxValue"]) == (least, most)
    assert least <= bounds["Default"] <= most


def test_every_parameter_and_output_is_explained(template: Template) -> None:
    for described in (*template.parameters.values(), *template.document["Outputs"].values()):
        assert described["Description"]


def test_every_parameter_is_bounded(template: Template) -> None:
    bounds = {"AllowedValues", "AllowedPattern", "MinLength", "MinValue"}
    assert [name for name, it in template.parameters.items() if not bounds & set(it)] == []


def test_nothing_is_logged_below_info(functions: dict[str, dict[str, Any]]) -> None:
    for function in functions.values():
        assert function["LoggingConfig"]["ApplicationLogLevel"] == "INFO"
        assert function["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] == "INFO"


def test_a_new_hash_publishes_a_version_of_every_function(root: Path) -> None:
    source = _as_written(root)["Resources"]
    for resource in source.values():
        if resource["Type"] == "AWS::Serverless::Function":
            assert resource["Properties"]["AutoPublishCodeSha256"] == {"Ref": "CodeSha"}


def test_every_environment_of_samconfig_deploys_with_parameters_that_the_template_accepts(
    root: Path, template: Template
) -> None:
    environments = tomllib.loads((root / "samconfig.toml").read_text("utf-8"))
    assert {"default", "dev", "staging", "prod"} < set(environments)
    assert environments["default"]["deploy"] == environments["dev"]["deploy"]
    for name in ("dev", "staging", "prod"):
        pairs = environments[name]["deploy"]["parameters"]["parameter_overrides"]
        chosen = dict(pair.split("=", 1) for pair in pairs)
        assert chosen["Stage"] == name
        for parameter, value in chosen.items():
            _accepts(template.parameters[parameter], value.strip('"'))


def test_prod_keeps_search_awake_once_it_is_on_and_nothing_that_costs_while_idle_is_on_by_itself(
    root: Path, template: Template
) -> None:
    switches = {"EnableSearch", "EnableCache", "EnableSageMaker"}
    for parameter in switches:
        assert template.parameters[parameter]["Default"] == "false"
    assert template.parameters["SearchMinimumOcu"]["Default"] == 0
    environments = tomllib.loads((root / "samconfig.toml").read_text("utf-8"))
    for name in ("default", "dev", "staging", "prod"):
        pairs = environments[name]["deploy"]["parameters"]["parameter_overrides"]
        chosen = dict(pair.split("=", 1) for pair in pairs)
        assert not switches & set(chosen)
        assert (int(chosen.get("SearchMinimumOcu", 0)) > 0) == (name == "prod")


def test_redis_without_a_cache_is_refused_before_anything_is_made(template: Template) -> None:
    rule = template.document["Rules"]["RedisNeedsTheCache"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "AnswerCache"}, "redis"]}
    (assertion,) = rule["Assertions"]
    assert assertion["Assert"] == {"Fn::Equals": [{"Ref": "EnableCache"}, "true"]}


def test_a_cache_that_nobody_would_use_is_not_paid_for(template: Template) -> None:
    rule = template.document["Rules"]["ACacheIsForUse"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "EnableCache"}, "true"]}
    (assertion,) = rule["Assertions"]
    assert assertion["Assert"] == {"Fn::Equals": [{"Ref": "AnswerCache"}, "redis"]}


def _accepts(parameter: dict[str, Any], value: str) -> None:
    if "AllowedValues" in parameter:
        assert value in map(str, parameter["AllowedValues"])
    if "AllowedPattern" in parameter:
        assert re.fullmatch(parameter["AllowedPattern"], value)
    if parameter["Type"] == "Number":
        assert parameter.get("MinValue", 0) <= int(value) <= parameter.get("MaxValue", 10**9)


def _as_written(root: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml_parse((root / "template.yaml").read_text("utf-8"))
    return document
