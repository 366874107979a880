"""What CloudWatch is asked of an endpoint, what its periods make together, and how SageMaker describes one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mangaassist.capacity.endpoint import (
    METRICS,
    MOST_POINTS,
    PERIODS_S,
    Copies,
    EndpointUse,
    EndpointWatch,
    Span,
    Whose,
    used,
)
from mangaassist.errors import ControlPlaneError

HOUR, DAY = 3600, 86_400
NOW_S = 1_795_369_440.0  # a whole minute
MAIN = Whose("manga-assist-fm", "main")
COMPONENT = Whose("manga-assist-fm", "", "manga-ic")
SPAN = Span(int(NOW_S) - 180, int(NOW_S), 60)


class CloudWatch:
    """Answers with these values, the first of which is of the span's first minute, page by page."""

    def __init__(self, *pages: dict[str, list[float]], status: str = "Complete") -> None:
        self.pages = list(pages) or [{}]
        self.status = status
        self.asked: list[dict[str, Any]] = []
        self._told = 0

    def get_metric_data(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        page = self.pages.pop(0)
        results = []
        for name, values in page.items():
            first = SPAN.since_s + 60 * self._told
            instants = [datetime.fromtimestamp(first + 60 * place, UTC) for place in range(len(values))]
            results.append({"Id": f"{name}_0", "Timestamps": instants, "Values": values, "StatusCode": self.status})
        self._told += max(map(len, page.values()), default=0)
        return {"MetricDataResults": results} | ({"NextToken": f"page {len(self.asked)}"} if self.pages else {})


class SageMaker:
    """Describes one endpoint."""

    def __init__(self, **told: Any) -> None:
        self.told = told

    def describe_endpoint(self, *, EndpointName: str) -> dict[str, Any]:
        return {"EndpointName": EndpointName} | self.told

    def describe_endpoint_config(self, *, EndpointConfigName: str) -> dict[str, Any]:
        return {"EndpointConfigName": EndpointConfigName} | self.told

    def describe_inference_component(self, *, InferenceComponentName: str) -> dict[str, Any]:
        return {"InferenceComponentName": InferenceComponentName} | self.told


def watch(cloudwatch: CloudWatch) -> EndpointWatch:
    return EndpointWatch(SageMaker(), cloudwatch)


def use_of(watch: EndpointWatch, whose: Whose) -> EndpointUse:
    return watch.uses([whose], SPAN)[whose]


# -- what is asked -----------------------------------------------------------------------------------------------------


def test_one_request_asks_for_everything() -> None:
    cloudwatch = CloudWatch()
    use_of(watch(cloudwatch), MAIN)
    (asked,) = cloudwatch.asked
    assert (asked["EndTime"] - asked["StartTime"]).total_seconds() == 180
    stats = [query["MetricStat"] for query in asked["MetricDataQueries"]]
    assert [(it["Metric"]["MetricName"], it["Stat"]) for it in stats] == [*METRICS.values()]
    assert {it["Period"] for it in stats} == {60}
    assert {it["Metric"]["Namespace"] for it in stats} == {"AWS/SageMaker"}
    whose = [{"Name": "EndpointName", "Value": "manga-assist-fm"}, {"Name": "VariantName", "Value": "main"}]
    assert all(it["Metric"]["Dimensions"] == whose for it in stats)


def test_of_invocations_per_instance_only_the_sum_is_asked() -> None:
    assert [stat for name, stat in METRICS.values() if name == "InvocationsPerInstance"] == ["Sum"]


def test_a_component_has_its_own_names_and_may_be_asleep() -> None:
    cloudwatch = CloudWatch({"asleep": [2.0, 1.0]})
    use = use_of(watch(cloudwatch), COMPONENT)
    metrics = [query["MetricStat"]["Metric"] for query in cloudwatch.asked[0]["MetricDataQueries"]]
    names = {metric["MetricName"] for metric in metrics}
    assert {"InvocationsPerCopy", "ConcurrentRequestsPerCopy", "NoCapacityInvocationFailures"} <= names
    assert not {"InvocationsPerInstance", "ConcurrentRequestsPerModel"} & names
    assert all(it["Dimensions"] == [{"Name": "InferenceComponentName", "Value": "manga-ic"}] for it in metrics)
    assert use.asleep == 3


# -- what comes of it --------------------------------------------------------------------------------------------------


def test_periods_make_a_span() -> None:
    cloudwatch = CloudWatch(
        {
            "invocations": [10.0, 30.0, 1.0],
            "shares": [10.0, 15.0, 0.5],
            "model_p50": [1_000_000.0, 2_000_000.0, 9_000_000.0],
            "model_p99": [1_500_000.0, 4_000_000.0, 9_000_000.0],
            "overhead_p50": [20_000.0],
            "overhead_p99": [31_500.0],
            "most_at_once": [2.0, 7.0, 1.0],
            "mean_at_once": [1.0, 4.0, 1.0],
            "errors_4xx": [0.0, 1.0, 0.0],
            "errors_5xx": [2.0, 0.0, 1.0],
        }
    )
    use = use_of(watch(cloudwatch), MAIN)
    assert (use.invocations, use.invocations_per_instance, use.busiest_per_minute) == (41, 25.5, 30.0)
    assert use.instances == pytest.approx(41 / 25.5)
    assert (use.model_p50_ms, use.model_p99_ms) == (2000, 9000), "the minute with most calls is the typical one"
    assert (use.overhead_p50_ms, use.overhead_p99_ms) == (20, 31.5)
    assert (use.most_at_once, use.mean_at_once) == (7, 2)
    assert (use.errors_4xx, use.errors_5xx, use.asleep) == (1, 3, None)


def test_of_what_nothing_is_said_there_is_none() -> None:
    use = use_of(watch(CloudWatch()), MAIN)
    assert (use.invocations, use.errors_4xx, use.busiest_per_minute) == (0, 0, 0)
    assert (use.instances, use.model_p50_ms, use.model_p99_ms, use.most_at_once, use.mean_at_once) == (None,) * 5


def test_pages_are_read_to_the_last() -> None:
    cloudwatch = CloudWatch({"invocations": [1.0, 2.0]}, {"invocations": [4.0], "errors_5xx": [1.0]}, {})
    use = use_of(watch(cloudwatch), MAIN)
    assert (use.invocations, use.errors_5xx) == (7, 1)
    assert [asked.get("NextToken") for asked in cloudwatch.asked] == [None, "page 1", "page 2"]


@pytest.mark.parametrize("status", ["InternalError", "Forbidden"])
def test_an_answer_without_its_values_is_an_error(status: str) -> None:
    with pytest.raises(ControlPlaneError) as told:
        use_of(watch(CloudWatch({"invocations": []}, status=status)), MAIN)
    assert told.value.name == f"CloudWatch.{status}Exception"


def test_part_of_the_values_is_what_there_is_so_far() -> None:
    assert use_of(watch(CloudWatch({"invocations": [3.0]}, status="PartialData")), MAIN).invocations == 3


# -- spans -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "days_ago", "period_s"),
    [
        (1, 0, 60),
        (1.5, 0, 60),
        (3, 0, 300),
        (24, 0, 900),
        (72, 0, 3600),
        (15 * 24, 0, 6 * 3600),
        (1, 20, 300),
        (1, 70, 3600),
    ],
)
def test_the_period_suits_the_span_and_how_long_ago_it_was(hours: float, days_ago: int, period_s: int) -> None:
    until_s = NOW_S - days_ago * DAY
    assert Span.around(until_s - hours * HOUR, until_s, NOW_S).period_s == period_s


