"""Least privilege: what each role may do is what its function's code does, on what it does it to."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from mangaassist.routing import policy
from tests.infrastructure import accesses, code
from tests.infrastructure.cloudformation import PSEUDO_PARAMETERS, chosen_by, listed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.infrastructure.cloudformation import Template

ROLES = {
    f"{name}Function": f"{name}FunctionRole"
    for name in (
        "Authorizer",
        "Connect",
        "Message",
        "Disconnect",
        "Capacity",
        "Ingest",
        "Advisor",
        "Reconcile",
        "Lifecycle",
        "Pretraffic",
    )
}
SCHEDULED = {  # what starts a function, which, and where it tells that it could not
    "ReconcileFunctionDailyRole": ("ReconcileFunctionAliaslive", "CapacityDeadLetters"),
    "LifecycleFunctionDailyRole": ("LifecycleFunctionAliaslive", "LifecycleDeadLetters"),
}
ALL_CHOICES = ("HasExtraModels", "HasGuardrail", "RoutesToClaude3", "HasSearch")
REGION, ACCOUNT = PSEUDO_PARAMETERS["AWS::Region"], PSEUDO_PARAMETERS["AWS::AccountId"]
JAPAN = ("ap-northeast-1", "ap-northeast-3")  # where a jp. profile may route to
LISTS = {"bedrock:ListProvisionedModelThroughputs", "bedrock:ListFoundationModels", "servicequotas:ListServiceQuotas"}
METRICS = {"cloudwatch:GetMetricData"}
BESIDES_TABLES = {
    "ConnectFunction": {"execute-api:ManageConnections"},
    "MessageFunction": {
        "bedrock:InvokeModelWithResponseStream",
        "bedrock:InvokeModel",
        "bedrock:ApplyGuardrail",
        "execute-api:ManageConnections",
    },
    "LifecycleFunction": {"bedrock:InvokeModelWithResponseStream", "bedrock:ListFoundationModels"},
    "ReconcileFunction": METRICS,
    "PretrafficFunction": {"lambda:InvokeFunction", "codedeploy:PutLifecycleEventHookExecutionStatus"},
    "IngestFunction": {"bedrock:InvokeModel", "s3:GetObject", "s3:ListBucket", "s3:PutObject", "sqs:SendMessage"},
}
ORIGINS = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/AllowedOriginsParameter"


@pytest.fixture(scope="module")
def operations() -> dict[str, str]:
    """The IAM action of each method of the tables' client, such as put_item: dynamodb:PutItem."""
    session = boto3.Session(region_name=REGION, aws_access_key_id="none", aws_secret_access_key="none")
    methods = session.client("dynamodb").meta.method_to_api_mapping
    return {method: f"dynamodb:{operation}" for method, operation in methods.items()}


def granted(template: Template, function: str, *held: str) -> dict[str, set[str]]:
    """The actions that a function's role may do, and to what."""
    actions: dict[str, set[str]] = {}
    for statement in template.statements(ROLES[function], *held):
        assert statement["Effect"] == "Allow"
        assert not {"NotAction", "NotResource"} & set(statement)
        for action in listed(statement["Action"]):
            actions.setdefault(action, set()).update(map(template.filled, _resources(statement)))
    return actions


def test_roles_hold_nothing_but_their_policies_and_the_right_to_log(template: Template) -> None:
    roles = template.of_type("AWS::IAM::Role")
    for role in ROLES.values():
        managed = chosen_by(roles[role]["ManagedPolicyArns"], ())
        assert [template.filled(it) for it in managed if it != {"Ref": "AWS::NoValue"}] == [
            "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
        ]
    others = {name for name in roles if name.startswith("ProvisionedThroughput") or name in SCHEDULED}
    assert set(roles) - others == {*ROLES.values(), "GatewayWritesLogs", "ReleaseRole"}


@pytest.mark.parametrize("role", SCHEDULED)
def test_who_starts_a_function_on_schedule_can_do_nothing_else(template: Template, role: str) -> None:
    started, letters = SCHEDULED[role]
    for statement in template.statements(role):
        actions = set(listed(statement["Action"]))
        assert actions in ({"lambda:InvokeFunction"}, {"sqs:SendMessage"})
        assert statement["Resource"] in ({"Ref": started}, {"Fn::GetAtt": [letters, "Arn"]})


