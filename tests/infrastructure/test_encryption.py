"""Encryption at rest: with a key of the account's own for all that is stored, with AWS's keys without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.infrastructure.cloudformation import listed
from tests.infrastructure.deployment import Deployment

if TYPE_CHECKING:
    from tests.infrastructure.cloudformation import Template

KEY = "arn:aws:kms:ap-northeast-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
USERS_OF_TABLES = {
    "Connect",
    "Message",
    "Disconnect",
    "Capacity",
    "Ingest",
    "Advisor",
    "Reconcile",
    "Lifecycle",
}
STORES = {
    "AWS::DynamoDB::Table",
    "AWS::S3::Bucket",
    "AWS::SQS::Queue",
    "AWS::SNS::Topic",
    "AWS::Logs::LogGroup",
}


@pytest.fixture
def keyed(template: Template) -> Deployment:
    return Deployment(template, {"KmsKeyArn": KEY})


@pytest.fixture
def plain(template: Template) -> Deployment:
    return Deployment(template)


def keys_of(kind: str, it: dict[str, Any]) -> list[Any]:
    """The key that each kind of store names in its own way."""
    match kind:
        case "AWS::DynamoDB::Table":
            return [it["SSESpecification"].get("KMSMasterKeyId")]
        case "AWS::S3::Bucket":
            rules = it["BucketEncryption"]["ServerSideEncryptionConfiguration"]
            return [rule["ServerSideEncryptionByDefault"].get("KMSMasterKeyID") for rule in rules]
        case "AWS::Logs::LogGroup":
            return [it.get("KmsKeyId")]
    return [it.get("KmsMasterKeyId")]


@pytest.mark.parametrize("kind", sorted(STORES))
def test_every_store_uses_the_key_that_is_given_and_none_without(
    keyed: Deployment, plain: Deployment, kind: str
) -> None:
    assert keyed.of_type(kind)
    for name, it in keyed.of_type(kind).items():
        assert keys_of(kind, it) == [KEY], name
    for name, it in plain.of_type(kind).items():
        assert keys_of(kind, it) == [None], name


def test_without_a_key_everything_but_the_topic_is_encrypted_by_aws(plain: Deployment) -> None:
    assert {it["SSESpecification"]["SSEEnabled"] for it in plain.of_type("AWS::DynamoDB::Table").values()} == {True}
    assert {it["SqsManagedSseEnabled"] for it in plain.of_type("AWS::SQS::Queue").values()} == {True}
    assert plain.of_type("AWS::IAM::Policy") == {}


def test_a_queue_is_encrypted_one_way_or_the_other(keyed: Deployment) -> None:
    assert not [name for name, it in keyed.of_type("AWS::SQS::Queue").items() if "SqsManagedSseEnabled" in it]


def test_the_key_can_be_used_only_through_the_service_that_holds_the_data(keyed: Deployment) -> None:
    for name, policy in keyed.of_type("AWS::IAM::Policy").items():
        for statement in policy["PolicyDocument"]["Statement"]:
            assert (statement["Effect"], statement["Resource"]) == ("Allow", KEY), name
            assert {action.partition(":")[0] for action in statement["Action"]} == {"kms"}
            assert not [action for action in statement["Action"] if "*" in action or "Grant" in action]
            assert [*statement["Condition"]] == ["StringEquals"]
            assert [*statement["Condition"]["StringEquals"]] == ["kms:ViaService"]


def users(deployment: Deployment, service: str) -> set[str]:
    """The roles that may use the key through a service."""
    via = f"{service}.ap-northeast-1.amazonaws.com"
    return {
        role.strip("<>")
        for policy in deployment.of_type("AWS::IAM::Policy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if via in statement["Condition"]["StringEquals"]["kms:ViaService"]
        for role in policy["Roles"]
    }


def test_the_key_is_for_the_roles_that_use_what_it_encrypts(keyed: Deployment) -> None:
    roles = keyed.of_type("AWS::IAM::Role")

    def acting(prefix: str) -> set[str]:
        return {
            name
            for name, role in roles.items()
            if any(
                action.startswith(prefix)
                for policy in role.get("Policies", [])
                for statement in policy["PolicyDocument"]["Statement"]
                for action in listed(statement["Action"])
            )
        }

    assert users(keyed, "dynamodb") == acting("dynamodb:") == {f"{name}FunctionRole" for name in USERS_OF_TABLES}
    assert users(keyed, "s3") == acting("s3:")
    assert users(keyed, "sqs") == acting("sqs:")
    assert users(keyed, "sns") == acting("sns:")


def test_a_topic_of_the_accounts_own_brings_its_own_key(template: Template) -> None:
    topic = "arn:aws:sns:ap-northeast-1:123456789012:alarms"
    keyed = Deployment(template, {"KmsKeyArn": KEY, "AlarmTopicArn": topic})
    assert users(keyed, "sns") == set()


def test_the_endpoints_volumes_have_a_key_of_their_own(template: Template) -> None:
    keyed = Deployment(template, {"KmsKeyArn": KEY, "EnableSageMaker": "true"})
    assert keyed.of_type("AWS::CloudFormation::Stack")["SageMakerStack"]["Parameters"]["KmsKey"] == ""
