"""The daily look at the models: when each ends, which one comes first, and what a probe tells and costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, cast

import pytest

from mangaassist.clock import Clock
from mangaassist.errors import Rejected
from mangaassist.routing import policy
from mangaassist.routing.lifecycle.findings import (
    Finding,
    Life,
    asked_of_bedrock,
    called_on_demand,
    findings,
    foundation_model,
    soonest_end,
)
from mangaassist.routing.lifecycle.probe import MOST_TOKENS, NOT_PAID, TRIES, USER, Prober
from tests.unit.fakes import After, FakeClock, FakePurse, ScriptedBackend, answer, fails, hangs

if TYPE_CHECKING:
    from mangaassist.money.ledger import Ledger, Reservation, TurnAccount

POLICY = policy.preset("current")
TODAY = date(2026, 11, 23)
TOKYO, VIRGINIA = "ap-northeast-1", "us-east-1"
SONNET, HAIKU = "anthropic.claude-sonnet-4-6", "anthropic.claude-haiku-5-5"
OFFERED = {
    TOKYO: {SONNET: Life("ACTIVE"), HAIKU: Life("ACTIVE")},
    VIRGINIA: {"amazon.nova-pro-v1:0": Life("ACTIVE"), "amazon.nova-2-lite-v1:0": Life("ACTIVE")},
}
TARGET = POLICY.targets["ondemand-haiku"]


def look(tokyo: dict[str, Life] | None = None, **probes: str) -> dict[str, Finding]:
    """The findings by model, with other facts of Tokyo's."""
    lives = OFFERED | {TOKYO: OFFERED[TOKYO] | (tokyo or {})}
    named = {name.replace("_", "-"): outcome for name, outcome in probes.items()}
    return {it.model: it for it in findings(POLICY, lives, named, TODAY)}


