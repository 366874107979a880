"""Promises of stacks/cache.yaml: a cache that the message function alone reaches, and its ways out of the network."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.infrastructure.cloudformation import chosen_by, listed, role_named_by

if TYPE_CHECKING:
    from tests.infrastructure.cloudformation import Template

LONGEST = "n" * 24  # what the parameter Name allows
CACHE_PORTS = (6379, 6380)


def test_no_endpoint_takes_the_websocket_apis_name_from_what_is_posted_to_shoppers(cache: Template) -> None:
    services = {
        cache.filled(it["ServiceName"]).rpartition(".")[2]: it.get("PrivateDnsEnabled", False)
        for it in cache.of_type("AWS::EC2::VPCEndpoint").values()
    }
    assert services == {"dynamodb": False, "bedrock-runtime": True}


@pytest.mark.parametrize("held", [(), ("HasGatewayPerZone",)])
def test_what_is_posted_to_shoppers_finds_its_way_out_of_both_zones(cache: Template, held: tuple[str, ...]) -> None:
    out = {
        route["RouteTableId"]["Ref"]: chosen_by(route, held)
        for route in cache.of_type("AWS::EC2::Route").values()
        if route["DestinationCidrBlock"] == "0.0.0.0/0"
    }
    tables = {
        it["SubnetId"]["Ref"]: it["RouteTableId"]["Ref"]
        for it in cache.of_type("AWS::EC2::SubnetRouteTableAssociation").values()
    }
    gateways = cache.of_type("AWS::EC2::NatGateway")
    for subnet in _refs(cache.document["Outputs"]["Subnets"]["Value"]):
        gateway = out[tables[subnet]]["NatGatewayId"]["Ref"]
        assert cache.resources[gateway].get("Condition") in (None, *held)
        public = gateways[gateway]["SubnetId"]["Ref"]
        assert out[tables[public]]["GatewayId"] == {"Ref": "InternetGateway"}


def test_the_cache_is_reached_by_the_functions_alone(cache: Template) -> None:
    ((_, it),) = cache.of_type("AWS::ElastiCache::ServerlessCache").items()
    assert it["SecurityGroupIds"] == [{"Ref": "CacheGroup"}]
    assert _refs(it["SubnetIds"]) == _refs(cache.document["Outputs"]["Subnets"]["Value"])
    assert not cache.of_type("AWS::EC2::SecurityGroupIngress")
    groups = cache.of_type("AWS::EC2::SecurityGroup")
    (rule,) = groups["CacheGroup"]["SecurityGroupIngress"]
    assert (rule["FromPort"], rule["ToPort"]) == CACHE_PORTS
    assert rule["SourceSecurityGroupId"] == {"Ref": "FunctionsGroup"}
    assert "CidrIp" not in rule
    assert cache.document["Outputs"]["FunctionsGroup"]["Value"] == {"Fn::GetAtt": ["FunctionsGroup", "GroupId"]}


def test_nobody_calls_the_functions_and_the_cache_calls_nobody(cache: Template) -> None:
    groups = cache.of_type("AWS::EC2::SecurityGroup")
    assert "SecurityGroupIngress" not in groups["FunctionsGroup"]
    assert [(it["FromPort"], it["ToPort"]) for it in groups["FunctionsGroup"]["SecurityGroupEgress"]] == [(443, 443)]
    for name in ("CacheGroup", "EndpointsGroup"):
        assert [it["CidrIp"] for it in groups[name]["SecurityGroupEgress"]] == ["127.0.0.1/32"]


def test_only_the_message_function_lives_in_the_network(functions: dict[str, dict[str, Any]]) -> None:
    assert [name for name, function in functions.items() if "VpcConfig" in function] == ["MessageFunction"]
    network = functions["MessageFunction"]["VpcConfig"]
    assert chosen_by(network, ()) == {"Ref": "AWS::NoValue"}
    assert set(chosen_by(network, ("HasCache",))) == {"SubnetIds", "SecurityGroupIds"}


def test_the_caches_user_can_touch_answers_alone_and_has_no_password(cache: Template) -> None:
    user = cache.of_type("AWS::ElastiCache::User")["MessageUser"]
    assert user["AuthenticationMode"] == {"Type": "iam"}
    assert user["UserId"] == user["UserName"]
    words = user["AccessString"].split()
    assert words[:4] == ["on", "~answers:*", "resetchannels", "-@all"]
    assert all(word.startswith("+") and "@" not in word for word in words[4:])


def test_redis_logs_nobody_in_by_default(cache: Template) -> None:
    default = cache.of_type("AWS::ElastiCache::User")["DefaultUser"]
    assert (default["UserName"], default["AccessString"]) == ("default", "off -@all")
    ((_, group),) = cache.of_type("AWS::ElastiCache::UserGroup").items()
    assert chosen_by(group["UserIds"], ("IsRedis",)) == [{"Ref": "MessageUser"}, {"Ref": "DefaultUser"}]


def test_names_fit_into_what_elasticache_allows(cache: Template) -> None:
    names = [it["UserId"] for it in cache.of_type("AWS::ElastiCache::User").values()]
    names += [it["UserGroupId"] for it in cache.of_type("AWS::ElastiCache::UserGroup").values()]
    names += [it["ServerlessCacheName"] for it in cache.of_type("AWS::ElastiCache::ServerlessCache").values()]
    for name in names:
        assert re.fullmatch(r"[a-z][a-z0-9-]{0,39}", cache.filled(name, Name=LONGEST, Engine="valkey"))


def test_the_message_function_alone_may_log_in_to_this_cache_as_its_user(cache: Template) -> None:
    policies = cache.of_type("AWS::IAM::RolePolicy")
    assert {role_named_by(policy) for policy in policies.values()} == {"MessageRole"}
    (statement,) = policies["MessageUsesTheCache"]["PolicyDocument"]["Statement"]
    assert statement["Action"] == "elasticache:Connect"
    assert statement["Resource"] == [{"Fn::GetAtt": ["Cache", "ARN"]}, {"Fn::GetAtt": ["MessageUser", "Arn"]}]


def test_the_functions_code_cannot_use_what_lambda_may_do_to_the_network(cache: Template) -> None:
    statements = cache.of_type("AWS::IAM::RolePolicy")["MessageEntersTheNetwork"]["PolicyDocument"]["Statement"]
    allowed = {action for it in statements if it["Effect"] == "Allow" for action in listed(it["Action"])}
    assert {action.partition(":")[0] for action in allowed} == {"ec2"}
    (denied,) = (it for it in statements if it["Effect"] == "Deny")
    assert (denied["Action"], denied["Resource"]) == ("ec2:*", "*")
    assert denied["Condition"] == {"Null": {"lambda:SourceFunctionArn": "false"}}


def test_endpoints_let_nobody_through_but_the_message_function(cache: Template) -> None:
    for endpoint in cache.of_type("AWS::EC2::VPCEndpoint").values():
        (statement,) = endpoint["PolicyDocument"]["Statement"]
        assert statement["Condition"] == {"ArnEquals": {"aws:PrincipalArn": {"Ref": "MessageRole"}}}


def test_lambda_keeps_its_rights_until_its_interfaces_are_gone(cache: Template) -> None:
    for name in ("PrivateSubnetA", "PrivateSubnetB", "FunctionsGroup"):
        assert cache.resources[name]["DependsOn"] == "MessageEntersTheNetwork"


def test_the_cache_is_named_by_an_address_that_means_tls(cache: Template) -> None:
    assert cache.document["Outputs"]["Endpoint"]["Value"]["Fn::Sub"].startswith("rediss://")


def test_the_caches_bill_has_a_ceiling(cache: Template) -> None:
    ((_, it),) = cache.of_type("AWS::ElastiCache::ServerlessCache").items()
    assert it["CacheUsageLimits"]["DataStorage"]["Maximum"]
    assert it["CacheUsageLimits"]["ECPUPerSecond"]["Maximum"]


def _refs(value: Any) -> set[str]:
    return set(re.findall(r'"Ref": "(\w+)"', json.dumps(value)))
