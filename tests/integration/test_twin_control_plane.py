"""Emulated provisioned throughput, bought by a real boto3 client: what it allows, refuses, bills, and how it breaks."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from tests.e2e.running import ROOT, Running, running
from tests.integration.twin_calls import BROKEN, events, refused, user

if TYPE_CHECKING:
    from collections.abc import Iterator

VIRGINIA, OREGON = "us-east-1", "us-west-2"
PRO, LITE = "amazon.nova-pro-v1:0:24k", "amazon.nova-lite-v1:0:300k"
CUSTOM = "manga-store-lite"
CREATING_S = 600
SUMMARIES = "provisionedModelSummaries[]"


@pytest.fixture(scope="module")
def twin() -> Iterator[Running]:
    with running("--template", str(ROOT / "tests" / "data" / "twin" / "template.yaml")) as twin:
        yield twin


@pytest.fixture(scope="module")
def bedrock(twin: Running) -> Any:
    return twin.client("bedrock", region=VIRGINIA)


@pytest.fixture(scope="module")
def runtime(twin: Running) -> Any:
    return twin.client("bedrock-runtime", region=VIRGINIA)


@pytest.fixture(autouse=True)
def _nothing_left(twin: Running, bedrock: Any) -> Iterator[None]:
    yield
    twin.delete("faults")
    for bought in bedrock.get_paginator("list_provisioned_model_throughputs").paginate().search(SUMMARIES):
        if "commitmentDuration" not in bought:
            bedrock.delete_provisioned_model_throughput(provisionedModelId=bought["provisionedModelArn"])


def buy(bedrock: Any, name: str, model: str = PRO, units: int = 1, **more: Any) -> str:
    bought = bedrock.create_provisioned_model_throughput(
        provisionedModelName=name, modelId=model, modelUnits=units, **more
    )
    assert bought["ResponseMetadata"]["HTTPStatusCode"] == 201
    return str(bought["provisionedModelArn"])


def get(bedrock: Any, name: str) -> dict[str, Any]:
    told: dict[str, Any] = bedrock.get_provisioned_model_throughput(provisionedModelId=name)
    return told


def names(bedrock: Any, **filters: Any) -> list[str]:
    pages = bedrock.get_paginator("list_provisioned_model_throughputs").paginate(**filters)
    return list(pages.search(f"{SUMMARIES}.provisionedModelName"))


def row(twin: Running, arn: str) -> dict[str, Any]:
    return next(one for one in twin.get("state")["provisioned"] if one["arn"] == arn)


def test_what_is_bought_is_made_for_a_while_and_then_serves(twin: Running, bedrock: Any, runtime: Any) -> None:
    arn = buy(bedrock, "peak", tags=[{"key": "app", "value": "manga"}])
    told = get(bedrock, "peak")
    assert told["status"] == "Creating"
    assert told["modelArn"] == told["foundationModelArn"] == f"arn:aws:bedrock:{VIRGINIA}::foundation-model/{PRO}"
    assert told["modelUnits"] == told["desiredModelUnits"] == 1
    assert not {"modelId", "commitmentDuration", "failureMessage"} & set(told)
    assert refused(lambda: events(runtime, arn)) == (429, "ModelNotReadyException")
    twin.put("clock", {"advance_s": CREATING_S + 1})
    assert get(bedrock, arn)["status"] == "InService"
    assert events(runtime, arn)[-1]["metadata"]["usage"]["outputTokens"] > 0
    charged = twin.get("state")["emulator"]["charges"][arn]
    assert (charged["completed"], charged["throttled"]) == (1, 1)
    assert row(twin, arn)["tags"] == {"app": "manga"}


def test_a_clock_that_is_moved_back_takes_nothing_out_of_service(twin: Running, bedrock: Any) -> None:
    arn = twin.buy("steady")
    before = twin.get("clock")["now"]
    twin.put("clock", {"now": (datetime.fromisoformat(before) - timedelta(days=3)).isoformat()})
    assert get(bedrock, arn)["status"] == "InService"
    assert row(twin, arn)["unit_hours"] > 0


def test_what_is_deleted_is_gone_at_once_and_its_meter_stops(twin: Running, bedrock: Any, runtime: Any) -> None:
    arn = twin.buy("short", units=2)
    twin.put("clock", {"advance_s": 3600})
    bedrock.delete_provisioned_model_throughput(provisionedModelId="short")
    assert refused(lambda: get(bedrock, arn)) == (404, "ResourceNotFoundException")
    assert refused(lambda: events(runtime, arn)) == (404, "ResourceNotFoundException")
    gone = {"provisionedModelId": arn}
    assert refused(lambda: bedrock.delete_provisioned_model_throughput(**gone)) == (404, "ResourceNotFoundException")
    assert "short" not in names(bedrock)
    meter = row(twin, arn)
    twin.put("clock", {"advance_s": 3600})
    assert row(twin, arn) == meter
    assert meter["deleted_at"] is not None
    assert meter["unit_hours"] == pytest.approx(2 * (3600 + CREATING_S) / 3600, rel=0.01)


def test_throughput_serves_in_its_own_region_only(twin: Running, bedrock: Any) -> None:
    arn = twin.buy("here")
    elsewhere = twin.client("bedrock-runtime", region=OREGON)
    assert refused(lambda: events(elsewhere, arn)) == (400, "ValidationException")
    assert names(twin.client("bedrock", region=OREGON)) == []


def test_deleting_cuts_what_still_runs_and_counts_it(twin: Running, bedrock: Any, runtime: Any) -> None:
    arn = twin.buy("busy")
    twin.put("faults", {arn: {"fault": "slow", "first_token_ms": 0, "token_ms": 60}})
    before = twin.get("state")["emulator"]["cut_by_deletion"]
    with closing(runtime.converse_stream(modelId=arn, messages=user())["stream"]) as stream:
        next(iter(stream))
        bedrock.delete_provisioned_model_throughput(provisionedModelId=arn)
        with pytest.raises(BROKEN):
            list(stream)
    state = twin.get("state")["emulator"]
    assert state["cut_by_deletion"] == before + 1
    assert state["charges"][arn]["closed_by_client"] == 0
    assert state["active_streams"] == 0


def test_the_same_token_buys_once_even_after_deletion(bedrock: Any) -> None:
    first = buy(bedrock, "daily", clientRequestToken="manga-pt-2026-11-26-peak")
    assert buy(bedrock, "daily", clientRequestToken="manga-pt-2026-11-26-peak") == first
    assert names(bedrock) == ["daily"]
    bedrock.delete_provisioned_model_throughput(provisionedModelId=first)
    assert buy(bedrock, "daily", clientRequestToken="manga-pt-2026-11-26-peak") == first
    assert names(bedrock) == []


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"provisionedModelName": "v1:0"}, "provisionedModelName"),
        ({"provisionedModelName": "a--b"}, "provisionedModelName"),
        ({"provisionedModelName": "a" * 64}, "provisionedModelName"),
        ({"commitmentDuration": "NoCommitment"}, "commitmentDuration"),
        ({"clientRequestToken": "-"}, "clientRequestToken"),
        ({"modelId": "amazon.nova-pro-v1:0"}, "contextual variant"),
        ({"modelId": "us.amazon.nova-pro-v1:0"}, "inference profile"),
        ({"modelId": f"arn:aws:bedrock:{OREGON}::foundation-model/{PRO}"}, "invalid in us-east-1"),
        ({"modelId": "anthropic.claude-3-haiku-20240307-v1:0:48k"}, "Legacy"),
        ({"modelId": "anthropic.claude-opus-9"}, "invalid"),
    ],
)
def test_what_the_service_refuses_is_refused_with_the_reason(bedrock: Any, wrong: dict[str, Any], reason: str) -> None:
    right = {"provisionedModelName": "right", "modelId": PRO, "modelUnits": 1}
    with pytest.raises(ClientError) as refusal:
        bedrock.create_provisioned_model_throughput(**right | wrong)
    assert refusal.value.response["Error"]["Code"] == "ValidationException"
    assert reason in refusal.value.response["Error"]["Message"]
    assert names(bedrock) == []


def test_a_name_is_used_once_and_can_be_changed(bedrock: Any) -> None:
    arn = buy(bedrock, "one")
    assert refused(lambda: buy(bedrock, "one")) == (400, "ValidationException")
    bedrock.update_provisioned_model_throughput(provisionedModelId="one", desiredProvisionedModelName="other")
    assert get(bedrock, "other")["provisionedModelArn"] == arn
    assert refused(lambda: get(bedrock, "one")) == (404, "ResourceNotFoundException")
    assert buy(bedrock, "one") != arn


def test_a_fine_tuned_model_is_bought_by_name(twin: Running, bedrock: Any) -> None:
    told = bedrock.get_custom_model(modelIdentifier=CUSTOM)
    buy(bedrock, "tuned", CUSTOM)
    assert get(bedrock, "tuned")["modelArn"] == told["modelArn"]
    assert get(bedrock, "tuned")["foundationModelArn"] == told["baseModelArn"]
    assert refused(lambda: buy(bedrock, "unknown", "no-such-model")) == (404, "ResourceNotFoundException")
    assert refused(lambda: bedrock.get_custom_model(modelIdentifier="none")) == (404, "ResourceNotFoundException")


def test_pages_are_as_long_as_asked_and_miss_nothing(twin: Running, bedrock: Any) -> None:
    for name in ("a-1", "b-2", "a-3", "a-4"):
        buy(bedrock, name)
    first = bedrock.list_provisioned_model_throughputs(maxResults=1)
    assert len(first["provisionedModelSummaries"]) == 1
    assert first["nextToken"]
    assert names(bedrock, PaginationConfig={"PageSize": 1}) == ["a-4", "a-3", "b-2", "a-1"]
    ascending = names(bedrock, nameContains="a-", sortOrder="Ascending", PaginationConfig={"PageSize": 2})
    assert ascending == ["a-1", "a-3", "a-4"]


def test_lists_are_filtered(twin: Running, bedrock: Any) -> None:
    twin.buy("old")
    buy(bedrock, "new", LITE)
    now = datetime.fromisoformat(twin.get("clock")["now"])
    assert names(bedrock, statusEquals="InService") == ["old"]
    assert names(bedrock, statusEquals="Creating") == ["new"]
    assert names(bedrock, modelArnEquals=f"arn:aws:bedrock:{VIRGINIA}::foundation-model/{LITE}") == ["new"]
    assert names(bedrock, creationTimeAfter=now - timedelta(seconds=300)) == ["new"]
    assert names(bedrock, creationTimeBefore=now - timedelta(seconds=300)) == ["old"]
    assert refused(lambda: names(bedrock, statusEquals="Deleting")) == (400, "ValidationException")


def test_tags_are_kept_up_to_fifty(bedrock: Any) -> None:
    arn = buy(bedrock, "tagged", tags=[{"key": str(number), "value": "x"} for number in range(49)])
    bedrock.tag_resource(resourceARN=arn, tags=[{"key": "app", "value": "manga"}])
    one_more = {"resourceARN": arn, "tags": [{"key": "more", "value": "x"}]}
    assert refused(lambda: bedrock.tag_resource(**one_more)) == (400, "TooManyTagsException")
    bedrock.untag_resource(resourceARN=arn, tagKeys=[str(number) for number in range(49)])
    assert bedrock.list_tags_for_resource(resourceARN=arn)["tags"] == [{"key": "app", "value": "manga"}]
    many = [{"key": str(number), "value": "x"} for number in range(51)]
    assert refused(lambda: buy(bedrock, "many", tags=many)) == (400, "TooManyTagsException")


def test_the_quotas_that_are_told_are_those_that_are_enforced(twin: Running, bedrock: Any) -> None:
    service = twin.client("service-quotas", region=VIRGINIA)
    pages = service.get_paginator("list_service_quotas").paginate(
        ServiceCode="bedrock", PaginationConfig={"PageSize": 2}
    )
    quotas = {quota["QuotaName"]: quota for quota in pages.search("Quotas[]")}
    base = quotas["Model units no-commitment Provisioned Throughputs across base models"]
    assert base["QuotaCode"] == "L-FE44174A"
    assert "Model units per provisioned model for Amazon Nova Pro" in quotas
    told = service.get_service_quota(ServiceCode="bedrock", QuotaCode="L-FE44174A")["Quota"]
    assert told == base
    buy(bedrock, "all-of-it", units=int(base["Value"]))
    with pytest.raises(ClientError) as refusal:
        buy(bedrock, "one-more")
    assert refusal.value.response["Error"]["Code"] == "ServiceQuotaExceededException"
    assert "no commitment model units" in refusal.value.response["Error"]["Message"]
    buy(bedrock, "custom", CUSTOM)  # has a quota of its own
    oregon = twin.client("bedrock", region=OREGON)
    llama = "meta.llama3-1-8b-instruct-v1:0:128k"
    assert refused(lambda: buy(oregon, "none", llama)) == (400, "ServiceQuotaExceededException")
    unknown = {"ServiceCode": "bedrock", "QuotaCode": "L-00000000"}
    assert refused(lambda: service.get_service_quota(**unknown)) == (400, "NoSuchResourceException")


def test_a_commitment_cannot_be_ended_before_its_term(twin: Running, bedrock: Any) -> None:
    buy(bedrock, "committed", commitmentDuration="OneMonth")
    told = get(bedrock, "committed")
    assert told["commitmentExpirationTime"] - told["creationTime"] == timedelta(days=30)
    ended = {"provisionedModelId": "committed"}
    assert refused(lambda: bedrock.delete_provisioned_model_throughput(**ended)) == (400, "ConflictException")
    twin.put("clock", {"advance_s": 30 * 86_400})
    bedrock.delete_provisioned_model_throughput(**ended)


def test_models_are_listed_with_how_they_can_be_bought(twin: Running, bedrock: Any) -> None:
    sold = bedrock.list_foundation_models(byInferenceType="PROVISIONED", byProvider="amazon")["modelSummaries"]
    assert PRO in {model["modelId"] for model in sold}
    assert {model["modelLifecycle"]["status"] for model in sold} == {"ACTIVE"}
    tokyo = twin.client("bedrock").list_foundation_models(byInferenceType="PROVISIONED")["modelSummaries"]
    assert tokyo == []
    old = bedrock.get_foundation_model(modelIdentifier="anthropic.claude-3-sonnet-20240229-v1:0:28k")["modelDetails"]
    assert old["modelLifecycle"]["status"] == "LEGACY"
    assert old["modelLifecycle"]["endOfLifeTime"].year == 2026
    unknown = {"modelIdentifier": "anthropic.claude-opus-9"}
    assert refused(lambda: bedrock.get_foundation_model(**unknown)) == (404, "ResourceNotFoundException")


@pytest.mark.parametrize(
    ("fault", "refusal"),
    [
        ("throttle", (429, "ThrottlingException")),
        ("unavailable", (500, "InternalServerException")),
        ("denied", (403, "AccessDeniedException")),
        ("quota", (400, "ServiceQuotaExceededException")),
    ],
)
def test_scripted_refusals_are_the_services_own(
    twin: Running, bedrock: Any, runtime: Any, fault: str, refusal: tuple[int, str]
) -> None:
    twin.put("faults", {"control-plane": {"fault": fault, "count": 1}})
    events(runtime, "jp.anthropic.claude-haiku-5-5")  # models serve on
    if fault == "quota":
        assert names(bedrock) == []  # only buying meets it
    assert refused(lambda: buy(bedrock, "refused")) == refusal
    assert names(bedrock) == []
    assert twin.get("faults") == {}


def test_a_lost_answer_leaves_something_bought_behind(twin: Running, bedrock: Any) -> None:
    lost = {"fault": "cut", "operation": "CreateProvisionedModelThroughput", "count": 1}
    twin.put("faults", {"control-plane": lost})
    assert names(bedrock) == []
    with pytest.raises(ConnectionClosedError):
        buy(bedrock, "lost", clientRequestToken="once")
    assert names(bedrock) == ["lost"]
    assert buy(bedrock, "lost", clientRequestToken="once") == get(bedrock, "lost")["provisionedModelArn"]


def test_a_creation_can_fail_in_the_end(twin: Running, bedrock: Any, runtime: Any) -> None:
    twin.put("faults", {"control-plane": {"fault": "create_fails", "count": 1}})
    arn = buy(bedrock, "doomed")
    assert get(bedrock, arn)["status"] == "Creating"
    twin.put("clock", {"advance_s": CREATING_S + 1})
    told = get(bedrock, arn)
    assert told["status"] == "Failed"
    assert told["failureMessage"]
    assert refused(lambda: events(runtime, arn)) == (400, "ValidationException")
    twin.buy("next")


def test_a_deletion_can_conflict(twin: Running, bedrock: Any) -> None:
    arn = buy(bedrock, "held")
    twin.put("faults", {"control-plane": {"fault": "conflict", "count": 1}})
    held = {"provisionedModelId": arn}
    assert refused(lambda: bedrock.delete_provisioned_model_throughput(**held)) == (400, "ConflictException")
    bedrock.delete_provisioned_model_throughput(**held)


def test_the_control_plane_falls_silent_is_slow_or_talks_nonsense(twin: Running, bedrock: Any) -> None:
    twin.put("faults", {"control-plane": {"fault": "hang", "count": 1}})
    with pytest.raises(ReadTimeoutError):
        names(twin.client("bedrock", region=VIRGINIA, config=Config(read_timeout=0.3)))
    twin.put("faults", {"control-plane": {"fault": "slow", "first_token_ms": 50, "count": 1}})
    assert names(bedrock) == []
    twin.put("faults", {"control-plane": {"fault": "garbage", "count": 1}})
    nonsense = bedrock.list_provisioned_model_throughputs()  # boto3 lets it pass, as an answer that says nothing
    assert "provisionedModelSummaries" not in nonsense
