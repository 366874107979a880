"""Promises of releases: what gets traffic has been rehearsed, takes over step by step, and goes when it fails."""

from __future__ import annotations

import shutil
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from mangaassist import observability
from tests.infrastructure.cloudformation import ROOT, Template, listed
from tests.infrastructure.deployment import NOTHING, Deployment
from tools import artifact
from tools.translated import translate

if TYPE_CHECKING:
    from pathlib import Path

SHIFTED = ("MessageFunction", "AuthorizerFunction")
ALARMS = {
    "MessageFunction": {"MessageVersionErrorsAlarm", "MessageVersionFailedAlarm"},
    "AuthorizerFunction": {"AuthorizerVersionFailedAlarm"},
}


@pytest.fixture(scope="module", params=["canary", "at-once"])
def shifted(request: pytest.FixtureRequest, template: Template) -> Deployment:
    return Deployment(template, {"TrafficShift": request.param})


@cache
def published(sha: str) -> dict[str, str]:
    """The version that each function publishes with a hash of what is deployed, by the function."""
    versions = Template(translate(ROOT / "template.yaml", {"CodeSha": sha})).of_type("AWS::Lambda::Version")
    return {properties["FunctionName"]["Ref"]: name for name, properties in versions.items()}


def test_a_change_of_the_layer_alone_publishes_new_versions_which_take_the_same_way(tmp_path: Path) -> None:
    shutil.copy(ROOT / "template.yaml", tmp_path)
    for folder in artifact.SOURCES:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    before = published(artifact.code_sha(tmp_path, {}))
    router = tmp_path / "layers/routing/mangaassist/routing/router.py"
    router.write_text(router.read_text("utf-8") + "\n# changed\n", "utf-8")
    after = published(artifact.code_sha(tmp_path, {}))
    assert before.keys() == after.keys() >= set(SHIFTED)
    assert not before.items() & after.items()


def test_the_same_sources_publish_nothing_new() -> None:
    sha = artifact.code_sha(ROOT, {})
    assert published(sha) == published(artifact.code_sha(ROOT, {}))


