"""The workflow's steps over the template's tables and a Bedrock in memory, ordered by the tests as the states do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mangaassist.capacity.ports import Ports
from mangaassist.capacity.register import Record, Register
from mangaassist.capacity.steps import Steps
from mangaassist.capacity.utilisation import Utilisation
from mangaassist.capacity.workflow import Closing, Ended, Opening, Plan, Request
from tests.integration.tables import SITUATION, Door
from tests.unit.purchases import (
    DAY,
    POLICY,
    RULES,
    FakeBoard,
    FakeControlPlane,
    at,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from mangaassist.capacity.workflow import Report
    from tests.unit.fakes import FakeClock


class House:
    """The whole workflow over one table and one account of Bedrock; a test orders its steps as the states do."""

    def __init__(self, dynamodb: DynamoDBClient, door: Door, clock: FakeClock) -> None:
        self.dynamodb, self.door, self.clock = dynamodb, door, clock
        self.cloud, self.board = FakeControlPlane(clock), FakeBoard()
        self.register = Register(dynamodb, SITUATION, clock.now_s)
        self.use = Utilisation(dynamodb, unrepeated=dynamodb, situation_table=SITUATION, now_s=clock.now_s)
        self.policy = POLICY
        self.is_policy_sound = True
        self.rules = RULES
        self.set_clock("18:00")

    @property
    def steps(self) -> Steps:
        return Steps(
            Ports(
                control_plane=self.cloud.port(),
                register=self.register,
                utilisation=self.use,
                board=self.board,
                read_policy=lambda: self.policy,
                is_policy_sound=lambda: self.is_policy_sound,
                rules=self.rules,
                now_s=self.clock.now_s,
            )
        )

    def set_clock(self, clock: str, day: str = DAY) -> None:
        self.clock.elapsed_s += at(clock, day) - self.clock.now_s()

    def plan(self, action: str = "keep", window: str | None = "peak", *, live: bool = False) -> Plan:
        request = Request.model_validate({"action": action, "window": window, "live": live})
        return self.steps.planner.sweep(request) if action == "sweep" else self.steps.planner.plan(request)

    def opening(self, action: str = "keep", *, live: bool = False) -> Opening:
        planned = self.plan(action, live=live).opening
        assert planned is not None
        return planned

    def close(self, closing: Closing) -> Closing:
        closing = self.steps.closer.withdraw(closing)
        while closing.outcome not in ("gone", "retained"):
            self.clock.sleep(closing.wait_s)
            closing = self.steps.closer.delete(closing)
        return closing

    def create(self, opening: Opening) -> Opening:
        opening = self.steps.opener.guard(opening)
        assert opening.outcome == "buy", opening.reasons
        return self.steps.opener.create(opening)

    def serve(self, opening: Opening) -> Opening:
        self.cloud.becomes(str(opening.arn), status="InService")
        opening = self.steps.opener.inspect(opening)
        assert opening.outcome == "in_service"
        return self.steps.opener.publish(opening)

    def opened(self, action: str = "keep", *, live: bool = False) -> Opening:
        """A window opened from nothing."""
        serving = self.serve(self.create(self.opening(action, live=live)))
        assert serving.outcome == "serving"
        return serving

    def closed(self, action: str = "keep", window: str | None = "peak") -> Plan:
        planned = self.plan(action, window)
        assert planned.closing
        return planned.model_copy(update={"closing": tuple(self.close(it) for it in planned.closing)})

    def report(self, plan: Plan, **changes: Any) -> Report:
        return self.steps.reporter.report(Ended.model_validate(plan.model_dump(by_alias=True) | changes))

    def record(self, window: str = "peak") -> Record:
        return self.register.record(window, DAY)
