"""The twin's controls, and who may use them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from tests.e2e.running import Running, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def twin() -> Iterator[Running]:
    with running() as twin:
        yield twin


@pytest.fixture(autouse=True)
def _nothing_left(twin: Running) -> Iterator[None]:
    yield
    twin.delete("faults")
    twin.delete("clock")


def refusal(answer: httpx.Response) -> str:
    assert answer.status_code == 400
    return str(answer.json()["error"])


def test_health_is_told(twin: Running) -> None:
    assert twin.get("health")["status"] == "ok"


def test_the_clock_moves_the_whole_process_and_goes_on(twin: Running) -> None:
    moved = twin.put("clock", {"now": "2027-01-02T19:00:00+09:00"})
    assert moved["moved"] is True
    assert moved["now"].startswith("2027-01-02T19:00:0")
    later = twin.get("clock")["now"]
    assert timedelta() < datetime.fromisoformat(later) - datetime.fromisoformat("2027-01-02T19:00:00+09:00")
    claims = jwt.decode(twin.token("alice"), options={"verify_signature": False})
    assert datetime.fromtimestamp(claims["iat"], UTC).year == 2027
    twin.put("clock", {"now": "2026-11-23T09:00:00"})  # without an offset it is Japan's
    assert twin.get("clock")["now"].startswith("2026-11-23T09:00:0")
    assert twin.get("state")["spend"]["day"] == "2026-11-23"
    assert twin.delete("clock")["moved"] is False


@pytest.mark.parametrize("document", [{}, {"now": "yesterday"}, {"now": 7}, [], "now"])
def test_a_clock_needs_an_instant(twin: Running, document: Any) -> None:
    assert "ISO 8601" in refusal(httpx.put(f"{twin.page}/twin/clock", json=document))


def test_faults_are_merged_listed_and_cleared(twin: Running) -> None:
    twin.put("faults", {"ondemand-sonnet": {"fault": "hang", "count": 3}})
    both = twin.put("faults", {"dynamodb": {"fault": "slow", "first_token_ms": 5, "probability": 0.5}})
    assert both == {
        "ondemand-sonnet": {"fault": "hang", "count": 3},
        "dynamodb": {"fault": "slow", "first_token_ms": 5, "probability": 0.5},
    }
    assert set(twin.delete("faults/dynamodb")) == {"ondemand-sonnet"}
    assert twin.delete("faults") == {}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"ondemand-opus": {"fault": "hang"}}, "ondemand-opus: not one of"),
        ({"dynamodb": {"fault": "explode"}}, "dynamodb.fault"),
        ({"dynamodb": {"fault": "hang", "count": 0}}, "dynamodb.count"),
        ({"dynamodb": {"fault": "hang", "often": True}}, "dynamodb.often"),
        ({"dynamodb": {"fault": "hang", "after_tokens": 3}}, "after_tokens belongs to"),
        ({"dynamodb": {"fault": "hang", "token_ms": 3}}, "belong to slow"),
        ({"dynamodb": {"fault": "quota"}}, "quota belongs to control-plane"),
        ({"dynamodb": {"fault": "reject_items"}}, "reject_items belongs to search"),
        ({"search": {"fault": "reject_items", "operation": "_search"}}, "reject_items belongs to _bulk"),
        ({"search": {"fault": "not_ready"}}, "not_ready belongs to sagemaker-custom"),
        ({"ondemand-haiku": {"fault": "no_capacity"}}, "no_capacity belongs to sagemaker-custom"),
        ({"ondemand-haiku": {"fault": "error_event", "error": "StreamBroken"}}, "error belongs to sagemaker-custom"),
        ({"sagemaker-custom": {"fault": "error_event", "error": "ModelError"}}, "error is one of StreamBroken"),
        ({"sagemaker-custom": {"fault": "hang", "error": "ModelError"}}, "hang has no error"),
        ({"sagemaker-custom": {"fault": "cut", "operation": "InvokeEndpoint"}}, "operation belongs to"),
        ({"control-plane": {"fault": "quota", "operation": "GetFoundationModel"}}, "quota belongs to Create"),
        ({"ondemand-haiku": {"fault": "cut", "operation": "ConverseStream"}}, "operation belongs to"),
        ([], "should be an object"),
    ],
)
def test_faults_that_mean_nothing_are_refused_with_the_reason(twin: Running, document: Any, reason: str) -> None:
    assert reason in refusal(httpx.put(f"{twin.page}/twin/faults", json=document))
    assert twin.get("faults") == {}


def test_limits_can_be_shortened(twin: Running) -> None:
    assert twin.get("limits") == {"integration_s": 29, "idle_s": 600, "connection_s": 7200}
    assert twin.put("limits", {"idle_s": 1.5})["idle_s"] == 1.5
    assert "idle_s" in refusal(httpx.put(f"{twin.page}/twin/limits", json={"idle_s": -1}))
    assert "is expected" in refusal(httpx.put(f"{twin.page}/twin/limits", json={"patience": 1}))
    twin.put("limits", {"idle_s": 600})


def test_tokens_are_for_named_users(twin: Running) -> None:
    for query in ("", "?user=", "?user=a b", "?user=" + "a" * 65, "?user=a&life_s=soon"):
        refusal(httpx.get(f"{twin.page}/twin/token{query}"))


def test_a_route_is_decided_without_a_model(twin: Running) -> None:
    hard = "ベルセルクとヴィンランド・サガの物語構造と主題を、史実との関係も踏まえて詳しく比較して論じてください"
    route = twin.get("route", question=hard, now="2026-11-23T03:00:00+09:00")
    assert set(route) == {"score", "complex", "catalogue", "chain", "reason"}
    assert route["reason"] == "offpeak_complex"
    assert route["chain"][-1] == "catalogue"
    assert twin.get("state")["emulator"]["charges"] == {}
    refusal(httpx.get(f"{twin.page}/twin/route"))
    refusal(httpx.get(f"{twin.page}/twin/route", params={"question": "a", "now": "later"}))


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8080"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_strange_pages_may_control_nothing(twin: Running, headers: dict[str, str]) -> None:
    assert httpx.get(f"{twin.page}/twin/state", headers=headers).status_code == 403
    assert httpx.delete(f"{twin.page}/twin/faults", headers=headers).status_code == 403


def test_the_page_itself_may(twin: Running) -> None:
    headers = {"Origin": twin.page, "Sec-Fetch-Site": "same-origin"}
    assert httpx.get(f"{twin.page}/twin/health", headers=headers).status_code == 200


def test_emulated_aws_wants_signed_requests_and_no_pages(twin: Running) -> None:
    assert httpx.post(twin.aws, content=b"{}").status_code == 403
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20261123/ap-northeast-1/dynamodb/aws4_request"}
    page = {"Origin": "https://evil.example"}
    assert httpx.post(twin.aws, content=b"{}", headers=signed | page).status_code == 403
    keys = httpx.get(f"{twin.aws}/issuer/.well-known/jwks.json").json()["keys"]
    assert keys[0]["kty"] == "EC"
    assert "d" not in keys[0]  # the private part
    assert httpx.get(f"{twin.aws}/issuer/other").status_code == 404


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("throttle", "ProvisionedThroughputExceededException"),
        ("denied", "AccessDeniedException"),
        ("unavailable", "ServiceUnavailable"),
        ("error_event", "InternalServerError"),
    ],
)
def test_tables_refuse_in_their_own_words(twin: Running, fault: str, code: str) -> None:
    twin.put("faults", {"dynamodb": {"fault": fault}})
    with pytest.raises(ClientError) as refused:
        twin.client("dynamodb").list_tables()
    assert refused.value.response["Error"]["Code"] == code
    assert twin.get("state")["faults"]  # the twin's own look at the tables meets no fault


def test_tables_fall_silent_or_break_off(twin: Running) -> None:
    twin.put("faults", {"dynamodb": {"fault": "hang", "count": 1}})
    with pytest.raises(ReadTimeoutError):
        twin.client("dynamodb", config=Config(read_timeout=0.3)).list_tables()
    twin.put("faults", {"dynamodb": {"fault": "cut", "count": 1}})
    with pytest.raises(ConnectionClosedError):
        twin.client("dynamodb").list_tables()
    twin.put("faults", {"dynamodb": {"fault": "slow", "first_token_ms": 50, "count": 1}})
    assert "TurnsTable" in twin.client("dynamodb").list_tables()["TableNames"]


def test_the_templates_tables_and_parameters_are_there(twin: Running) -> None:
    dynamodb = twin.client("dynamodb")
    ttl = dynamodb.describe_time_to_live(TableName="TurnsTable")["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
    ssm = twin.client("ssm")
    parameter = ssm.get_parameter(Name="AllowedOriginsParameter")["Parameter"]
    assert parameter["Type"] == "StringList"
    assert twin.page in parameter["Value"].split(",")
    with pytest.raises(ssm.exceptions.ParameterNotFound):
        ssm.get_parameter(Name="nothing")
    with pytest.raises(ssm.exceptions.ParameterAlreadyExists):
        ssm.put_parameter(Name="AllowedOriginsParameter", Value="x", Type="String")
    ssm.put_parameter(Name="mine", Value="x", Type="String")
    assert ssm.get_parameters(Names=["mine", "nothing"])["InvalidParameters"] == ["nothing"]


def test_transactions_are_all_or_nothing(twin: Running) -> None:
    dynamodb = twin.client("dynamodb")

    def key(name: str) -> dict[str, dict[str, str]]:
        return {"pk": {"S": "TEST"}, "sk": {"S": name}}

    def put(name: str) -> dict[str, Any]:
        return {
            "Put": {"TableName": "TurnsTable", "Item": key(name), "ConditionExpression": "attribute_not_exists(pk)"}
        }

    def add(name: str) -> dict[str, Any]:
        values = {":one": {"N": "1"}}
        expression = {"UpdateExpression": "ADD n :one", "ExpressionAttributeValues": values}
        return {"Update": {"TableName": "TurnsTable", "Key": key(name), **expression}}

    dynamodb.transact_write_items(TransactItems=[put("a"), add("sum")])
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as cancelled:
        dynamodb.transact_write_items(TransactItems=[add("sum"), put("a"), put("b")])
    codes = [reason["Code"] for reason in cancelled.value.response["CancellationReasons"]]
    assert codes == ["None", "ConditionalCheckFailed", "None"]
    assert dynamodb.get_item(TableName="TurnsTable", Key=key("sum"))["Item"]["n"] == {"N": "1"}
    assert "Item" not in dynamodb.get_item(TableName="TurnsTable", Key=key("b"))
    with pytest.raises(ClientError):
        dynamodb.transact_write_items(TransactItems=[add("sum"), add("sum")])
    delete = {"Delete": {"TableName": "TurnsTable", "Key": key("a")}}
    check = {"ConditionCheck": {"TableName": "TurnsTable", "Key": key("sum"), "ConditionExpression": "n = :n"}}
    check["ConditionCheck"]["ExpressionAttributeValues"] = {":n": {"N": "1"}}
    dynamodb.transact_write_items(TransactItems=[delete, check])
    assert "Item" not in dynamodb.get_item(TableName="TurnsTable", Key=key("a"))


def test_moto_serves_the_rest(twin: Running) -> None:
    topic = twin.client("sns").create_topic(Name="alarms")["TopicArn"]
    assert topic == "arn:aws:sns:ap-northeast-1:123456789012:alarms"
    assert twin.client("sts").get_caller_identity()["Account"] == "123456789012"
