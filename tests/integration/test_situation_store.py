"""The situation as all environments share it: one query, kept for seconds, and breakers that many write at once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mangaassist.errors import StoreUnavailable
from mangaassist.routing import policy
from mangaassist.routing.situation import Capacity, Health
from mangaassist.routing.store import OUTAGE_PAUSE_S, STALE_LIMIT_S, SituationStore
from tests.integration import tables
from tests.integration.tables import SITUATION, Door, interleaved

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.unit.fakes import FakeClock

PRESET = policy.preset("current")
BREAKER = PRESET.breaker
HAIKU, SONNET = "ondemand-haiku", "provisioned-sonnet"
MIDNIGHT_S = 1_795_618_800.0  # 2026-11-26T00:00:00+09:00
TTL_S = PRESET.limits.situation_ttl_ms / 1000


def document(name: str = "night", **changes: object) -> str:
    """The current preset under another name, changed."""
    return json.dumps(json.loads(policy.preset_document("current")) | {"name": name} | changes)


@dataclass
class Shared:
    """The table, and the environments that share it."""

    dynamodb: DynamoDBClient
    door: Door
    clock: FakeClock
    complaints: list[tuple[int, str]] = field(default_factory=list)

    def environment(self) -> SituationStore:
        return SituationStore(
            self.dynamodb,
            SITUATION,
            default_policy=PRESET,
            now_s=self.clock.now_s,
            monotonic=self.clock.monotonic,
            on_invalid_policy=lambda version, reason: self.complaints.append((version, reason)),
        )

    def put(self, sk: str, **fields: object) -> None:
        tables.put(self.dynamodb, SITUATION, pk="NOW", sk=sk, **fields)

    def publish(self, window: str = "peak", **fields: object) -> None:
        """Publish capacity of the quality class."""
        row = {"arn": "arn", "target": SONNET, "units": 2, "until_s": MIDNIGHT_S, "day": "2026-11-25", "window": window}
        self.put(f"CAPACITY#{window}", **(row | fields))

    def health(self) -> Health:
        """What a new environment sees of the fast target."""
        return self.environment().view().situation.health.get(HAIKU, Health())

    def fail(self, times: int = 1, outcome: str = "unavailable") -> None:
        """Let as many environments meet a failure, one after the other."""
        for _ in range(times):
            store = self.environment()
            store.note_failure(HAIKU, outcome, store.view())

    def pass_time(self, seconds: float) -> None:
        self.clock.sleep(seconds)


@pytest.fixture
def shared(dynamodb: DynamoDBClient, door: Door, clock: FakeClock) -> Shared:
    return Shared(dynamodb, door, clock)


# -- the view ----------------------------------------------------------------------------------------------------------


def test_an_empty_table_is_a_calm_world_under_the_preset(shared: Shared) -> None:
    store = shared.environment()
    assert store.policy is PRESET
    view = store.view()
    assert (view.situation.committed_nano_usd, view.situation.capacity, view.situation.health) == (0, {}, {})
    assert (view.policy, view.policy_version) == (PRESET, 0)


def test_one_query_brings_policy_capacity_health_and_spend(shared: Shared) -> None:
    today = "2026-11-25"
    shared.clock.elapsed_s += MIDNIGHT_S - 60 - shared.clock.now_s()
    shared.put("POLICY", version=3, document=document())
    shared.publish(arn="arn:aws:bedrock:x", saturated_until_s=7.5)
    shared.put(f"HEALTH#{HAIKU}", failures=2, last_failure_s=1.25)
    shared.put(f"SPEND#{today}", committed_nano_usd=42, spent_nano_usd=40, attempts=9)
    shared.put("SPEND#2026-11-24", committed_nano_usd=10**12)
    tables.put(shared.dynamodb, SITUATION, pk="POLICY", sk="0000000003", document="kept, and not read on every turn")
    shared.door.requests.clear()

    view = shared.environment().view()

    assert shared.door.requests == ["Query"]
    assert (view.policy.name, view.policy_version) == ("night", 3)
    assert view.situation.capacity == {SONNET: Capacity("arn:aws:bedrock:x", 2, MIDNIGHT_S, 7.5, "peak", "2026-11-25")}
    assert view.situation.health == {HAIKU: Health(failures=2, last_failure_s=1.25)}
    assert view.situation.committed_nano_usd == 42


def test_a_situation_of_several_pages_is_read_to_its_end(shared: Shared) -> None:
    for number in range(5):
        shared.put(f"HEALTH#{number}", failures=1, padding="x" * 300_000)
    shared.door.requests.clear()
    assert len(shared.environment().view().situation.health) == 5
    assert len(shared.door.requests) > 1


def test_a_view_is_kept_for_its_time_and_no_longer(shared: Shared) -> None:
    store = shared.environment()
    first = store.view()
    shared.put(f"HEALTH#{HAIKU}", failures=1)
    shared.door.requests.clear()
    shared.pass_time(TTL_S - 0.001)
    assert store.view() is first
    assert shared.door.requests == []
    shared.pass_time(0.001)
    assert store.view().situation.health[HAIKU].failures == 1
    assert shared.door.requests == ["Query"]


def test_how_long_a_view_is_kept_is_the_policys_to_say(shared: Shared) -> None:
    shared.put("POLICY", version=1, document=document(limits={"situation_ttl_ms": 60_000}))
    store = shared.environment()
    store.view()
    shared.door.requests.clear()
    shared.pass_time(59.9)
    store.view()
    assert shared.door.requests == []


def test_the_spend_is_that_of_the_japanese_day(shared: Shared) -> None:
    shared.put("SPEND#2026-11-25", committed_nano_usd=25)
    shared.put("SPEND#2026-11-26", committed_nano_usd=26)
    store = shared.environment()
    shared.clock.elapsed_s += MIDNIGHT_S - 1 - shared.clock.now_s()
    assert store.view().situation.committed_nano_usd == 25
    shared.pass_time(TTL_S)
    assert store.view().situation.committed_nano_usd == 26


# -- the policy in force -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ({"document": "{"}, "JSON"),
        ({"document": document(complexity_threshold=2)}, "complexity_threshold"),
        ({"document": ""}, "JSON"),
        ({}, "JSON"),
        ({"document": {"name": "a map, and not its text"}}, "JSON"),
    ],
)
def test_an_invalid_override_is_reported_once_and_the_last_good_one_stays(
    shared: Shared, broken: dict[str, Any], told: str
) -> None:
    store = shared.environment()
    shared.put("POLICY", version=1, document=document("good"))
    assert store.view().policy.name == "good"
    shared.put("POLICY", version=2, **broken)
    for _ in range(3):
        shared.pass_time(TTL_S)
        view = store.view()
        assert (view.policy.name, view.policy_version) == ("good", 1)
    ((version, reason),) = shared.complaints
    assert version == 2
    assert told in reason

    shared.put("POLICY", version=3, document=document("better"))
    shared.pass_time(TTL_S)
    assert (store.view().policy.name, store.view().policy_version) == ("better", 3)
    assert store.policy.name == "better"


def test_an_environment_that_starts_with_an_invalid_override_has_the_preset(shared: Shared) -> None:
    shared.put("POLICY", version=2, document="{")
    view = shared.environment().view()
    assert (view.policy, view.policy_version) == (PRESET, 0)
    assert len(shared.complaints) == 1


def test_a_withdrawn_override_gives_way_to_the_preset(shared: Shared) -> None:
    shared.put("POLICY", version=1, document=document())
    store = shared.environment()
    store.view()
    shared.dynamodb.delete_item(TableName=SITUATION, Key={"pk": {"S": "NOW"}, "sk": {"S": "POLICY"}})
    shared.pass_time(TTL_S)
    view = store.view()
    assert (view.policy, view.policy_version) == (PRESET, 0)
    assert shared.complaints == []


# -- with the table out of reach ---------------------------------------------------------------------------------------


def test_without_any_view_an_unreachable_table_is_told(shared: Shared) -> None:
    shared.door.close()
    with pytest.raises(StoreUnavailable):
        shared.environment().view()


def test_an_old_view_serves_while_the_table_is_out_of_reach_but_not_for_ever(shared: Shared) -> None:
    store = shared.environment()
    last = store.view()
    shared.door.close()
    shared.pass_time(STALE_LIMIT_S)
    assert store.view() is last
    shared.pass_time(0.001)
    with pytest.raises(StoreUnavailable):
        store.view()
    shared.door.open()
    shared.pass_time(OUTAGE_PAUSE_S)
    assert store.view() is not last


def test_a_table_that_did_not_answer_is_left_alone_for_a_moment(shared: Shared) -> None:
    store = shared.environment()
    shared.door.close()
    with pytest.raises(StoreUnavailable):
        store.view()
    shared.door.requests.clear()
    with pytest.raises(StoreUnavailable):
        store.view()
    assert shared.door.requests == [], "a turn does not wait for the same time-out twice"


# -- breakers ----------------------------------------------------------------------------------------------------------


def test_failures_of_different_environments_open_one_breaker(shared: Shared) -> None:
    shared.fail(BREAKER.failures - 1)
    assert shared.health().failures == BREAKER.failures - 1
    assert not shared.health().is_open(shared.clock.now_s())
    shared.fail()
    opened_at_s = shared.clock.now_s()
    assert shared.health().is_open(opened_at_s)
    assert shared.health().open_until_s == opened_at_s + BREAKER.cooldown_ms / 1000


def test_failures_far_apart_are_not_one_trouble(shared: Shared) -> None:
    shared.fail(BREAKER.failures - 1)
    shared.pass_time(BREAKER.forget_ms / 1000 + 0.1)
    shared.fail(BREAKER.failures - 1)
    assert shared.health().failures == BREAKER.failures - 1
    assert not shared.health().is_open(shared.clock.now_s())


def test_a_model_at_its_end_of_life_is_left_alone_at_once(shared: Shared) -> None:
    shared.fail(outcome="retired")
    assert shared.health().is_open(shared.clock.now_s())


@pytest.mark.parametrize("outcome", ["throttled", "denied", "invalid", "cancelled", "deadline", "gone", "filtered"])
def test_what_is_not_the_targets_fault_costs_no_request(shared: Shared, outcome: str) -> None:
    store = shared.environment()
    view = store.view()
    shared.door.requests.clear()
    store.note_failure(HAIKU, outcome, view)
    assert shared.door.requests == []


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choices=st.lists(st.integers(0, 2), max_size=18))
def test_however_failures_interleave_all_are_counted(shared: Shared, choices: list[int]) -> None:
    shared.put("POLICY", version=1, document=document(breaker={"failures": 100}))
    shared.dynamodb.delete_item(TableName=SITUATION, Key={"pk": {"S": "NOW"}, "sk": {"S": f"HEALTH#{HAIKU}"}})
    stores = [shared.environment() for _ in range(3)]
    views = [store.view() for store in stores]
    pairs = zip(stores, views, strict=True)
    interleaved(shared.door, choices, *(partial(store.note_failure, HAIKU, "cut", view) for store, view in pairs))
    assert shared.health().failures == 3


def test_a_cooled_down_breaker_lets_exactly_one_of_many_probe(shared: Shared) -> None:
    shared.fail(BREAKER.failures)
    assert not shared.environment().acquire(HAIKU), "it is still cooling down"
    shared.pass_time(BREAKER.cooldown_ms / 1000)
    assert shared.health().is_half_open(shared.clock.now_s())
    with ThreadPoolExecutor(50) as pool:
        granted = list(pool.map(lambda store: store.acquire(HAIKU), [shared.environment()] * 50))
    assert granted.count(True) == 1
    assert shared.health().is_open(shared.clock.now_s()), "to everyone but the one who probes"


def test_a_probe_that_never_reports_is_handed_out_again(shared: Shared) -> None:
    shared.fail(BREAKER.failures)
    shared.pass_time(BREAKER.cooldown_ms / 1000)
    store = shared.environment()
    assert store.acquire(HAIKU)
    shared.pass_time(BREAKER.probe_ms / 1000 - 0.1)
    assert not store.acquire(HAIKU)
    shared.pass_time(0.1)
    assert store.acquire(HAIKU)


def test_a_probe_that_succeeds_closes_the_breaker_for_all(shared: Shared) -> None:
    shared.fail(BREAKER.failures)
    shared.pass_time(BREAKER.cooldown_ms / 1000)
    prober = shared.environment()
    view = prober.view()
    assert prober.acquire(HAIKU)
    prober.note_success(HAIKU, view)
    assert shared.health() == Health()


def test_failed_probes_double_the_cooldown_up_to_its_limit(shared: Shared) -> None:
    shared.fail(BREAKER.failures)
    cooldowns = []
    for _ in range(6):
        health = shared.health()
        cooldowns.append(health.cooldown_ms)
        assert health.open_until_s == shared.clock.now_s() + health.cooldown_ms / 1000
        shared.pass_time(health.cooldown_ms / 1000)
        assert shared.environment().acquire(HAIKU)
        shared.pass_time(0.5)
        shared.fail()
    assert cooldowns == [10_000, 20_000, 40_000, 80_000, 120_000, 120_000]


def test_a_late_failure_of_a_call_from_before_changes_nothing_of_an_open_breaker(shared: Shared) -> None:
    shared.fail(BREAKER.failures)
    before = shared.health()
    shared.pass_time(1)
    shared.fail()
    assert shared.health() == before


def test_a_success_forgets_only_the_failures_that_it_knew_of(shared: Shared) -> None:
    slow = shared.environment()
    shared.fail()
    known = slow.view()
    shared.pass_time(1)
    shared.fail()
    slow.note_success(HAIKU, known)
    assert shared.health().failures == 2, "the newer failure came after what this success says"
    slow.note_success(HAIKU, shared.environment().view())
    assert shared.health() == Health()


def test_a_success_of_a_sound_target_costs_no_request(shared: Shared) -> None:
    store = shared.environment()
    view = store.view()
    shared.door.requests.clear()
    store.note_success(HAIKU, view)
    assert shared.door.requests == []


def test_a_breaker_that_was_closed_meanwhile_has_no_probe_to_hand_out(shared: Shared) -> None:
    shared.fail(BREAKER.failures)
    shared.pass_time(BREAKER.cooldown_ms / 1000)
    late, prober = shared.environment(), shared.environment()
    late.view()
    view = prober.view()
    assert prober.acquire(HAIKU)
    prober.note_success(HAIKU, view)
    shared.fail()  # a single new failure: the breaker stays closed
    assert not late.acquire(HAIKU)
    assert not shared.health().is_open(shared.clock.now_s()), "a probe of nothing must not bar everyone else"


# -- saturation --------------------------------------------------------------------------------------------------------


def test_throttled_capacity_counts_as_full_for_a_moment(shared: Shared) -> None:
    shared.publish()
    store = shared.environment()
    store.note_failure(SONNET, "throttled", store.view())
    capacity = shared.environment().view().situation.capacity[SONNET]
    assert capacity.saturated_until_s == shared.clock.now_s() + PRESET.limits.saturated_ms / 1000
    assert shared.health() == Health(), "being busy is not being ill"


def test_what_is_not_published_is_never_saturated(shared: Shared) -> None:
    store = shared.environment()
    view = store.view()
    shared.door.requests.clear()
    store.note_failure(SONNET, "throttled", view)
    assert shared.door.requests == []


def test_capacity_that_was_withdrawn_meanwhile_does_not_come_back_as_a_stump(shared: Shared) -> None:
    shared.publish()
    store = shared.environment()
    view = store.view()
    shared.dynamodb.delete_item(TableName=SITUATION, Key={"pk": {"S": "NOW"}, "sk": {"S": "CAPACITY#peak"}})
    store.note_failure(SONNET, "throttled", view)
    assert shared.environment().view().situation.capacity == {}


def test_what_was_withdrawn_leaves_a_row_that_no_turn_sees(shared: Shared) -> None:
    shared.put("CAPACITY#peak", fence=4, draining={"arn": 5.0}, target=SONNET, units=2, until_s=MIDNIGHT_S)
    assert shared.environment().view().situation.capacity == {}


def test_of_two_windows_for_one_target_the_one_that_serves_longer_is_used(shared: Shared) -> None:
    shared.publish("peak", arn="long")
    shared.publish("business", arn="short", until_s=MIDNIGHT_S - 3600)
    assert shared.environment().view().situation.capacity[SONNET].arn == "long"


def test_what_took_the_place_of_throttled_capacity_is_not_full(shared: Shared) -> None:
    shared.publish(arn="old")
    store = shared.environment()
    view = store.view()
    shared.publish(arn="new")
    store.note_failure(SONNET, "throttled", view)
    assert shared.environment().view().situation.capacity[SONNET].saturated_until_s == 0


def test_capacity_that_refuses_calls_is_not_asked_again_on_every_turn(shared: Shared) -> None:
    shared.publish()
    store = shared.environment()
    store.note_failure(SONNET, "denied", store.view())
    assert shared.environment().view().situation.health[SONNET].is_open(shared.clock.now_s())


def test_a_view_says_that_an_invalid_override_is_ignored(shared: Shared) -> None:
    store = shared.environment()
    assert store.view().ignored_version == 0
    shared.put("POLICY", version=4, document="{}")
    shared.pass_time(TTL_S)
    view = store.view()
    assert (view.ignored_version, view.policy) == (4, PRESET)
    shared.put("POLICY", version=5, document=document())
    shared.pass_time(TTL_S)
    assert store.view().ignored_version == 0
