"""`make capacity` status and report: what is known of each window, and that looking at it changes nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mangaassist.capacity.use import Use
from mangaassist.routing import policy
from mangaassist.routing.policies import PolicyStore
from tests.integration import tables
from tests.integration.capacity_shop import BOUGHT, DAY, NOVA_PRO, at, evening, purchase
from tests.integration.tables import SITUATION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.integration.capacity_shop import Evening


@pytest.fixture
def run(dynamodb: DynamoDBClient) -> Iterator[Evening]:
    with evening(dynamodb) as made:
        yield made


# -- status ------------------------------------------------------------------------------------------------------------


def test_status_says_of_each_window_what_serves_what_is_asked_of_it_and_what_it_costs(run: Evening) -> None:
    run.serves()
    run.publishes()
    run.used("18:10", Use(requests=10, input_tokens=500, output_tokens=100))
    run.used("19:26", Use(requests=5, input_tokens=800, output_tokens=200, throttled=1, spilled=2))
    run.used("19:30", Use(requests=9, input_tokens=900))  # this minute is not over
    run.owns(purchase(f"shop_peak_{DAY}"))
    told = json.loads(run("status", "--json").stdout)
    assert (told["now"], told["owner"], told["mode"]) == (f"{DAY}T19:30:00+09:00", "shop-ap-northeast-1", "dry-run")
    business, peak = told["windows"]
    assert (peak["window"], peak["hours"], peak["units"], peak["is_under_way"]) == ("peak", "18:00-24:00", 2, True)
    assert peak["published"] == {"arn": BOUGHT, "units": 2, "until": f"{DAY}T23:59:00+09:00"}
    (alive,) = peak["alive"]
    assert (alive["status"], alive["units"], alive["since"]) == ("InService", 2, f"{DAY}T17:30:00+09:00")
    assert alive["tags"] == {"owner": "shop-ap-northeast-1", "window": "peak", "day": DAY}
    assert alive["hour_usd"] == 2
    assert (peak["state"], peak["unit_hours"], peak["cost_usd"]) == ("serving", 4, 4)
    assert (peak["last_minutes"]["requests_per_minute"], peak["last_minutes"]["tokens_per_minute"]) == (1, 200)
    so_far = peak["so_far"]
    assert (so_far["minutes"], so_far["requests"], so_far["tokens"]) == (90, 24, 2500)
    assert so_far["mean_share"] == pytest.approx(2500 / 90 / 2000)
    assert so_far["busiest_share"] == 0.5
    assert (so_far["throttled"], so_far["spilled"]) == (1, 2)
    assert (peak["next_units"], peak["next_units_by"]) == (1, DAY)
    assert (business["published"], business["alive"], business["state"], business["next_units"]) == (None, [], "", None)


def test_status_is_a_table_in_which_an_unverified_price_is_called_assumed(run: Evening) -> None:
    run.serves()
    run.publishes()
    run.owns(purchase(f"shop_peak_{DAY}"))
    shown = run("status").stdout
    assert "shop-ap-northeast-1 at 2026-11-23 19:30 JST: capacity in us-east-1, mode dry-run" in shown
    assert "4.00 unit-hours, $4.00 assumed" in shown
    assert "2 units until 11-23 23:59" in shown
    assert "nothing: turns go on demand" in shown
    run.register.note("peak", DAY, price_verified=True)
    run.owns(purchase(f"shop_peak_{DAY}"))
    assert "4.00 unit-hours, $4.00 assumed" not in run("status").stdout


def test_status_shows_what_is_ours_although_no_window_wants_it_and_nothing_of_others(run: Evening) -> None:
    run.owns(purchase(f"shop_dawn_{DAY}"), purchase(f"stranger_peak_{DAY}", BOUGHT.replace("abc", "xyz")))
    told = json.loads(run("status", "--json").stdout)
    assert [other["tags"]["window"] for other in told["others"]] == ["dawn"]
    assert [window["alive"] for window in told["windows"]] == [[], []]


def test_what_was_published_until_now_is_published_no_more(run: Evening) -> None:
    run.publishes(until="19:30")
    run.owns()
    assert json.loads(run("status", "--json").stdout)["windows"][1]["published"] is None


def test_status_sizes_a_window_that_has_not_served_today_by_its_last_day(run: Evening) -> None:
    day = "2026-11-21"
    run.serves(day=day, gone_s=at("19:00", day))
    for minute in range(60):  # 2,400 tokens in every minute, of 800 that a unit should carry
        run.used(f"18:{minute:02}", Use(requests=1, input_tokens=2400), day=day)
    run.owns()
    peak = json.loads(run("status", "--json").stdout)["windows"][1]
    assert (peak["next_units"], peak["next_units_by"]) == (3, day)


def test_status_follows_the_override_in_force(run: Evening, dynamodb: DynamoDBClient) -> None:
    current = json.loads(policy.preset_document("current"))
    PolicyStore(dynamodb, SITUATION).put(json.dumps(current | {"windows": current["windows"][:1]}), 0, "yuki")
    run.owns()
    told = json.loads(run("status", "--json").stdout)
    assert [window["window"] for window in told["windows"]] == ["business"]


def test_status_writes_nothing(run: Evening, dynamodb: DynamoDBClient) -> None:
    run.owns()
    assert run("status").exit_code == 0
    assert tables.everything(dynamodb, SITUATION) == []


# -- report ------------------------------------------------------------------------------------------------------------


def test_report_says_what_a_window_cost_and_what_its_tokens_would_have_cost_on_demand(run: Evening) -> None:
    run.serves(state="closed", reason="its window has ended", gone_s=at("19:30"))
    run.used("18:10", Use(requests=21, input_tokens=600_000, output_tokens=400_000, failed=1, spilled=3))
    told = json.loads(run("report", "--json").stdout)
    (day,) = told["days"]
    assert (day["window"], day["day"], day["units"]) == ("peak", DAY, 2)
    assert (day["since"], day["until"]) == (f"{DAY}T17:30:00+09:00", f"{DAY}T19:30:00+09:00")
    assert (day["unit_hours"], day["cost_usd"]) == (4, 4)
    assert (day["requests"], day["answers"], day["tokens"]) == (21, 20, 1_000_000)
    assert (day["cost_per_1000_answers_usd"], day["cost_per_1m_tokens_usd"]) == (200, 4)
    assert day["on_demand_usd"] == pytest.approx(0.6 * 0.8 + 0.4 * 3.2)  # the policy's list price of Nova Pro
    assert day["is_on_demand_verified"] is False
    assert (day["spilled"], day["state"], day["reason"]) == (3, "closed", "its window has ended")
    assert told["total"]["cost_usd"] == 4


def test_report_is_a_table_with_totals_and_the_reasons_below(run: Evening) -> None:
    run.serves(state="closed", reason="its window has ended", gone_s=at("19:30"))
    run.serves("business", units=1, price_verified=True, state="given_up", gone_s=at("18:30"))
    run.used("18:10", Use(requests=20, input_tokens=600_000, output_tokens=400_000))
    shown = run("report").stdout
    assert "$4.00 assumed" in shown
    assert "$1.76" in shown
    assert "unverified" in shown
    assert "$200.00 / 1,000 answers" in shown
    assert "given up" in shown
    assert "5.00 unit-hours" in shown
    assert "peak of 2026-11-23 is closed: its window has ended" in shown


def test_report_reaches_back_as_many_days_as_are_asked_for(run: Evening) -> None:
    for day in ("2026-11-20", "2026-11-21", "2026-11-22"):
        run.serves(day=day, gone_s=at("19:00", day))

    def days(*arguments: str) -> list[str]:
        return [day["day"] for day in json.loads(run("report", *arguments, "--json").stdout)["days"]]

    assert days() == []
    assert days("2026-11-21") == ["2026-11-21"]
    assert days("2026-11-21", "--days", "2") == ["2026-11-20", "2026-11-21"]
    assert days("--days", "3") == ["2026-11-21", "2026-11-22"]
    assert run("report").stdout == "nothing is on record for 2026-11-23\n"


def test_report_of_a_model_that_the_policy_does_not_know_any_more_compares_nothing(run: Evening) -> None:
    run.serves(model="retired", gone_s=at("19:00"))
    (day,) = json.loads(run("report", "--json").stdout)["days"]
    assert (day["on_demand_usd"], day["cost_per_1000_answers_usd"]) == (None, None)
    assert run("report").exit_code == 0


def test_a_window_that_was_never_bought_costs_nothing(run: Evening) -> None:
    run.register.note("peak", DAY, state="dry_run", reason="would buy 2 x it", units=2, model=NOVA_PRO)
    (day,) = json.loads(run("report", "--json").stdout)["days"]
    assert (day["cost_usd"], day["since"], day["purchases"], day["next_units"]) == (0, None, 0, None)
    assert "peak of 2026-11-23 is dry run: would buy 2 x it" in run("report").stdout
