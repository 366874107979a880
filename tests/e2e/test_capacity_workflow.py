"""The provisioned-throughput workflow as it runs: the schedule, moto's interpreter, the real handler, emulated Bedrock.

Each test has a JST day of its own, and the clock tells the schedule what to do.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mangaassist.routing import policy
from mangaassist.routing.policies import PolicyStore
from tests.e2e.running import Running, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.timeout(120)

MACHINE = "arn:aws:states:ap-northeast-1:123456789012:stateMachine:ProvisionedThroughput"
OWNER = "twin-ap-northeast-1"  # the stack and its region
NOVA = "amazon.nova-pro-v1:0:300k"
# Short turns, because what is withdrawn drains in the time of the clock for as long as the longest turn.
LIMITS = {"turn_ms": 6_000, "closing_reserve_ms": 1_500, "quality_floor_ms": 1_000, "situation_ttl_ms": 500}


@dataclass
class Evening:
    """A twin on the evening of a day of its own."""

    twin: Running
    day: date

    @property
    def name(self) -> str:
        return f"{OWNER}-peak-{self.day}"

    def clock(self, at: str, days: int = 0) -> None:
        self.twin.put("clock", {"now": f"{self.day + timedelta(days=days)}T{at}+09:00"})

    def pass_time(self, seconds: int) -> None:
        self.twin.put("clock", {"advance_s": seconds})

    def purchases(self) -> list[dict[str, Any]]:
        """What was bought for this evening."""
        bought: list[dict[str, Any]] = self.twin.get("state")["provisioned"]
        return [it for it in bought if it["tags"].get("mangaassist:day") == str(self.day)]

    def alive(self) -> list[str]:
        return [it["status"] for it in self.purchases() if not it["deleted_at"]]

    def ticked(self, at: str) -> bool:
        """Whether the schedule has come at this time, and what it started is over."""
        state = self.twin.get("state")
        come = [it["last_at"] for it in state["schedules"] if "Peak" in it["name"]]
        is_busy = any(it["status"] == "RUNNING" for it in state["executions"])
        return come[0] is not None and come[0].startswith(f"{self.day}T{at}") and not is_busy

    def served(self) -> bool:
        """Whether turns are sent to capacity."""
        return "provisioned-sonnet" in self.twin.get("state")["capacity"]

    def record(self) -> dict[str, Any]:
        """The books of the evening."""
        key = {"pk": {"S": "CAPACITY"}, "sk": {"S": f"{self.day}#peak"}}
        item = self.twin.client("dynamodb").get_item(TableName="SituationTable", Key=key).get("Item", {})
        return {name: next(iter(value.values())) for name, value in item.items()}

    def state(self) -> str:
        return str(self.record().get("state", ""))

    def start(self, **request: Any) -> str:
        """Start an execution by hand."""
        states = self.twin.client("stepfunctions")
        return str(states.start_execution(stateMachineArn=MACHINE, input=json.dumps(request))["executionArn"])

    def end_of(self, execution: str) -> dict[str, Any]:
        """How an execution ended; the clock goes on while it waits."""
        states = self.twin.client("stepfunctions")
        ended: dict[str, Any] = self.until(
            lambda: _ended(states.describe_execution(executionArn=execution)), seconds_a_look=30
        )
        return ended

    def notice(self, *words: str) -> dict[str, Any]:
        """A notice about this evening with these words in it."""
        told: dict[str, Any] = self.until(lambda: next(self._told(*words), None))
        return told

    def _told(self, *words: str) -> Iterator[dict[str, Any]]:
        for notice in self.twin.get("state")["notices"]:
            if all(word in notice["message"] for word in (str(self.day), *words)):
                yield notice

    def until(self, look: Callable[[], Any], *, seconds_a_look: int = 0) -> Any:
        """What a look gives once it gives something; the clock is moved on between two looks if asked for."""
        give_up_at = time.monotonic() + 40
        while not (found := look()):
            assert time.monotonic() < give_up_at, "it did not happen"
            if seconds_a_look:
                self.pass_time(seconds_a_look)
            time.sleep(0.1)
        return found

    def open(self) -> None:
        """Let the schedule open the window, up to its service."""
        self.clock("17:30:05")
        self.until(lambda: self.alive() == ["Creating"])
        self.until(self.served, seconds_a_look=120)


@pytest.fixture(scope="module")
def twin() -> Iterator[Running]:
    with running("--pace", "0.2") as twin:
        document = json.loads(policy.preset_document("current")) | {"limits": LIMITS}
        document["windows"] = document["windows"][1:]  # the evening's alone
        PolicyStore(twin.client("dynamodb"), "SituationTable").put(json.dumps(document), 0, "a test")
        yield twin


@pytest.fixture
def evening(twin: Running, days: Iterator[date]) -> Iterator[Evening]:
    evening = Evening(twin, next(days))
    evening.clock("17:20:05")
    yield evening
    twin.delete("faults")
    evening.clock("00:00:05", days=1)
    evening.until(lambda: not evening.alive(), seconds_a_look=60)


@pytest.fixture(scope="module")
def days() -> Iterator[date]:
    return (date(2027, 2, 1) + timedelta(days=number * 2) for number in range(100))


def test_moving_the_clock_through_an_evening_shows_the_whole_life_cycle(evening: Evening) -> None:
    assert not evening.served()
    evening.clock("17:31:00")
    evening.until(lambda: evening.alive() == ["Creating"])
    assert not evening.served()
    evening.clock("18:00:30")
    evening.until(evening.served)
    (purchase,) = evening.purchases()
    assert (purchase["name"], purchase["model"], purchase["units"]) == (evening.name, NOVA, 2)
    assert evening.state() == "serving"
    evening.clock("00:00:01", days=1)
    evening.until(lambda: evening.state() == "closed", seconds_a_look=5)
    evening.until(lambda: not evening.alive(), seconds_a_look=5)
    assert not evening.served()
    assert float(evening.record()["gone_s"]) > float(evening.record()["created_s"])


def test_opening_twice_buys_once(evening: Evening) -> None:
    evening.clock("17:30:05")
    evening.until(lambda: evening.alive() == ["Creating"])
    ended = evening.end_of(evening.start(action="open", window="peak", live=True))
    assert ended["status"] == "SUCCEEDED"
    assert evening.served()
    assert len(evening.purchases()) == 1
    again = evening.end_of(evening.start(action="open", window="peak", live=True))
    assert "it serves" in again["output"]
    assert len(evening.purchases()) == 1


def test_a_creation_that_fails_is_deleted_and_reported_with_awss_reason(evening: Evening) -> None:
    evening.twin.put("faults", {"control-plane": {"fault": "create_fails", "count": 1}})
    evening.clock("17:30:05")
    evening.until(lambda: evening.alive() == ["Creating"])
    evening.until(lambda: evening.state() == "failed", seconds_a_look=120)
    evening.until(lambda: not evening.alive(), seconds_a_look=20)
    notice = evening.notice(evening.name, "an hour", "To do")
    assert notice["subject"].startswith(f"{OWNER}: provisioned throughput for peak")
    evening.pass_time(600)
    assert len(evening.purchases()) == 1, "it is not bought again by itself"
    evening.end_of(evening.start(action="open", window="peak", live=True))
    assert evening.served()
    assert [it["name"] for it in evening.purchases()] == [evening.name, f"{evening.name}-2"]


def test_a_purchase_that_does_not_serve_in_time_is_given_up_and_deleted(evening: Evening) -> None:
    store = PolicyStore(evening.twin.client("dynamodb"), "SituationTable")
    in_force = store.in_force()
    document = json.loads(str(in_force.document)) | {"provisioning": {"give_up_minutes": 5}}
    store.put(json.dumps(document), in_force.version, "a test")
    try:
        evening.clock("17:30:05")
        evening.until(lambda: evening.alive() == ["Creating"])
        evening.until(lambda: evening.state() == "given_up", seconds_a_look=61)
        evening.until(lambda: not evening.alive(), seconds_a_look=20)
        evening.notice("not in service in time")
    finally:
        store.put(str(in_force.document), store.in_force().version, "a test")


def test_without_quota_nothing_is_bought_and_the_next_tick_tries_again(evening: Evening) -> None:
    evening.twin.put("faults", {"control-plane": {"fault": "quota"}})
    evening.clock("17:30:05")
    evening.until(lambda: evening.state() == "refused")
    notice = evening.notice("Bedrock.ServiceQuotaExceededException")
    assert "Billed now: nothing of ours" in notice["message"]
    assert "Ask AWS Support" in notice["message"]
    evening.twin.delete("faults")
    evening.pass_time(300)
    evening.until(lambda: evening.alive() == ["Creating"])


@pytest.mark.parametrize("fault", ["throttle", "unavailable"])
def test_passing_troubles_of_the_control_plane_are_waited_out(evening: Evening, fault: str) -> None:
    evening.twin.put("faults", {"control-plane": {"fault": fault, "count": 4}})
    evening.clock("17:30:05")
    evening.until(lambda: evening.alive() == ["Creating"], seconds_a_look=1)
    evening.until(evening.served, seconds_a_look=120)


def test_a_lost_answer_to_the_purchase_buys_nothing_twice(evening: Evening) -> None:
    lost = {"fault": "cut", "operation": "CreateProvisionedModelThroughput", "count": 2}
    evening.twin.put("faults", {"control-plane": lost})
    evening.clock("17:30:05")
    evening.until(evening.served, seconds_a_look=60)
    assert len(evening.purchases()) == 1


def test_a_refused_control_plane_is_told_and_turns_go_on_demand(evening: Evening) -> None:
    evening.twin.put("faults", {"control-plane": {"fault": "denied"}})
    evening.clock("17:30:05")
    evening.until(
        lambda: any("Bedrock.AccessDeniedException" in it["message"] for it in evening.twin.get("state")["notices"])
    )
    assert not evening.served()
    assert evening.alive() == []


def test_closing_by_hand_twice_is_one_closing_and_the_schedule_leaves_it_closed(evening: Evening) -> None:
    evening.open()
    both = [evening.start(action="close", window="peak") for _ in range(2)]
    assert {evening.end_of(execution)["status"] for execution in both} == {"SUCCEEDED"}
    assert evening.alive() == []
    evening.pass_time(900)
    time.sleep(0.5)  # the schedule looks at the clock a few times a second
    assert evening.alive() == []
    assert evening.state() == "closed"


def test_closing_while_it_is_created_ends_the_opening_and_leaves_nothing(evening: Evening) -> None:
    evening.clock("17:30:05")
    evening.until(lambda: evening.alive() == ["Creating"])
    assert evening.end_of(evening.start(action="close", window="peak"))["status"] == "SUCCEEDED"
    assert evening.alive() == []
    evening.pass_time(900)
    time.sleep(0.5)
    assert not evening.served()
    assert len(evening.purchases()) == 1


def test_a_committed_purchase_is_withdrawn_and_reported_as_retained_with_its_end_and_cost(evening: Evening) -> None:
    evening.clock("17:25:05")
    evening.until(lambda: evening.ticked("17:25"))  # one more tick would find it outside its window
    control = evening.twin.client("bedrock", region="us-east-1")
    tags = {"owner": OWNER, "window": "peak", "day": str(evening.day)}
    control.create_provisioned_model_throughput(
        provisionedModelName=f"{evening.name}-by-hand",
        modelId=NOVA,
        modelUnits=1,
        commitmentDuration="OneMonth",
        tags=[{"key": f"mangaassist:{key}", "value": value} for key, value in tags.items()],
    )
    evening.clock("17:30:05")
    evening.until(evening.served, seconds_a_look=120)
    evening.clock("00:00:01", days=1)
    evening.until(lambda: evening.state() == "retained", seconds_a_look=5)
    notice = evening.notice(f"{evening.name}-by-hand", "committed until")
    assert "$23.00 an hour" in notice["message"]
    assert not evening.served()
    assert evening.alive() == ["InService"]
    evening.clock("05:00:00", days=40)  # its term is over by then
    evening.until(lambda: not evening.alive(), seconds_a_look=600)


def test_the_sweep_closes_what_is_alive_outside_its_window_and_tells(evening: Evening) -> None:
    evening.clock("12:05:00")
    control = evening.twin.client("bedrock", region="us-east-1")
    tags = {"owner": OWNER, "window": "peak", "day": str(evening.day - timedelta(days=1))}
    control.create_provisioned_model_throughput(
        provisionedModelName=f"stray-{evening.day}",
        modelId=NOVA,
        modelUnits=1,
        tags=[{"key": f"mangaassist:{key}", "value": value} for key, value in tags.items()],
    )
    ended = evening.end_of(evening.start(action="sweep"))
    assert ended["status"] == "SUCCEEDED"
    left = [it for it in evening.twin.get("state")["provisioned"] if it["name"] == f"stray-{evening.day}"]
    assert [it["deleted_at"] is not None for it in left] == [True]


def test_a_deletion_that_is_refused_is_tried_again_until_it_is_gone(evening: Evening) -> None:
    evening.open()
    evening.twin.put("faults", {"control-plane": {"fault": "conflict", "count": 2}})
    ended = evening.end_of(evening.start(action="close", window="peak"))
    assert ended["status"] == "SUCCEEDED"
    assert evening.alive() == []


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ({"action": "open", "window": "lunch"}, "window lunch"),
        ({"action": "dance", "window": "peak"}, "action"),
        ({"action": "open", "window": "peak", "live": "perhaps"}, "live"),
    ],
)
def test_nonsense_is_refused_with_the_reason_and_buys_nothing(
    evening: Evening, request_: dict[str, Any], told: str
) -> None:
    ended = evening.end_of(evening.start(**request_))
    assert ended["status"] == "FAILED"
    assert ended["error"] == "WorkflowInputInvalid"
    assert told in ended["cause"]
    assert evening.alive() == []


def _ended(execution: dict[str, Any]) -> dict[str, Any] | None:
    return execution if execution["status"] != "RUNNING" else None
