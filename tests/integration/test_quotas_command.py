"""`make quotas`: what an account has against what a day needs, at the twin and at an account that answers by script."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber
from click.testing import CliRunner

from tests.e2e.running import ROOT, running
from tools.quotas import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

    from tests.e2e.running import Running

OF_MODELS = "Cross-region model inference {} per minute for Anthropic Claude {}"


def said(*arguments: str, place: Any = None) -> Result:
    result = CliRunner(mix_stderr=False).invoke(main, arguments, obj=place)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


class Account:
    """An account of one region whose quotas are told by service."""

    name = "the account"

    def __init__(self, quotas: dict[str, list[tuple[str, str, float]]]) -> None:
        self._quotas = quotas

    def client(self, service: str, region: str) -> Any:
        assert service == "service-quotas"
        client = boto3.client("service-quotas", region, aws_access_key_id="none", aws_secret_access_key="none")
        stubber = Stubber(client)
        (name,) = [next(iter(self._quotas))]
        quotas = self._quotas.pop(name)
        told = [{"QuotaCode": code, "QuotaName": quota, "Value": value} for code, quota, value in quotas]
        stubber.add_response("list_service_quotas", {"Quotas": told}, {"ServiceCode": name})
        stubber.activate()
        return client


def account(concurrency: float) -> Account:
    models = [
        ("L-1", OF_MODELS.format(what, model), 10_000_000.0)
        for what in ("requests", "tokens")
        for model in ("Haiku 5.5", "Sonnet 4.6")
    ]
    gateway = [
        ("L-8A5B8E43", "Throttle rate", 10_000.0),
        ("L-9ED1E49A", "WebSocket new connections rate", 500.0),
    ]
    return Account(
        {
            "apigateway": gateway,
            "bedrock": models,
            "lambda": [("L-B99A9384", "Concurrent executions", concurrency)],
        }
    )


def test_an_account_that_has_enough_is_told_so() -> None:
    told = said("--json", place=account(600))
    assert told.exit_code == 0
    found = json.loads(told.stdout)
    assert found["enough"] is True
    assert {it["verdict"] for it in found["quotas"]} == {"enough"}


def test_a_quota_that_is_too_small_fails_with_what_it_has_to_be() -> None:
    told = said("--json", place=account(10))
    assert told.exit_code == 1
    (concurrency,) = (it for it in json.loads(told.stdout)["quotas"] if it["service"] == "lambda")
    assert (concurrency["value"], concurrency["verdict"]) == (10, "raise to 600 or more")


def test_parameters_that_do_not_go_together_fail_too() -> None:
    told = said("--set", "ThrottleRate=5", place=account(600))
    assert told.exit_code == 1
    assert "prod: ThrottleRate 5 is under the busiest minute's 40" in told.stdout


@pytest.fixture(scope="module")
def twin() -> Iterator[Running]:
    with running("--template", str(ROOT / "tests" / "data" / "twin" / "template.yaml")) as twin:
        yield twin


def test_the_twins_account_has_awss_defaults_which_ten_million_messages_are_too_many_for(twin: Running) -> None:
    address = f"http://127.0.0.1:{twin.port}"
    enough = said("--twin", address)
    assert enough.exit_code == 0, enough.stdout
    assert "not listed: look it up by hand" in enough.stdout  # it has no quotas of models on demand
    ten = ("--messages", "10000000", "--set", "ReservedConcurrency=5000", "--json")
    too_many = said("--twin", address, *ten)
    assert too_many.exit_code == 1
    verdicts = {it["name"]: it["verdict"] for it in json.loads(too_many.stdout)["quotas"]}
    assert verdicts["Concurrent executions"] == "raise to 5,100 or more"
