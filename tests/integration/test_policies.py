"""The operators' side of the policy: nothing is lost that was in force, and nobody replaces what they have not seen."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mangaassist.errors import PolicyConflict, PolicyInvalid, StoreUnavailable
from mangaassist.routing import policy
from mangaassist.routing.policies import MOST_BYTES, InForce, PolicyStore, Version
from mangaassist.routing.store import SituationStore
from tests.integration import tables
from tests.integration.tables import SITUATION, interleaved

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.integration.tables import Door
    from tests.unit.fakes import FakeClock


def document(name: str = "night", **changes: object) -> str:
    """The current preset under another name, changed."""
    return json.dumps(json.loads(policy.preset_document("current")) | {"name": name} | changes)


@pytest.fixture
def policies(dynamodb: DynamoDBClient, clock: FakeClock) -> PolicyStore:
    return PolicyStore(dynamodb, SITUATION, now_s=clock.now_s)


def names(policies: PolicyStore) -> list[str]:
    """What is kept, newest first."""
    return [f"{version.number} {version.name}" for version in policies.versions()]


# -- putting -----------------------------------------------------------------------------------------------------------


def test_at_first_nothing_overrides_the_preset(policies: PolicyStore) -> None:
    assert policies.in_force() == InForce(version=0, document=None)
    assert policies.versions() == ()


def test_a_document_that_is_put_is_in_force_and_kept(policies: PolicyStore, clock: FakeClock) -> None:
    clock.elapsed_s += 1_795_618_800.0 - clock.now_s()
    text = document()
    assert policies.put(text, 0, by="akira", note="for the night") == 1
    assert policies.in_force() == InForce(1, text)
    kept = Version(1, text, "night", "2026-11-26T00:00:00+09:00", "akira", "for the night", "", "")
    assert policies.version(1) == kept
    assert policies.versions() == (kept,)


def test_environments_take_up_what_is_put_and_let_go_of_what_is_withdrawn(
    policies: PolicyStore, dynamodb: DynamoDBClient, clock: FakeClock
) -> None:
    environment = SituationStore(
        dynamodb,
        SITUATION,
        default_policy=policy.preset("current"),
        now_s=clock.now_s,
        monotonic=clock.monotonic,
        on_invalid_policy=lambda version, reason: pytest.fail(f"{version}: {reason}"),
    )
    seen = []
    steps: list[Callable[[], object]] = [
        lambda: None,
        lambda: policies.put(document("one"), 0, "akira"),
        lambda: policies.withdraw(1, "akira"),
        lambda: policies.put(document("two"), 0, "akira"),
        lambda: policies.rollback(1, 2, "akira"),
    ]
    for step in steps:
        step()
        clock.sleep(3)
        view = environment.view()
        seen.append(f"{view.policy_version} {view.policy.name}")
    assert seen == ["0 current", "1 one", "0 current", "2 two", "3 one"]


def test_a_number_is_never_used_twice_even_if_no_environment_looked_between(policies: PolicyStore) -> None:
    assert policies.put(document("one"), 0, "akira") == 1
    policies.withdraw(1, "akira")
    assert policies.put(document("two"), 0, "akira") == 2
    assert names(policies) == ["2 two", "1 one"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (document(complexity_threshold=2), "complexity_threshold: .* less than or equal to 1"),
        ("{", "Invalid JSON"),
        (document(colour="red"), "colour: Extra inputs"),
    ],
)
def test_an_invalid_document_is_refused_by_field_and_reason_and_not_written(
    policies: PolicyStore, dynamodb: DynamoDBClient, text: str, told: str
) -> None:
    with pytest.raises(PolicyInvalid, match=told):
        policies.put(text, 0, "akira")
    assert tables.everything(dynamodb, SITUATION) == []


def test_a_document_that_no_item_can_hold_is_refused_in_words(policies: PolicyStore, dynamodb: DynamoDBClient) -> None:
    room = MOST_BYTES - len((document() + "night" + "akira" + "漫画").encode())
    with pytest.raises(PolicyInvalid, match="document: with its note it has 400,001 bytes"):
        policies.put(document() + " " * (room + 1), 0, "akira", "漫画")
    assert tables.everything(dynamodb, SITUATION) == []
    policies.put(document() + " " * room, 0, "akira", "漫画")
    policies.withdraw(1, "akira" * 20)
    item = tables.get(dynamodb, SITUATION, "POLICY", "0000000001")
    size = sum(len(f"{name}{value}".encode()) for name, value in item.items())
    assert size <= 400 * 1024


# -- two operators -----------------------------------------------------------------------------------------------------


def test_a_policy_that_replaces_another_than_its_operator_saw_is_not_written(
    policies: PolicyStore, dynamodb: DynamoDBClient
) -> None:
    policies.put(document("one"), 0, "akira")
    before = tables.everything(dynamodb, SITUATION)
    for late in (
        lambda: policies.put(document("late"), 0, "yuki"),
        lambda: policies.put(document("late"), 2, "yuki"),
        lambda: policies.rollback(1, 0, "yuki"),
        lambda: policies.withdraw(2, "yuki"),
        lambda: policies.withdraw(0, "yuki"),
    ):
        with pytest.raises(PolicyConflict):
            late()
    assert tables.everything(dynamodb, SITUATION) == before


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    choices=st.lists(st.integers(0, 2), max_size=20),
    whats=st.lists(st.sampled_from(["put", "rollback", "withdraw"]), min_size=3, max_size=3),
)
def test_of_operators_at_once_one_succeeds_and_the_others_are_told(
    policies: PolicyStore, door: Door, choices: list[int], whats: list[str]
) -> None:
    base = policies.put(document("base"), policies.in_force().version, "akira")
    kept_before = names(policies)

    def operate(number: int, what: str) -> str:
        operator = f"operator-{number}"
        try:
            if what == "put":
                return f"{policies.put(document(operator), base, operator)} {operator}"
            if what == "rollback":
                return f"{policies.rollback(base, base, operator)} base"
            policies.withdraw(base, operator)
        except PolicyConflict:
            return "conflict"
        return "withdrawn"

    told = interleaved(door, choices, *(partial(operate, *case) for case in enumerate(whats)))

    (success,) = [outcome for outcome in told if outcome != "conflict"]
    found = policies.in_force()
    if success == "withdrawn":
        assert (found, names(policies)) == (InForce(), kept_before)
        assert policies.version(base).withdrawn_by == f"operator-{told.index(success)}"
    else:
        assert names(policies) == [success, *kept_before]
        assert success.startswith(f"{found.version} ")
        assert found.document == policies.version(found.version).document


# -- going back --------------------------------------------------------------------------------------------------------


def test_a_rollback_puts_the_same_document_as_a_new_version(policies: PolicyStore) -> None:
    policies.put(document("one"), 0, "akira")
    policies.put(document("two"), 1, "akira")
    assert policies.rollback(1, 2, by="yuki") == 3
    assert policies.in_force() == InForce(3, document("one"))
    assert names(policies) == ["3 one", "2 two", "1 one"]
    newest = policies.version(3)
    assert (newest.written_by, newest.note) == ("yuki", "version 1 again")


def test_what_is_not_kept_or_no_longer_valid_is_not_rolled_back_to(
    policies: PolicyStore, dynamodb: DynamoDBClient
) -> None:
    policies.put(document("one"), 0, "akira")
    tables.put(dynamodb, SITUATION, pk="POLICY", sk="0000000002", document=document(obsolete=True), name="old")
    with pytest.raises(PolicyInvalid, match="there is no version 9"):
        policies.rollback(9, 1, "akira")
    with pytest.raises(PolicyInvalid, match="obsolete"):
        policies.rollback(2, 1, "akira")
    assert policies.in_force().version == 1


def test_who_withdrew_a_version_is_kept_with_it(policies: PolicyStore, clock: FakeClock) -> None:
    clock.elapsed_s += 1_795_618_800.0 - clock.now_s()
    policies.put(document(), 0, "akira")
    clock.sleep(60)
    policies.withdraw(1, "yuki")
    assert policies.in_force() == InForce()
    version = policies.version(1)
    assert (version.written_by, version.document) == ("akira", document())
    assert (version.withdrawn_at, version.withdrawn_by) == ("2026-11-26T00:01:00+09:00", "yuki")


# -- the table ---------------------------------------------------------------------------------------------------------


def test_a_history_of_several_pages_is_listed_to_its_end(policies: PolicyStore) -> None:
    for number in range(11):
        policies.put(document(f"n{number}") + " " * 200_000, number, "akira")
    assert names(policies) == [f"{number + 1} n{number}" for number in reversed(range(11))]


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.in_force(),
        lambda store: store.versions(),
        lambda store: store.version(1),
        lambda store: store.put(document(), 0, "akira"),
        lambda store: store.rollback(1, 0, "akira"),
        lambda store: store.withdraw(1, "akira"),
    ],
)
def test_a_table_out_of_reach_is_told(policies: PolicyStore, door: Door, use: Callable[[PolicyStore], object]) -> None:
    door.close()
    with pytest.raises(StoreUnavailable):
        use(policies)


def test_a_write_that_dynamodb_calls_wrong_is_no_conflict(policies: PolicyStore, door: Door) -> None:
    def wrong(operation: str) -> None:
        if operation == "TransactWriteItems":
            answer: Any = {
                "Error": {"Code": "TransactionCanceledException"},
                "ResponseMetadata": {"HTTPStatusCode": 400},
            }
            raise ClientError(answer | {"CancellationReasons": [{"Code": "ValidationError"}]}, operation)

    door.before = wrong
    with pytest.raises(ClientError):
        policies.put(document(), 0, "akira")