@pytest.mark.parametrize(
    ("model_id", "base"),
    [
        ("jp.anthropic.claude-haiku-5-5", HAIKU),
        ("global.anthropic.claude-haiku-5-5", HAIKU),
        ("us-gov.amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        (HAIKU, HAIKU),
        ("deepseek.v3.1", "deepseek.v3.1"),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc", None),
        ("arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc", None),
    ],
)
def test_a_profile_is_as_good_as_the_model_behind_it(model_id: str, base: str | None) -> None:
    assert foundation_model(model_id) == base


def test_every_model_of_bedrocks_is_looked_at_and_only_those_on_demand_are_called() -> None:
    assert {it.name for it in asked_of_bedrock(POLICY)} == set(POLICY.targets) - {"sagemaker-custom"}
    assert {it.name for it in called_on_demand(POLICY)} == {"ondemand-sonnet", "ondemand-haiku"}
    assert set(look()) == {"sonnet-4-6", "haiku-5-5", "nova-pro", "nova-2-lite"}


def test_the_earlier_end_counts_whoever_names_it() -> None:
    in_policy = POLICY.models["haiku-5-5"].end_of_life
    assert in_policy is not None
    assert look()["haiku-5-5"].ends_on == in_policy
    sooner, later = in_policy - timedelta(days=1), in_policy + timedelta(days=1)
    assert look({HAIKU: Life("LEGACY", sooner)})["haiku-5-5"].ends_on == sooner
    assert look({HAIKU: Life("LEGACY", later)})["haiku-5-5"].ends_on == in_policy


def test_an_end_that_nobody_has_named_is_no_end() -> None:
    assert look()["sonnet-4-6"].days_left is None
    assert soonest_end(look().values()) == (date(2027, 10, 7) - TODAY).days


def test_the_first_end_of_all_is_what_matters() -> None:
    found = look({SONNET: Life("LEGACY", TODAY + timedelta(days=89))})
    assert soonest_end(found.values()) == 89
    past = look({SONNET: Life("LEGACY", TODAY - timedelta(days=2))})
    assert soonest_end(past.values()) == 0
    assert soonest_end([]) is None


def test_a_model_that_is_not_listed_any_more_is_at_its_end() -> None:
    lives = OFFERED | {TOKYO: {HAIKU: Life("ACTIVE")}}
    found = {it.model: it for it in findings(POLICY, lives, {}, TODAY)}
    assert (found["sonnet-4-6"].status, found["sonnet-4-6"].days_left) == ("UNLISTED", 0)
    assert found["haiku-5-5"].status == "ACTIVE"


def test_a_finding_has_the_probes_of_its_model_and_a_busy_model_has_not_failed() -> None:
    found = look(ondemand_sonnet="throttled", ondemand_haiku="denied")
    assert (found["sonnet-4-6"].probes, found["sonnet-4-6"].failed) == ({"ondemand-sonnet": "throttled"}, ())
    assert found["haiku-5-5"].failed == ("ondemand-haiku",)
    assert found["nova-pro"].probes == {}


# -- probes ------------------------------------------------------------------------------------------------------------


@dataclass
class Books:
    """A ledger in memory."""

    purse: FakePurse = field(default_factory=FakePurse)
    accounts: list[TurnAccount] = field(default_factory=list)

    def reserve(self, nano_usd: int, limit_nano_usd: int) -> Reservation | None:
        return self.purse.reserve(nano_usd, limit_nano_usd)

    def settle(self, account: TurnAccount) -> None:
        self.accounts.append(account)


class Laboratory:
    """A prober over scripted models, time and money."""

    def __init__(self, *scripts: list[After], books: Books | None = None) -> None:
        clock = FakeClock()
        self.books = books or Books()
        self.backend = ScriptedBackend(clock, {"ondemand-haiku": list(scripts)})
        times = Clock(clock.now_s, clock.monotonic, clock.sleep)
        self.outcome = Prober(self.backend, cast("Ledger", self.books), times).probe(TARGET, POLICY)


def test_a_model_that_answers_is_alive_and_its_few_tokens_are_in_the_books() -> None:
    laboratory = Laboratory(answer("OK"))
    assert laboratory.outcome == "answered"
    (call,) = laboratory.backend.calls
    assert (call.model_id, call.max_tokens, call.system) == ("jp.anthropic.claude-haiku-5-5", MOST_TOKENS, "")
    (account,) = laboratory.books.accounts
    assert (account.user_id, account.reason, account.finish) == (USER, "probe", "answered")
    assert 0 < account.cost_nano_usd < 100_000
    assert account.attempts[0].reservation is not None


@pytest.mark.parametrize("outcome", ["unavailable", "cut", "garbled"])
def test_one_bad_moment_is_no_failure_and_three_are(outcome: str) -> None:
    assert Laboratory(fails(outcome), answer("OK")).outcome == "answered"
    laboratory = Laboratory(fails(outcome))
    assert laboratory.outcome == outcome
    assert len(laboratory.backend.calls) == len(laboratory.books.accounts) == TRIES


def test_a_model_that_says_nothing_is_given_up_three_times() -> None:
    laboratory = Laboratory(hangs())
    assert (laboratory.outcome, len(laboratory.backend.calls)) == ("silent", TRIES)
    assert all(stream.closed for stream in laboratory.backend.streams)


@pytest.mark.parametrize("outcome", ["throttled", "retired"])
def test_what_another_try_cannot_change_is_not_tried_again(outcome: str) -> None:
    laboratory = Laboratory(fails(outcome))
    assert (laboratory.outcome, len(laboratory.backend.calls)) == (outcome, 1)


def test_a_refusal_is_final() -> None:
    laboratory = Laboratory([After(0.01, Rejected("denied"))])
    assert (laboratory.outcome, len(laboratory.backend.calls)) == ("denied", 1)


def test_a_day_whose_money_is_spent_pays_for_no_probe() -> None:
    laboratory = Laboratory(answer("OK"), books=Books(FakePurse(limit_nano_usd=0)))
    assert (laboratory.outcome, laboratory.backend.calls) == (NOT_PAID, [])