@pytest.mark.parametrize("function", ROLES)
def test_no_action_and_no_resource_is_a_wildcard(template: Template, function: str) -> None:
    for action, resources in granted(template, function, *ALL_CHOICES).items():
        assert "*" not in action
        for resource in resources - ({"*"} if action in LISTS | METRICS else set()):
            name = resource.split(":")[-1]
            assert not name.startswith("*"), resource
            assert "::*" not in resource, resource


def test_lists_and_metrics_that_know_no_resources_are_all_that_is_granted_on_everything(template: Template) -> None:
    everything = {
        action
        for function in ROLES
        for action, resources in granted(template, function, *ALL_CHOICES).items()
        if "*" in resources
    }
    assert everything == LISTS | METRICS


@pytest.mark.parametrize("function", ROLES)
def test_each_table_may_be_used_exactly_as_the_code_uses_it(
    template: Template, function: str, operations: dict[str, str], root: Path
) -> None:
    may = {
        (action, resource)
        for action, resources in granted(template, function).items()
        if action.startswith(("dynamodb:", "ssm:"))
        for resource in resources
    }
    assert may == done(template, function, operations, root)


def test_the_reading_of_the_code_sees_clients_of_every_name(
    template: Template, operations: dict[str, str], root: Path
) -> None:
    file = root / "layers/routing/mangaassist/money/ledger.py"
    assert "self._unrepeated.update_item" in file.read_text("utf-8")
    calls = accesses.of(handler_of(root, "MessageFunction"), set(operations))
    assert {("update_item", "situation_table"), ("put_item", "turns_table")} <= calls
    assert {("batch_get_item", "products_table"), ("query", "answers_table")} <= calls  # polled


def test_only_those_who_need_to_may_ask_models_and_only_the_message_function_writes_to_shoppers(
    template: Template,
) -> None:
    for function in ROLES:
        actions = set(granted(template, function, *ALL_CHOICES))
        others = {action for action in actions if not action.startswith(("dynamodb:", "ssm:"))}
        if function == "CapacityFunction":
            assert not {action for action in others if action.startswith(("bedrock:Invoke", "execute-api:"))}
        else:
            assert others == BESIDES_TABLES.get(function, set())


@pytest.mark.parametrize("function", ["MessageFunction", "IngestFunction"])
def test_vectors_come_from_the_chosen_embedding_model_in_its_region_alone(template: Template, function: str) -> None:
    (resource,) = (
        resource
        for statement in template.statements(ROLES[function], "HasSearch")
        if statement["Action"] == "bedrock:InvokeModel"
        for resource in listed(statement["Resource"])
    )
    assert "bedrock:InvokeModel" not in granted(template, function), "without search there is nothing to embed"
    chosen = {"EmbeddingModel": "cohere.embed-multilingual-v3", "EmbeddingRegion": "us-east-1"}
    assert template.filled(resource, **chosen) == (
        "arn:aws:bedrock:us-east-1::foundation-model/cohere.embed-multilingual-v3"
    )


def test_ingest_reads_uploads_and_what_it_writes_can_never_be_taken_for_one(template: Template) -> None:
    may = granted(template, "IngestFunction")
    assert may["s3:GetObject"] == {"arn:aws:s3:::UploadsBucket/*"}
    assert may["s3:ListBucket"] == {"arn:aws:s3:::UploadsBucket"}
    (reports,) = may["s3:PutObject"]
    assert reports == "arn:aws:s3:::UploadsBucket/reports/*.json"
    ((_, rule),) = template.of_type("AWS::Events::Rule").items()
    assert [reports for it in rule["EventPattern"]["detail"]["object"]["key"] if reports.endswith(it["suffix"])] == []


def test_ingest_may_leave_what_it_failed_at_in_its_own_queue(template: Template) -> None:
    assert granted(template, "IngestFunction")["sqs:SendMessage"] == {"arn:IngestDeadLetters"}