@pytest.mark.parametrize("function", SHIFTED)
def test_an_alias_moves_by_codedeploy_after_the_hook(template: Template, function: str) -> None:
    policy = template.resources[f"{function}Aliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
    assert policy == {
        "ApplicationName": {"Ref": "ServerlessDeploymentApplication"},
        "DeploymentGroupName": {"Ref": f"{function}DeploymentGroup"},
        "BeforeAllowTrafficHook": {"Ref": "PretrafficFunction"},
    }


def test_all_other_aliases_move_at_once(template: Template) -> None:
    moved = {name for name in template.of_type("AWS::Lambda::Alias") if "UpdatePolicy" in template.resources[name]}
    assert moved == {f"{function}Aliaslive" for function in SHIFTED}


@pytest.mark.parametrize("function", SHIFTED)
def test_a_tenth_of_the_traffic_comes_first_unless_it_is_asked_for_at_once(shifted: Deployment, function: str) -> None:
    group = shifted.resources[f"{function}DeploymentGroup"]
    alarms = {alarm["Name"].strip("<>") for alarm in group["AlarmConfiguration"].get("Alarms", [])}
    if shifted.parameter("TrafficShift") == "canary":
        assert group["DeploymentConfigName"] == "CodeDeployDefault.LambdaCanary10Percent5Minutes"
        assert group["AlarmConfiguration"]["Enabled"] is True
        assert alarms == ALARMS[function]
    else:
        assert group["DeploymentConfigName"] == "CodeDeployDefault.LambdaAllAtOnce"
        assert alarms == set()
    assert group["AutoRollbackConfiguration"] == {
        "Enabled": True,
        "Events": ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"],
    }


@pytest.mark.parametrize("function", SHIFTED)
def test_alarms_that_end_a_canary_look_at_the_newest_version_alone(template: Template, function: str) -> None:
    (version,) = (
        name for name, it in template.of_type("AWS::Lambda::Version").items() if it["FunctionName"]["Ref"] == function
    )
    newest = {"Fn::GetAtt": [version, "Version"]}
    for name in ALARMS[function]:
        alarm = template.of_type("AWS::CloudWatch::Alarm")[name]
        dimensions = {it["Name"]: it["Value"] for it in alarm["Dimensions"]}
        if alarm["Namespace"] == "AWS/Lambda":
            resource = {"Fn::Sub": f"${{{function}}}:live"}
            assert alarm["MetricName"] == "Errors"
            assert dimensions == {"FunctionName": {"Ref": function}, "Resource": resource, "ExecutedVersion": newest}
        else:
            assert (alarm["Namespace"], alarm["MetricName"]) == (observability.NAMESPACE, "VersionFailed")
            service = {"Ref": "AWS::StackName"}
            assert dimensions == {"function": {"Ref": function}, "service": service, "version": newest}


def test_the_hook_may_ask_the_new_versions_alone_and_report(template: Template) -> None:
    variables = template.of_type("AWS::Lambda::Function")["PretrafficFunction"]["Environment"]["Variables"]
    statements = template.statements("PretrafficFunctionRole")
    (asking,) = (it for it in statements if it["Action"] == "lambda:InvokeFunction")
    assert asking["Resource"] == [variables["MESSAGE_VERSION"], variables["AUTHORIZER_VERSION"]]
    for named, function in zip(asking["Resource"], SHIFTED, strict=True):
        assert template.of_type("AWS::Lambda::Version")[named["Ref"]]["FunctionName"] == {"Ref": function}
    (reporting,) = (it for it in statements if it is not asking)
    assert template.filled(reporting["Resource"]) == (
        "arn:aws:codedeploy:ap-northeast-1:123456789012:deploymentgroup:ServerlessDeploymentApplication/*"
    )


def test_codedeploy_may_move_these_two_aliases_and_nothing_else(template: Template) -> None:
    role = template.of_type("AWS::IAM::Role")["ReleaseRole"]
    assert "ManagedPolicyArns" not in role
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "codedeploy.amazonaws.com"}
    deployment = Deployment(template)
    may = {
        action: {str(it) for it in listed(deployment.value(statement["Resource"])) if it is not NOTHING}
        for statement in template.statements("ReleaseRole")
        for action in listed(statement["Action"])
    }
    aliases = {f"<{function}.Arn>{alias}" for function in SHIFTED for alias in ("", ":live")}
    assert may == {
        "lambda:GetAlias": aliases,
        "lambda:UpdateAlias": aliases,
        "lambda:GetProvisionedConcurrencyConfig": aliases,
        "lambda:InvokeFunction": {"<PretrafficFunction.Arn>"},
        "cloudwatch:DescribeAlarms": {"*"},
    }


def test_what_a_release_waits_for_does_not_wait_for_it(template: Template) -> None:
    """CloudFormation refuses circles, which no linter sees through an UpdatePolicy."""
    waits: dict[str, set[str]] = {name: _named(it) & set(template.resources) for name, it in template.resources.items()}
    done: set[str] = set()
    while ready := {name for name, others in waits.items() if name not in done and others <= done}:
        done |= ready
    assert done == set(waits)


def _named(value: Any) -> set[str]:
    """The resources that something names."""
    match value:
        case {"Ref": str(name)}:
            return {name}
        case {"Fn::GetAtt": [str(name), _]}:
            return {name}
        case {"Fn::Sub": [str(text), dict(parts)]}:
            return _named({"Fn::Sub": text}) | _named(parts)
        case {"Fn::Sub": str(text)}:
            return {part.split("}")[0].split(".")[0] for part in text.split("${")[1:]}
        case dict():
            return set().union(*(_named(it) for it in value.values()), _depended(value))
        case list():
            return set().union(*map(_named, value))
    return set()


def _depended(resource: dict[str, Any]) -> set[str]:
    return set(listed(resource["DependsOn"])) if "DependsOn" in resource else set()
