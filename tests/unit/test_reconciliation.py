"""A day's books against what Bedrock counted: which models, in which regions, and by how much the two differ."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest

from mangaassist.errors import ControlPlaneError
from mangaassist.money.bookkeeper import Bookkeeper
from mangaassist.money.books import Books, Sum
from mangaassist.money.reconciliation import Meter, Metered, Reconciliation, reconcile
from mangaassist.routing import policy

if TYPE_CHECKING:
    from collections.abc import Iterable

DAY = date(2026, 11, 25)
POLICY = policy.preset("current")
HAIKU, SONNET = (POLICY.model_of(name).id for name in ("ondemand-haiku", "ondemand-sonnet"))
BOUGHT = "arn:aws:bedrock:us-west-2:123456789012:provisioned-model/abcdefghijkl"


def books(**sums: Sum) -> Books:
    found = Books(DAY)
    found.by["model"] = dict(sums)
    return found


def counted(input_tokens: int, output_tokens: int, cached: int = 0) -> Sum:
    return Sum(calls=2, input_tokens=input_tokens, output_tokens=output_tokens, cache_read_tokens=cached)


class Told:
    """A meter that remembers what it was asked for."""

    def __init__(self, **used: Metered) -> None:
        self._used = used
        self.asked: tuple[set[str], set[str]] = (set(), set())

    def used(self, models: Iterable[str], regions: Iterable[str], day: date) -> dict[str, Metered]:
        self.asked = (set(models), set(regions))
        return {model: self._used.get(model, Metered()) for model in self.asked[0]}


def reconciled(ours: dict[str, Sum], theirs: dict[str, Metered]) -> Reconciliation:
    return reconcile(books(**ours), POLICY, Told(**theirs))


def test_the_same_tokens_do_not_drift() -> None:
    assert reconciled({HAIKU: counted(100, 50)}, {HAIKU: Metered(100, 50)}).drift_percent == 0


def test_drift_is_of_what_bedrock_counted() -> None:
    found = reconciled(
        {HAIKU: counted(90, 50), SONNET: counted(100, 20)}, {HAIKU: Metered(100, 50), SONNET: Metered(100, 30)}
    )
    assert found.drift_percent == pytest.approx(100 * 20 / 280)


def test_too_much_in_one_model_does_not_make_up_for_too_little_in_another() -> None:
    found = reconciled({HAIKU: counted(90, 0), SONNET: counted(110, 0)}, {HAIKU: Metered(100), SONNET: Metered(100)})
    assert found.drift_percent == pytest.approx(10)


def test_what_bedrock_never_counted_drifts_wholly() -> None:
    assert reconciled({HAIKU: counted(90, 10)}, {}).drift_percent == 100
    assert reconciled({}, {}).drift_percent == 0


def test_a_model_whose_lines_are_all_missing_drifts_wholly() -> None:
    found = reconciled({HAIKU: counted(90, 10)}, {HAIKU: Metered(90, 10), SONNET: Metered(50, 50)})
    assert found.drift_percent == pytest.approx(50)
    assert reconciled({}, {SONNET: Metered(10, 0)}).drift_percent == 100


def test_cached_tokens_may_be_in_the_input_or_not() -> None:
    ours = {HAIKU: counted(100, 50, cached=900)}
    assert reconciled(ours, {HAIKU: Metered(1000, 50)}).drift_percent == 0
    assert reconciled(ours, {HAIKU: Metered(100, 50)}).drift_percent == 0
    assert reconciled(ours, {HAIKU: Metered(500, 50)}).drift_percent > 50


def test_models_of_turns_are_asked_for_where_they_are_called() -> None:
    told = Told()
    own = POLICY.model_of("sagemaker-custom").id
    ours = {
        HAIKU: counted(1, 1),
        BOUGHT: counted(1, 1),
        own: counted(1, 1),
        "amazon.titan-embed-text-v2:0": counted(1, 0),
    }
    reconcile(books(**ours), POLICY, told)
    assert told.asked == ({HAIKU, SONNET, BOUGHT}, {"ap-northeast-1", "us-east-1", "us-west-2"})


class CloudWatch:
    """Answers each query with the same two hours, and remembers what it was asked."""

    def __init__(self, status: str = "Complete") -> None:
        self.status = status
        self.requests: list[dict[str, Any]] = []

    def get_metric_data(self, **request: Any) -> Any:
        self.requests.append(request)
        hours = [datetime(2026, 11, 25, hour, tzinfo=UTC) for hour in (1, 2)]
        return {
            "MetricDataResults": [
                {"Id": it["Id"], "Timestamps": hours, "Values": [1.0, 2.0], "StatusCode": self.status}
                for it in request["MetricDataQueries"]
            ]
        }


def test_a_day_of_japan_is_added_up_over_its_hours_and_regions() -> None:
    clients: dict[str, CloudWatch] = {}
    meter = Meter(lambda region: clients.setdefault(region, CloudWatch()))
    found = meter.used([HAIKU, SONNET], ["us-east-1", "ap-northeast-1"], DAY)
    assert found == {HAIKU: Metered(6, 6), SONNET: Metered(6, 6)}
    assert set(clients) == {"us-east-1", "ap-northeast-1"}
    (request,) = clients["us-east-1"].requests
    assert (request["StartTime"], request["EndTime"]) == (
        datetime(2026, 11, 24, 15, tzinfo=UTC),
        datetime(2026, 11, 25, 15, tzinfo=UTC),
    )
    stat = request["MetricDataQueries"][0]["MetricStat"]
    assert (stat["Metric"]["Namespace"], stat["Metric"]["MetricName"]) == ("AWS/Bedrock", "InputTokenCount")
    assert stat["Metric"]["Dimensions"] == [{"Name": "ModelId", "Value": sorted([HAIKU, SONNET])[0]}]
    assert (stat["Period"], stat["Stat"]) == (3600, "Sum")


def test_no_model_asks_for_no_metric() -> None:
    assert Meter(lambda region: CloudWatch()).used([], ["us-east-1"], DAY) == {}


def test_a_metric_that_cannot_be_told_is_a_failure_and_not_a_zero() -> None:
    with pytest.raises(ControlPlaneError):
        Meter(lambda region: CloudWatch("InternalError")).used([HAIKU], ["us-east-1"], DAY)


def test_yesterday_is_japans() -> None:
    asked: list[date] = []

    class Reader:
        def books(self, day: date) -> Books:
            asked.append(day)
            return Books(day)

    class Situation:
        policy = POLICY

        def view(self) -> Situation:
            return self

    after_midnight_s = datetime(2026, 11, 25, 18, 30, tzinfo=UTC).timestamp()  # 03:30 of the 26th in Japan
    keeper = Bookkeeper(Reader(), Situation(), Told(), lambda: after_midnight_s)
    assert keeper.take({"day": "yesterday"}).day == DAY
    assert keeper.take({"day": "2026-11-01"}).day == date(2026, 11, 1)
    assert asked == [DAY, date(2026, 11, 1)]
