"""Bedrock's control plane as botocore knows it: what is asked, what is read from answers, how failures are named."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from botocore.stub import Stubber

from mangaassist.capacity.board import Topic
from mangaassist.capacity.control_plane import ControlPlane, Lifecycle, Order, Purchase
from mangaassist.errors import ControlPlaneError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ACCOUNT = "arn:aws:bedrock:us-east-1:123456789012"
MODEL_ARN = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0:300k"
CUSTOM_ARN = f"{ACCOUNT}:custom-model/amazon.nova-pro-v1:0:300k/abcdefghijkl"
CREATED = datetime(2026, 11, 25, 8, 30, tzinfo=UTC)
TERM_ENDS = datetime(2026, 12, 25, tzinfo=UTC)
ORDER = Order("mangaassist-peak-2026-11-25", "amazon.nova-pro-v1:0:300k", 2, "mangaassist", "peak", "2026-11-25")
TAGS = [
    {"key": "mangaassist:owner", "value": "mangaassist"},
    {"key": "mangaassist:window", "value": "peak"},
    {"key": "mangaassist:day", "value": "2026-11-25"},
]
LISTED = {"sortBy": "CreationTime", "sortOrder": "Ascending"}


def arn(number: int = 1) -> str:
    return f"{ACCOUNT}:provisioned-model/{number:012d}"


@pytest.fixture(scope="module")
def clients() -> Any:
    session = boto3.Session(region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    once = Config(retries={"total_max_attempts": 1})
    return {name: session.client(name, config=once) for name in ("bedrock", "service-quotas", "sns")}


class Wire:
    """Both services with scripted answers; every script has to be played to its end."""

    def __init__(self, clients: Any) -> None:
        self.plane = ControlPlane(clients["bedrock"], clients["service-quotas"])
        self.bedrock, self.quotas = Stubber(clients["bedrock"]), Stubber(clients["service-quotas"])

    def lists(self, *summaries: dict[str, Any]) -> None:
        self.bedrock.add_response(
            "list_provisioned_model_throughputs", {"provisionedModelSummaries": list(summaries)}, LISTED
        )

    def tags(self, of: str, tags: list[dict[str, str]] = TAGS) -> None:
        self.bedrock.add_response("list_tags_for_resource", {"tags": tags}, {"resourceARN": of})


@pytest.fixture
def wire(clients: Any) -> Iterator[Wire]:
    scripted = Wire(clients)
    with scripted.bedrock, scripted.quotas:
        yield scripted
        scripted.bedrock.assert_no_pending_responses()
        scripted.quotas.assert_no_pending_responses()


def summary(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "provisionedModelName": f"name-{number}",
        "provisionedModelArn": arn(number),
        "modelArn": MODEL_ARN,
        "desiredModelArn": MODEL_ARN,
        "foundationModelArn": MODEL_ARN,
        "modelUnits": 2,
        "desiredModelUnits": 2,
        "status": "InService",
        "creationTime": CREATED,
        "lastModifiedTime": CREATED,
    } | changes


# -- buying ------------------------------------------------------------------------------------------------------------


def test_a_purchase_is_named_tagged_repeatable_and_never_committed(wire: Wire) -> None:
    wire.bedrock.add_response(
        "create_provisioned_model_throughput",
        {"provisionedModelArn": arn()},
        {
            "provisionedModelName": ORDER.name,
            "clientRequestToken": ORDER.name,
            "modelId": ORDER.model,
            "modelUnits": 2,
            "tags": TAGS,
        },  # the stub refuses any other parameter, commitmentDuration too
    )
    assert wire.plane.create(ORDER) == arn()


# -- what is alive -----------------------------------------------------------------------------------------------------


def test_what_is_ours_is_told_by_its_tag_and_not_by_its_name(wire: Wire) -> None:
    wire.lists(summary(1), summary(2), summary(3))
    wire.tags(arn(1))
    wire.tags(arn(2), [{"key": "mangaassist:owner", "value": "another-stack"}])
    wire.tags(arn(3), [])
    (ours,) = wire.plane.owned("mangaassist")
    assert ours == Purchase(arn(1), "name-1", "InService", 2, CREATED.timestamp(), window="peak", day="2026-11-25")


def test_all_pages_of_purchases_are_read(wire: Wire) -> None:
    wire.bedrock.add_response(
        "list_provisioned_model_throughputs",
        {"provisionedModelSummaries": [summary(1)], "nextToken": "more"},
        LISTED,
    )
    wire.tags(arn(1))
    wire.bedrock.add_response(
        "list_provisioned_model_throughputs",
        {"provisionedModelSummaries": [summary(2)]},
        LISTED | {"nextToken": "more"},
    )
    wire.tags(arn(2))
    assert [it.arn for it in wire.plane.owned("mangaassist")] == [arn(1), arn(2)]


def test_a_purchase_that_is_deleted_while_it_is_listed_is_not_alive(wire: Wire) -> None:
    wire.lists(summary(1), summary(2))
    wire.bedrock.add_client_error("list_tags_for_resource", "ResourceNotFoundException", http_status_code=404)
    wire.tags(arn(2))
    assert [it.arn for it in wire.plane.owned("mangaassist")] == [arn(2)]


def test_tags_that_cannot_be_read_are_a_failure_and_not_an_empty_answer(wire: Wire) -> None:
    wire.lists(summary(1))
    wire.bedrock.add_client_error("list_tags_for_resource", "AccessDeniedException", "no", http_status_code=403)
    with pytest.raises(ControlPlaneError) as failure:
        wire.plane.owned("mangaassist")
    assert failure.value.name == "Bedrock.AccessDeniedException"


def test_units_without_commitment_are_counted_whosever_they_are(wire: Wire) -> None:
    alive = [
        summary(1, modelUnits=2),
        summary(2, modelUnits=3, status="Creating"),
        summary(3, modelUnits=5, commitmentDuration="OneMonth"),
        summary(4, modelUnits=7, modelArn=CUSTOM_ARN),
    ]
    wire.lists(*alive)
    assert wire.plane.uncommitted_units(custom=False) == 5
    wire.lists(*alive)
    assert wire.plane.uncommitted_units(custom=True) == 7


# -- one purchase ------------------------------------------------------------------------------------------------------


def test_a_purchase_is_looked_at_by_its_arn(wire: Wire) -> None:
    found = summary(status="Failed", failureMessage="no room")
    wire.bedrock.add_response("get_provisioned_model_throughput", found, {"provisionedModelId": arn()})
    assert wire.plane.get(arn()) == Purchase(
        arn(), "name-1", "Failed", 2, CREATED.timestamp(), failure="no room", commitment=None
    )


def test_a_commitment_is_read_with_its_end(wire: Wire) -> None:
    found = summary(commitmentDuration="OneMonth", commitmentExpirationTime=TERM_ENDS)
    wire.bedrock.add_response("get_provisioned_model_throughput", found)
    committed = wire.plane.get(arn())
    assert committed is not None
    assert (committed.commitment, committed.committed_until_s) == ("OneMonth", TERM_ENDS.timestamp())
    assert committed.is_committed(TERM_ENDS.timestamp() - 1)
    assert not committed.is_committed(TERM_ENDS.timestamp())


def test_what_is_gone_is_none_and_every_other_failure_is_told(wire: Wire) -> None:
    wire.bedrock.add_client_error("get_provisioned_model_throughput", "ResourceNotFoundException")
    assert wire.plane.get(arn()) is None
    wire.bedrock.add_client_error("get_provisioned_model_throughput", "AccessDeniedException")
    with pytest.raises(ControlPlaneError):
        wire.plane.get(arn())


def test_what_is_gone_can_be_deleted_again(wire: Wire) -> None:
    wire.bedrock.add_response("delete_provisioned_model_throughput", {}, {"provisionedModelId": arn()})
    assert wire.plane.delete(arn())
    wire.bedrock.add_client_error("delete_provisioned_model_throughput", "ResourceNotFoundException")
    assert not wire.plane.delete(arn())


# -- what is sold ------------------------------------------------------------------------------------------------------


def model(model_id: str, **lifecycle: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "modelId": model_id,
        "modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{model_id}",
    }
    return found | ({"modelLifecycle": lifecycle} if lifecycle else {})


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("amazon.nova-pro-v1:0:300k", Lifecycle("ACTIVE")),
        (MODEL_ARN, Lifecycle("ACTIVE")),
        ("amazon.nova-pro-v1:0", None),
        ("old", Lifecycle("LEGACY", date(2027, 3, 1))),
        ("bare", Lifecycle("ACTIVE")),
    ],
)
def test_what_is_sold_is_asked_of_the_service(wire: Wire, asked: str, found: Lifecycle | None) -> None:
    sold = [
        model("amazon.nova-pro-v1:0:300k", status="ACTIVE"),
        model("old", status="LEGACY", endOfLifeTime=datetime(2027, 3, 1, tzinfo=UTC)),
        model("bare"),
    ]
    wire.bedrock.add_response("list_foundation_models", {"modelSummaries": sold}, {"byInferenceType": "PROVISIONED"})
    assert wire.plane.lifecycle(asked) == found


@pytest.mark.parametrize(("status", "found"), [("Active", Lifecycle("ACTIVE")), ("Creating", None), ("Failed", None)])
def test_a_custom_model_is_asked_for_itself(wire: Wire, status: str, found: Lifecycle | None) -> None:
    answer = {
        "modelArn": CUSTOM_ARN,
        "modelName": "manga",
        "creationTime": CREATED,
        "modelStatus": status,
    }
    wire.bedrock.add_response("get_custom_model", answer, {"modelIdentifier": CUSTOM_ARN})
    assert wire.plane.lifecycle(CUSTOM_ARN) == found


def test_a_custom_model_that_does_not_exist_is_not_sold(wire: Wire) -> None:
    wire.bedrock.add_client_error("get_custom_model", "ResourceNotFoundException")
    assert wire.plane.lifecycle(CUSTOM_ARN) is None


# -- quotas ------------------------------------------------------------------------------------------------------------

QUOTA = "Model units no-commitment Provisioned Throughputs across base models"


def quotas(*names: tuple[str, float]) -> dict[str, Any]:
    return {"Quotas": [{"QuotaName": name, "Value": value} for name, value in names]}


def test_a_quota_is_found_by_its_name_on_whichever_page(wire: Wire) -> None:
    first = quotas(("Model units per provisioned model for Nova", 9.0)) | {"NextToken": "more"}
    wire.quotas.add_response("list_service_quotas", first, {"ServiceCode": "bedrock"})
    second = quotas((QUOTA.replace("base", "custom"), 1.0), (QUOTA.upper(), 4.0))
    wire.quotas.add_response("list_service_quotas", second, {"ServiceCode": "bedrock", "NextToken": "more"})
    assert wire.plane.quota(QUOTA) == 4.0


def test_a_quota_that_the_account_does_not_list_is_not_known(wire: Wire) -> None:
    wire.quotas.add_response("list_service_quotas", quotas(("another", 9.0)))
    assert wire.plane.quota(QUOTA) is None


def test_a_quota_of_zero_is_zero(wire: Wire) -> None:
    wire.quotas.add_response("list_service_quotas", quotas((QUOTA, 0.0)))
    assert wire.plane.quota(QUOTA) == 0.0


# -- failures ----------------------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[ControlPlane], object]] = {
    "list_provisioned_model_throughputs": lambda plane: plane.owned("mangaassist"),
    "create_provisioned_model_throughput": lambda plane: plane.create(ORDER),
    "get_provisioned_model_throughput": lambda plane: plane.get(arn()),
    "delete_provisioned_model_throughput": lambda plane: plane.delete(arn()),
    "list_foundation_models": lambda plane: plane.lifecycle("a-model"),
    "get_custom_model": lambda plane: plane.lifecycle(CUSTOM_ARN),
}


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("ThrottlingException", "Bedrock.ThrottlingException"),
        ("ServiceQuotaExceededException", "Bedrock.ServiceQuotaExceededException"),
        ("Throttling", "Bedrock.ThrottlingException"),
        ("InternalServerException", "Bedrock.InternalServerException"),
        ("InternalServerError", "Bedrock.InternalServerErrorException"),
    ],
)
def test_failures_have_the_names_that_step_functions_gives_them(
    wire: Wire, operation: str, code: str, name: str
) -> None:
    wire.bedrock.add_client_error(operation, code, "AWS's own words", http_status_code=400)
    with pytest.raises(ControlPlaneError, match="AWS's own words") as failure:
        CALLS[operation](wire.plane)
    assert failure.value.name == name


def test_a_failure_of_the_quotas_is_theirs(wire: Wire) -> None:
    wire.quotas.add_client_error("list_service_quotas", "TooManyRequestsException")
    with pytest.raises(ControlPlaneError) as failure:
        wire.plane.quota(QUOTA)
    assert failure.value.name == "ServiceQuotas.TooManyRequestsException"


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize(
    "silence",
    [ReadTimeoutError(endpoint_url="https://x"), EndpointConnectionError(endpoint_url="https://x")],
    ids=["time-out", "no connection"],
)
def test_no_answer_is_a_failure_that_is_repeated(clients: Any, operation: str, silence: Exception) -> None:
    def fall_silent(**_: object) -> None:
        raise silence

    events = clients["bedrock"].meta.events
    events.register("before-send.bedrock.*", fall_silent)
    try:
        with pytest.raises(ControlPlaneError) as failure:
            CALLS[operation](ControlPlane(clients["bedrock"], clients["service-quotas"]))
    finally:
        events.unregister("before-send.bedrock.*", fall_silent)
    assert failure.value.name == "Bedrock.SdkClientException"


# -- the board ---------------------------------------------------------------------------------------------------------


def test_a_notice_is_published_to_its_topic(clients: Any) -> None:
    topic = "arn:aws:sns:ap-northeast-1:123456789012:alarms"
    with Stubber(clients["sns"]) as sns:
        sns.add_response("publish", {}, {"TopicArn": topic, "Subject": "s", "Message": "m"})
        Topic(clients["sns"], topic).post("s", "m")
        sns.assert_no_pending_responses()
        sns.add_client_error("publish", "AuthorizationError")
        with pytest.raises(ControlPlaneError) as failure:
            Topic(clients["sns"], topic).post("s", "m")
    assert failure.value.name == "Sns.AuthorizationErrorException"


def test_without_a_topic_nothing_is_published(clients: Any) -> None:
    with Stubber(clients["sns"]):
        Topic(clients["sns"], "").post("s", "m")