def test_capacity_is_bought_and_given_back_in_its_region_by_the_capacity_function_alone(template: Template) -> None:
    may = granted(template, "CapacityFunction")
    purchases = f"arn:aws:bedrock:us-east-1:{ACCOUNT}:provisioned-model/*"
    assert may["bedrock:CreateProvisionedModelThroughput"] == {
        "arn:aws:bedrock:us-east-1::foundation-model/*",
        f"arn:aws:bedrock:us-east-1:{ACCOUNT}:custom-model/*",
        purchases,
    }
    assert may["bedrock:DeleteProvisionedModelThroughput"] == {purchases}
    for function in set(ROLES) - {"CapacityFunction"}:
        assert not [it for it in granted(template, function, *ALL_CHOICES) if "ProvisionedModelThroughput" in it]


def test_the_capacity_function_may_do_what_its_adapter_calls(template: Template, root: Path) -> None:
    session = boto3.Session(region_name=REGION, aws_access_key_id="none", aws_secret_access_key="none")
    called = set()
    file = root / "layers/routing/mangaassist/capacity/control_plane.py"
    for client, prefix, holder in (
        (session.client("bedrock"), "bedrock", "_bedrock"),
        (session.client("service-quotas"), "servicequotas", "_quotas"),
    ):
        methods = client.meta.method_to_api_mapping
        for node in ast.walk(code.parsed(file)):
            match node:
                case ast.Attribute(value=ast.Attribute(attr=held), attr=method) if held == holder and method in methods:
                    called.add(f"{prefix}:{methods[method]}")
                case ast.Call(
                    func=ast.Attribute(value=ast.Attribute(attr=held), attr="get_paginator"),
                    args=[ast.Constant(value=str(method))],
                ) if held == holder:
                    called.add(f"{prefix}:{methods[method]}")
    may = {it for it in granted(template, "CapacityFunction") if it.startswith(("bedrock:", "servicequotas:"))}
    assert may == called | {"bedrock:TagResource"}  # tags are given with the purchase


def test_the_workflow_may_start_one_function_and_write_its_log(template: Template) -> None:
    statements = template.statements("ProvisionedThroughputRole")
    (invoking,) = (it for it in statements if it["Action"] == "lambda:InvokeFunction")
    assert invoking["Resource"] == {"Ref": "CapacityFunctionAliaslive"}
    rest = {action for it in statements if it is not invoking for action in listed(it["Action"])}
    assert {action.partition(":")[0] for action in rest} == {"logs"}


@pytest.mark.parametrize(("function", "method"), [("MessageFunction", "POST"), ("ConnectFunction", "GET")])
def test_shoppers_can_be_written_to_or_looked_up_on_this_api_and_stage(
    template: Template, function: str, method: str
) -> None:
    assert granted(template, function)["execute-api:ManageConnections"] == {
        f"arn:aws:execute-api:{REGION}:{ACCOUNT}:ChatApi/live/{method}/@connections/*"
    }


def test_the_authorizer_reads_one_parameter(template: Template) -> None:
    assert granted(template, "AuthorizerFunction") == {"ssm:GetParameter": {ORIGINS}}


def test_connections_are_kept_by_those_who_open_and_close_them(template: Template) -> None:
    for function in ("ConnectFunction", "DisconnectFunction"):
        found = granted(template, function)
        found.pop("execute-api:ManageConnections", None)
        assert set.union(*found.values()) == {"arn:ConnectionsTable"}


@pytest.mark.parametrize(("preset", "held"), [("current", ()), ("claude-3", ("RoutesToClaude3",))])
def test_exactly_the_models_of_the_policy_in_force_can_be_called(
    template: Template, preset: str, held: tuple[str, ...]
) -> None:
    chosen = policy.preset(preset)
    wanted = {
        arn
        for target in chosen.targets.values()
        if target.backend == "bedrock" and not target.published_capacity_only
        for arn in arns_of(chosen.models[target.model].id, target.region)
    }
    for function in ("MessageFunction", "LifecycleFunction"):
        may = granted(template, function, *held)["bedrock:InvokeModelWithResponseStream"]
        assert {arn for arn in may if ":provisioned-model/" not in arn} == wanted


