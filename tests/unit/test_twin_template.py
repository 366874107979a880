"""The template as the twin reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local import template
from local.intrinsics import Intrinsics

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / "tests" / "data" / "workflow" / "template.yaml"


@pytest.fixture(scope="module")
def application() -> template.Application:
    return template.read(ROOT / "template.yaml")


def test_routes_lead_to_functions_behind_their_aliases(application: template.Application) -> None:
    assert application.api.stage == "live"
    assert application.api.selection == "$request.body.action"
    assert application.api.routes == {
        "$connect": "ConnectFunction",
        "$default": "MessageFunction",
        "$disconnect": "DisconnectFunction",
    }
    assert application.api.authorizer == template.Authorizer("AuthorizerFunction", ())


def test_functions_have_their_code_limits_and_environment(application: template.Application) -> None:
    message = application.functions["MessageFunction"]
    assert message.handler == "message.handler"
    assert (message.folder / "message.py").is_file()
    assert message.timeout_s == 29
    assert message.environment["TURNS_TABLE"] == "TurnsTable"
    assert message.environment["POLICY_PRESET"] == "current"
    assert application.layers == (ROOT / "layers" / "routing",)


def test_tables_and_parameters_are_ready_to_be_made(application: template.Application) -> None:
    tables = {table.name: table for table in application.tables}
    assert set(tables) == {
        "ConnectionsTable",
        "TurnsTable",
        "SituationTable",
        "IdempotencyTable",
        "ProductsTable",
        "AnswersTable",
    }
    assert tables["IdempotencyTable"].ttl_attribute == "expiration"
    assert tables["ProductsTable"].ttl_attribute is None
    assert set(tables["TurnsTable"].create) >= {"TableName", "KeySchema", "AttributeDefinitions"}
    (parameter,) = application.parameters
    assert (parameter.name, parameter.type) == ("AllowedOriginsParameter", "StringList")


def test_a_workflow_is_read_with_its_schedules_topics_and_queues() -> None:
    application = template.read(WORKFLOW)
    (machine,) = application.machines
    definition = json.loads(machine.definition)
    assert (machine.name, machine.type) == ("Machine", "STANDARD")
    assert definition["States"]["Direct"]["Resource"].endswith(":function:Work:live")
    assert definition["States"]["Tell"]["Parameters"]["TopicArn"].endswith(":Topic")
    evening = next(one for one in application.schedules if one.name == "MachineEvening")
    assert evening.target.endswith(":stateMachine:Machine")
    assert (evening.timezone, evening.enabled) == ("Asia/Tokyo", True)
    assert (application.topics, application.queues) == (("Topic",), ("Missed",))
    assert application.buckets == ("shelf",)  # S3 wants lower case


def test_a_workflow_without_its_definition_says_so(tmp_path: Path) -> None:
    path = tmp_path / "template.yaml"
    path.write_text(WORKFLOW.read_text())
    with pytest.raises(template.TemplateUnusable, match=r"machine\.asl\.json cannot be read"):
        template.read(path)


def test_parameters_of_the_template_can_be_chosen() -> None:
    chosen = template.read(ROOT / "template.yaml", {"PolicyPreset": "claude-3"})
    assert chosen.functions["MessageFunction"].environment["POLICY_PRESET"] == "claude-3"


def test_an_unusable_template_says_why(tmp_path: Path) -> None:
    path = tmp_path / "template.yaml"
    with pytest.raises(template.TemplateUnusable, match="cannot be read"):
        template.read(path)
    head = "Transform: AWS::Serverless-2016-10-31\nResources:\n"
    path.write_text(head + "  Broken: {Type: 'AWS::Serverless::Function', Properties: {}}\n")
    with pytest.raises(template.TemplateUnusable, match="cannot be translated"):
        template.read(path)
    path.write_text(head + "  Table: {Type: 'AWS::Serverless::SimpleTable'}\n")
    with pytest.raises(template.TemplateUnusable, match="exactly one WebSocket API"):
        template.read(path)


INTRINSICS = Intrinsics(
    {
        "Parameters": {"Stage": {"Default": "dev"}, "Empty": {}},
        "Conditions": {
            "IsProd": {"Fn::Equals": [{"Ref": "Stage"}, "prod"]},
            "IsOpen": {
                "Fn::And": [{"Fn::Not": [{"Condition": "IsProd"}]}, {"Fn::Or": [{"Condition": "IsProd"}, True]}]
            },
        },
        "Mappings": {"Sizes": {"dev": {"memory": 512}}},
        "Resources": {
            "Fn": {"Type": "AWS::Lambda::Function"},
            "Alias": {"Type": "AWS::Lambda::Alias", "Properties": {"FunctionName": {"Ref": "Fn"}, "Name": "live"}},
            "Version": {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "Fn"}}},
            "Topic": {"Type": "AWS::SNS::Topic"},
            "Queue": {"Type": "AWS::SQS::Queue"},
            "Named": {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/a/b"}},
            "Shelf": {"Type": "AWS::S3::Bucket"},
            "Store": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": {"Fn::Sub": "store-${Stage}"}}},
        },
    },
    {"Empty": "given"},
)
FUNCTION = "arn:aws:lambda:ap-northeast-1:123456789012:function:Fn"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ({"Ref": "Stage"}, "dev"),
        ({"Ref": "Empty"}, "given"),
        ({"Ref": "AWS::Region"}, "ap-northeast-1"),
        ({"Ref": "Fn"}, "Fn"),
        ({"Ref": "Alias"}, FUNCTION + ":live"),
        ({"Ref": "Version"}, FUNCTION + ":1"),
        ({"Ref": "Topic"}, "arn:aws:sns:ap-northeast-1:123456789012:Topic"),
        ({"Ref": "Queue"}, "https://sqs.ap-northeast-1.amazonaws.com/123456789012/Queue"),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, "arn:aws:sqs:ap-northeast-1:123456789012:Queue"),
        ({"Ref": "Named"}, "/a/b"),
        ({"Fn::GetAtt": ["Fn", "Arn"]}, FUNCTION),
        ({"Fn::GetAtt": ["Shelf", "Arn"]}, "arn:aws:s3:::shelf"),
        ({"Ref": "Store"}, "store-dev"),
        ({"Fn::GetAtt": "Fn.Other"}, "Fn.Other"),
        ({"Fn::Sub": "${Stage}-${Fn.Arn}-${!Kept}"}, f"dev-{FUNCTION}-${{Kept}}"),
        ({"Fn::Sub": ["${x}/${Stage}", {"x": {"Ref": "Empty"}}]}, "given/dev"),
        ({"Fn::If": ["IsProd", 1, 2]}, 2),
        ({"a": {"Ref": "AWS::NoValue"}, "b": [{"Ref": "AWS::NoValue"}, 1]}, {"b": [1]}),
        ({"Fn::Join": ["-", ["a", {"Ref": "Stage"}]]}, "a-dev"),
        ({"Fn::Select": [1, {"Fn::Split": [",", "a,b"]}]}, "b"),
        ({"Fn::FindInMap": ["Sizes", {"Ref": "Stage"}, "memory"]}, 512),
    ],
)
def test_intrinsics_are_resolved(expression: object, value: object) -> None:
    assert INTRINSICS.resolve(expression) == value
    assert INTRINSICS.condition("IsOpen")
