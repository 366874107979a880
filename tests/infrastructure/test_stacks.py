"""Promises of the nested templates, whichever it is: when they exist, what they are told and what they give."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from tests.infrastructure.cloudformation import ROOT, Template, chosen_by, listed, nested

if TYPE_CHECKING:
    from collections.abc import Iterator

STACKS = {
    "KnowledgeStack": ("stacks/knowledge.yaml", "HasSearch"),
    "CacheStack": ("stacks/cache.yaml", "HasCache"),
    "SageMakerStack": ("stacks/sagemaker.yaml", "HasEndpoint"),
}
ENABLED_BY = {"HasSearch": "EnableSearch", "HasCache": "EnableCache", "HasEndpoint": "EnableSageMaker"}
ALWAYS = {"AlarmsStack": "stacks/alarms.yaml", "DashboardStack": "stacks/dashboard.yaml"}
LONGEST = {"KnowledgeStack": "n" * 24, "CacheStack": "n" * 24, "SageMakerStack": "n" * 48}  # what Name allows


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_exists_only_when_it_is_asked_for(template: Template, stack: str) -> None:
    path, condition = STACKS[stack]
    assert template.resources[stack]["Condition"] == condition
    assert template.resources[stack]["Properties"]["TemplateURL"] == path
    assert template.document["Conditions"][condition] == {"Fn::Equals": [{"Ref": ENABLED_BY[condition]}, "true"]}


@pytest.mark.parametrize("stack", [*STACKS, *ALWAYS])
def test_a_stack_is_told_all_that_it_asks_for_and_nothing_else(template: Template, stack: str) -> None:
    told = template.resources[stack]["Properties"]["Parameters"]
    path = ALWAYS[stack] if stack in ALWAYS else STACKS[stack][0]
    assert template.resources[stack]["Properties"]["TemplateURL"] == path
    assert set(told) == set(nested(path).parameters)


@pytest.mark.parametrize("stack", ALWAYS)
def test_what_is_watched_is_watched_in_every_deployment(template: Template, stack: str) -> None:
    assert "Condition" not in template.resources[stack]


@pytest.mark.parametrize("stack", STACKS)
def test_what_is_used_of_a_stack_is_what_it_gives(template: Template, stack: str) -> None:
    used = set(re.findall(rf'"{stack}", "Outputs\.(\w+)"', json.dumps(template.document)))
    outputs: dict[str, Any] = nested(STACKS[stack][0]).document["Outputs"]
    assert used
    assert used <= set(outputs)


@pytest.mark.parametrize("stack", STACKS)
def test_without_its_stack_a_function_is_told_nothing_of_it(template: Template, stack: str) -> None:
    for function in template.of_type("AWS::Lambda::Function").values():
        assert stack not in json.dumps(chosen_by(function, ()))


@pytest.mark.parametrize("stack", STACKS)
def test_no_role_waits_for_a_stack_that_waits_for_it(template: Template, stack: str) -> None:
    assert stack not in json.dumps(template.of_type("AWS::IAM::Role"))


@pytest.mark.parametrize("stack", STACKS)
def test_every_parameter_and_output_of_a_stack_is_explained_and_bounded(stack: str) -> None:
    document = nested(STACKS[stack][0])
    for described in (*document.parameters.values(), *document.document["Outputs"].values()):
        assert described["Description"]
    for parameter in document.parameters.values():
        assert {"AllowedValues", "AllowedPattern", "MinValue"} & set(parameter)


@pytest.mark.parametrize("stack", STACKS)
def test_two_stacks_of_one_account_do_not_take_each_others_names(template: Template, stack: str) -> None:
    text, parts = template.resources[stack]["Properties"]["Parameters"]["Name"]["Fn::Sub"]
    guid = {"Fn::Select": [2, {"Fn::Split": ["/", {"Ref": "AWS::StackId"}]}]}
    assert parts["Part"] == {"Fn::Select": [0, {"Fn::Split": ["-", guid]}]}
    pattern = nested(STACKS[stack][0]).parameters["Name"]["AllowedPattern"]
    assert re.fullmatch(pattern, text.replace("${Part}", "51af3dc0").replace("${Kind}", "ml-p4d-24xlarge"))
    assert re.fullmatch(pattern, LONGEST[stack])
    assert not re.fullmatch(pattern, LONGEST[stack] + "n")


def test_make_validate_lints_every_nested_template(template: Template) -> None:
    assert "cfn-lint -- stacks/*.yaml" in (ROOT / "Makefile").read_text("utf-8")
    linted = {it["TemplateURL"] for it in template.of_type("AWS::CloudFormation::Stack").values()}
    assert linted | {"stacks/setup.yaml"} == {f"stacks/{file.name}" for file in (ROOT / "stacks").iterdir()}


def test_every_environment_may_deploy_nested_stacks() -> None:
    environments = tomllib.loads((ROOT / "samconfig.toml").read_text("utf-8"))
    for name in ("default", "dev", "staging", "prod"):
        assert "CAPABILITY_AUTO_EXPAND" in environments[name]["deploy"]["parameters"]["capabilities"]


def test_only_lists_and_what_narrows_are_about_everything(
    knowledge: Template, cache: Template, sagemaker: Template
) -> None:
    everything = {
        action
        for template in (knowledge, cache, sagemaker)
        for statement in _statements(template)
        if statement["Effect"] == "Allow" and statement["Resource"] == "*" and "Principal" not in statement
        for action in listed(statement["Action"])
    }
    assert everything == {"ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"}


def _statements(template: Template) -> Iterator[dict[str, Any]]:
    for properties in (
        *template.of_type("AWS::IAM::RolePolicy").values(),
        *template.of_type("AWS::EC2::VPCEndpoint").values(),
    ):
        yield from properties["PolicyDocument"]["Statement"]