def test_a_probe_is_no_reason_to_call_what_was_bought(template: Template) -> None:
    may = granted(template, "LifecycleFunction", *ALL_CHOICES)["bedrock:InvokeModelWithResponseStream"]
    assert not [arn for arn in may if ":provisioned-model/" in arn]


def test_the_daily_look_is_started_by_its_schedule_alone(template: Template) -> None:
    statements = template.statements("LifecycleFunctionDailyRole")
    assert {action for it in statements for action in listed(it["Action"])} == {
        "lambda:InvokeFunction",
        "sqs:SendMessage",
    }
    assert {str(it["Resource"]) for it in statements} == {
        "{'Ref': 'LifecycleFunctionAliaslive'}",
        "{'Fn::GetAtt': ['LifecycleDeadLetters', 'Arn']}",
    }


def test_provisioned_throughput_is_called_where_the_policies_expect_it(template: Template) -> None:
    regions = {
        target.region
        for name in ("current", "claude-3")
        for target in policy.preset(name).targets.values()
        if target.published_capacity_only
    }
    assert regions == {template.parameters["CapacityRegion"]["Default"]}
    may = granted(template, "MessageFunction")["bedrock:InvokeModelWithResponseStream"]
    (region,) = regions
    assert f"arn:aws:bedrock:{region}:{ACCOUNT}:provisioned-model/*" in may


def test_models_of_a_stored_policy_are_granted_by_their_arns_only(template: Template) -> None:
    statement = next(
        it
        for it in template.statements("MessageFunctionRole", "HasExtraModels")
        if it["Resource"] == {"Fn::Split": [",", {"Ref": "ExtraModelArns"}]}
    )
    assert statement["Action"] == "bedrock:InvokeModelWithResponseStream"
    assert "*" not in template.parameters["ExtraModelArns"]["Default"]


def arns_of(model_id: str, region: str) -> set[str]:
    """What a call of a model is checked against: a profile, and the model in every region that it may route to."""
    geography, _, base = model_id.partition(".")
    match geography:
        case "jp":
            assert region in JAPAN
            models = {f"arn:aws:bedrock:{destination}::foundation-model/{base}" for destination in JAPAN}
        case "global":
            models = {f"arn:aws:bedrock:{place}::foundation-model/{base}" for place in (region, "")}
        case _:
            return {f"arn:aws:bedrock:{region}::foundation-model/{model_id}"}
    return models | {f"arn:aws:bedrock:{region}:{ACCOUNT}:inference-profile/{model_id}"}


def handler_of(root: Path, function: str) -> Path:
    """A function's file."""
    name = function.removesuffix("Function").lower()
    return root / "functions" / name / f"{name}.py"


def done(template: Template, function: str, operations: dict[str, str], root: Path) -> set[tuple[str, str]]:
    """The actions on tables and parameters in the code that a function can reach, and what they are done to."""
    variables = template.of_type("AWS::Lambda::Function")[function]["Environment"]["Variables"]
    handler = handler_of(root, function)
    tables = {
        (operations[method], f"arn:{variables[setting.upper()]['Ref']}")
        for method, setting in accesses.of(handler, set(operations))
    }
    parameters = {
        ("ssm:GetParameter", ORIGINS)
        for file in code.reach(handler)
        for node in ast.walk(code.parsed(file))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "SSMProvider"
    }
    return tables | parameters


def _resources(statement: dict[str, Any]) -> list[Any]:
    split = {"Fn::Split": [",", {"Ref": "ExtraModelArns"}]}
    return [] if statement["Resource"] == split else listed(statement["Resource"])


@pytest.mark.parametrize("function", ["AdvisorFunction", "ReconcileFunction"])
def test_who_reads_the_ledger_reads_nothing_that_was_said(template: Template, function: str) -> None:
    (reading,) = (
        it for it in template.statements(ROLES[function]) if template.filled(it["Resource"]) == "arn:TurnsTable"
    )
    assert reading["Condition"] == {
        "ForAllValues:StringLike": {"dynamodb:LeadingKeys": "LEDGER#*"},
        "Null": {"dynamodb:LeadingKeys": "false"},  # a request without a key would match all of none
    }
