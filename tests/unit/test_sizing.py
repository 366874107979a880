"""What a day asks of limits and quotas: arithmetic, and what does not go together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mangaassist.routing import policy
from tools import sizing
from tools.sizing import Limits, Need, Traffic

CURRENT = policy.preset("current")
LIMITS = Limits(100, 100, 500, 10, 50, is_provisioned=True, user_per_minute=20)
MILLION = Traffic(1_000_000)


def test_the_busiest_hour_comes_from_the_policys_curve_and_estimates() -> None:
    busy = sizing.load(MILLION, CURRENT)
    assert busy.turns_per_s == pytest.approx(1_000_000 * 0.095 / 3600)
    assert busy.surge_per_s == pytest.approx(1.5 * busy.turns_per_s)
    assert busy.turn_s == pytest.approx(0.9 * (0.5 + 150 * 0.008) + 0.1 * (1.0 + 150 * 0.015))
    assert busy.turns_at_once == pytest.approx(busy.turns_per_s * busy.turn_s)


def test_ten_times_the_messages_are_ten_times_the_turns() -> None:
    one, ten = sizing.load(MILLION, CURRENT), sizing.load(Traffic(10_000_000), CURRENT)
    assert ten.turns_at_once == pytest.approx(10 * one.turns_at_once)


def test_limits_that_go_together_are_not_spoken_of() -> None:
    assert list(sizing.contradictions(LIMITS, sizing.load(MILLION, CURRENT), MILLION)) == []


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (replace(LIMITS, throttle_rate=30), "ThrottleRate 30 is under the busiest minute's 40"),
        (replace(LIMITS, reserved=200), "ReservedConcurrency 200 is under the"),
        (replace(LIMITS, throttle_burst=1000), "ReservedConcurrency 500 is under the"),
        (replace(LIMITS, provisioned=60), "ProvisionedConcurrency is over"),
        (replace(LIMITS, provisioned_peak=501), "PeakProvisionedConcurrency 501 is over"),
        (replace(LIMITS, user_per_minute=700), "one shopper take a tenth"),
    ],
)
def test_what_does_not_go_together_is_named(limits: Limits, told: str) -> None:
    (contradiction,) = sizing.contradictions(limits, sizing.load(MILLION, CURRENT), MILLION)
    assert told in contradiction


def test_without_provisioned_concurrency_its_numbers_do_not_count() -> None:
    limits = replace(LIMITS, is_provisioned=False, provisioned=60)
    assert list(sizing.contradictions(limits, sizing.load(MILLION, CURRENT), MILLION)) == []


def test_lambda_needs_what_is_reserved_and_what_cannot_be() -> None:
    needs = {need.code: need.least for need in sizing.needs(MILLION, CURRENT, LIMITS, "ap-northeast-1") if need.code}
    assert needs["L-B99A9384"] == 600
    shared = sizing.needs(MILLION, CURRENT, replace(LIMITS, reserved=0), "ap-northeast-1")
    busy = sizing.load(MILLION, CURRENT)
    assert shared[0].least == LIMITS.most_at_once(busy, MILLION) + 100


def test_the_fast_class_needs_quota_for_all_turns_and_output_counts_five_times() -> None:
    needs = {need.name: need.least for need in sizing.needs(MILLION, CURRENT, LIMITS, "ap-northeast-1")}
    requests = sizing.load(MILLION, CURRENT).surge_per_s * 60
    fast = CURRENT.targets["ondemand-haiku"]
    burnt = 350 + max(fast.max_tokens, 5 * 150)
    of_fast = "Cross-region model inference {} per minute for Anthropic Claude Haiku 5.5"
    assert needs[of_fast.format("requests")] == pytest.approx(requests, abs=1)
    assert needs[of_fast.format("tokens")] == pytest.approx(requests * burnt, abs=1)
    of_quality = "Cross-region model inference requests per minute for Anthropic Claude Sonnet 4.6"
    assert needs[of_quality] == pytest.approx(requests / 10, abs=1)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (
            "jp.anthropic.claude-sonnet-4-6",
            "Cross-region model inference tokens per minute for Anthropic Claude Sonnet 4.6",
        ),
        ("amazon.nova-pro-v1:0", "On-demand model inference tokens per minute for Amazon Nova Pro V1"),
    ],
)
def test_a_models_quota_has_awss_name(model: str, name: str) -> None:
    assert sizing.quota_name(model, "tokens") == name.format("tokens per minute")


def test_a_quota_is_known_by_its_code_or_else_by_its_name() -> None:
    by_code = Need("lambda", "r", "Concurrent executions", 1, "L-1")
    assert by_code.is_of("L-1", "renamed")
    assert not by_code.is_of("L-2", "Concurrent executions")
    by_name = Need("bedrock", "r", "Tokens for X", 1)
    assert by_name.is_of("L-3", "tokens for x")
    assert not by_name.is_of("L-3", "global tokens for x")