@given(st.floats(1, 455 * DAY), st.floats(0, 455 * DAY))
def test_a_span_is_whole_periods_that_hold_it(length_s: float, ago_s: float) -> None:
    until_s = NOW_S - ago_s
    span = Span.around(until_s - length_s, until_s, NOW_S)
    assert span.since_s <= until_s - length_s < span.since_s + span.period_s
    assert until_s <= span.until_s < until_s + span.period_s or span.until_s == span.since_s + span.period_s
    assert span.since_s % span.period_s == span.until_s % span.period_s == 0
    assert (span.until_s - span.since_s) / span.period_s <= MOST_POINTS + 2 or span.period_s == PERIODS_S[-1]


# -- how it is hosted --------------------------------------------------------------------------------------------------


def test_an_endpoint_is_read_with_all_its_variants() -> None:
    moment = datetime.fromtimestamp(NOW_S, UTC)
    told = SageMaker(
        EndpointStatus="Updating",
        EndpointConfigName="one",
        CreationTime=moment,
        LastModifiedTime=moment,
        FailureReason="no quota",
        ProductionVariants=[
            {
                "VariantName": "main",
                "CurrentInstanceCount": 2,
                "DesiredInstanceCount": 3,
                "CurrentWeight": 1.0,
                "DesiredWeight": 0.5,
                "VariantStatus": [{"Status": "Updating"}, {"Status": "Baking"}],
            },
            {"VariantName": "second"},
        ],
        ShadowProductionVariants=[{"VariantName": "shadow", "CurrentInstanceCount": 1}],
    )
    hosting = EndpointWatch(told, CloudWatch()).hosting("manga-assist-fm")
    main, second, shadow = hosting.variants
    assert (hosting.status, hosting.failure, hosting.since_s) == ("Updating", "no quota", NOW_S)
    assert (main.instances, main.desired, main.weight, main.desired_weight) == (2, 3, 1, 0.5)
    assert main.status == "Updating, Baking"
    assert (second.instances, second.weight, second.shadow) == (None, None, False)
    assert shadow.shadow
    assert hosting.instances == 2, "a shadow answers nobody"


def test_what_the_instances_are_is_in_the_configuration() -> None:
    told = SageMaker(
        ProductionVariants=[{"VariantName": "main", "InstanceType": "ml.g5.xlarge"}, {"VariantName": "serverless"}],
        ShadowProductionVariants=[{"VariantName": "shadow", "InstanceType": "ml.g5.2xlarge"}],
    )
    types = EndpointWatch(told, CloudWatch()).instance_types("one")
    assert types == {"main": "ml.g5.xlarge", "shadow": "ml.g5.2xlarge"}


def test_a_component_tells_its_copies_and_its_trouble() -> None:
    told = SageMaker(
        InferenceComponentStatus="Failed",
        FailureReason="no image",
        RuntimeConfig={"CurrentCopyCount": 1, "DesiredCopyCount": 2},
    )
    found = EndpointWatch(told, CloudWatch()).copies("manga-ic")
    assert found == Copies("manga-ic", "Failed", 1, 2, "no image")


# -- what it costs -----------------------------------------------------------------------------------------------------


NOTHING: dict[str, dict[float, float]] = {name: {} for name in METRICS}


def test_an_answer_costs_its_share_of_the_instances_hours() -> None:
    found = used(
        NOTHING | {"invocations": {0.0: 120.0}, "shares": {0.0: 60.0}, "errors_5xx": {0.0: 20.0}},
        Span(0, 3600, 3600),
    )
    cost = found.cost(1.89, instances=1)
    assert cost is not None
    assert cost.total_usd == pytest.approx(2 * 1.89), "two instances served"
    assert cost.answer_usd == pytest.approx(2 * 1.89 / 100), "and what failed is no answer"


def test_the_variants_of_an_endpoint_are_asked_for_in_one_request() -> None:
    cloudwatch, other = CloudWatch(), Whose("manga-assist-fm", "second")
    assert set(watch(cloudwatch).uses([MAIN, other], SPAN)) == {MAIN, other}
    (asked,) = cloudwatch.asked
    assert len({query["Id"] for query in asked["MetricDataQueries"]}) == 2 * len(METRICS)


def test_each_period_costs_the_instances_that_it_had() -> None:
    """One by day, two in the evening, told by the calls of each hour."""
    hours = {hour * 3600.0: (2.0 if hour >= 18 else 1.0) for hour in range(24) if hour not in (3, 4)}
    calls = dict.fromkeys(hours, 60.0)
    shares = {instant: 60.0 / count for instant, count in hours.items()}
    cost = used(NOTHING | {"invocations": calls, "shares": shares}, Span(0, 86_400, 3600)).cost(1.89, instances=1)
    assert cost is not None
    assert cost.total_usd == pytest.approx((18 + 2 * 6) * 1.89)


def test_a_component_without_a_copy_costs_nothing() -> None:
    """Awake for one hour of a day."""
    awake = {7 * 3600.0: 60.0}
    told = {"invocations": awake, "shares": awake, "mean_at_once": {7 * 3600.0: 1.0}, "asleep": {6 * 3600.0: 2.0}}
    cost = used(NOTHING | told, Span(0, 86_400, 3600)).cost(1.89, instances=0)
    assert cost is not None
    assert cost.total_usd == pytest.approx(1.89)


def test_hours_that_have_not_passed_cost_nothing_yet() -> None:
    found = used(NOTHING, Span(0, 86_400, 86_400))
    cost = found.cost(1.0, instances=1, created_s=3600.0, now_s=2 * 3600.0)
    assert cost is not None
    assert cost.total_usd == pytest.approx(1.0)


def test_an_answer_that_broke_off_is_none() -> None:
    told = {"invocations": {0.0: 10.0}, "shares": {0.0: 10.0}, "broken": {0.0: 4.0}, "errors_5xx": {0.0: 1.0}}
    assert used(NOTHING | told, Span(0, 3600, 3600)).answered == 5


def test_an_idle_endpoint_costs_what_there_is_of_it_and_no_answer() -> None:
    found = used(NOTHING, Span(0, 1800, 60))
    cost = found.cost(1.41, instances=3)
    assert cost is not None
    assert cost.total_usd == pytest.approx(3 * 0.5 * 1.41)
    assert cost.answer_usd is None
    assert found.cost(1.41, instances=None) is None
    young = found.cost(1.41, instances=3, created_s=1200.0)
    assert young is not None
    assert young.total_usd == pytest.approx(3 * 600 / 3600 * 1.41), "before it was created it cost nothing"
