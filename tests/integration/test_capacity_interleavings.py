"""Whatever openings, closings, sweeps and deaths come between each other: four promises that no order may break.

Turns are never sent to capacity that does not serve; it is never deleted while somebody is or may get on it; never do
two purchases stand ready for one window; and when the windows are over and a sweep has been, nothing is left.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from moto import mock_aws

from mangaassist.capacity.ports import Ports
from mangaassist.capacity.register import Register
from mangaassist.capacity.steps import Steps
from mangaassist.capacity.utilisation import Utilisation
from mangaassist.jst import jst
from mangaassist.routing.store import SituationStore
from tests.integration import tables
from tests.integration.asl import Execution
from tests.integration.market import THROTTLED, Market
from tests.integration.tables import SITUATION
from tests.unit.fakes import FakeClock
from tests.unit.purchases import OWNER, POLICY, RULES, at

DEFINITION = json.loads((Path(__file__).parents[2] / "statemachines/provisioned_throughput.asl.json").read_text())
TTL_S, TURN_S = POLICY.limits.situation_ttl_ms / 1000, POLICY.limits.turn_ms / 1000
DOOR = tables.Door()
pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Reader:
    """An environment's copy of what is published for a window."""

    arn: str
    until_s: float
    read_s: float


REQUESTS = (
    {"action": "keep", "window": "peak"},
    {"action": "keep", "window": "business"},
    {"action": "sweep"},
    {"action": "open", "window": "peak", "live": True},
    {"action": "close", "window": "peak"},
)


class Interleavings(RuleBasedStateMachine):
    """The schedule, operators, environments that read, and time."""

    executions: Bundle[Execution] = Bundle("executions")

    def __init__(self) -> None:
        super().__init__()
        self.mock = mock_aws()
        self.mock.start()
        with mock_aws():
            self.dynamodb = tables.client(DOOR)
        tables.create(self.dynamodb)
        self.clock = FakeClock()
        self.market = Market(self.clock, on_delete=self.nobody_is_on)
        self.register = Register(self.dynamodb, SITUATION, self.clock.now_s)
        self.readers: list[Reader] = []
        self.turns: list[tuple[str, float]] = []
        self.posted: list[str] = []
        self.seen: dict[str, Reader] = {}
        self.seen_writes = -1  # how many requests the table had served when it was last read
        self.steps = Steps(
            Ports(
                control_plane=self.market.port(),
                register=self.register,
                utilisation=Utilisation(
                    self.dynamodb, unrepeated=self.dynamodb, situation_table=SITUATION, now_s=self.clock.now_s
                ),
                board=self,
                read_policy=lambda: POLICY,
                is_policy_sound=lambda: True,
                rules=RULES,
                now_s=self.clock.now_s,
            )
        )

    def teardown(self) -> None:
        try:
            self.night()
        finally:
            self.mock.stop()

    # -- the world -----------------------------------------------------------------------------------------------------

    def set_clock(self, epoch_s: float) -> None:
        self.clock.elapsed_s += epoch_s - self.clock.now_s()

    def post(self, subject: str, message: str) -> None:
        self.posted.append(subject)

    def take(self, event: dict[str, Any]) -> Any:
        """The function, with its failures named as Lambda names them."""
        from mangaassist.errors import ControlPlaneError

        try:
            return self.steps.take(event)
        except ControlPlaneError as error:
            raise type(error.name, (Exception,), {})(str(error)) from error

    def started(self, **request: Any) -> Execution:
        return Execution(DEFINITION, request, self.take, self.clock.now_s)

    def go_on(self, execution: Execution, steps: int) -> None:
        for _ in range(steps):
            if not execution.is_over:
                self.pass_time(execution.waits_s)
                execution.step()

    def published(self) -> dict[str, Reader]:
        """What an environment that reads now sees, by window."""
        if self.seen_writes == len(DOOR.requests):
            return {name: replace(it, read_s=self.clock.now_s()) for name, it in self.seen.items()}
        store = SituationStore(
            self.dynamodb, SITUATION, default_policy=POLICY, now_s=self.clock.now_s, on_invalid_policy=lambda *_: None
        )
        found = store.view().situation.capacity.values()
        self.seen = {it.window: Reader(it.arn, it.until_s, self.clock.now_s()) for it in found}
        self.seen_writes = len(DOOR.requests)
        return self.seen

    # -- what may happen -----------------------------------------------------------------------------------------------

    @initialize(clock=st.sampled_from(["17:20", "17:35", "17:59", "23:50"]), serves=st.booleans())
    def begin(self, clock: str, serves: bool) -> None:
        """At some time of the evening, with the business window served so far or not."""
        for hour in (9, 10) if serves else ():
            self.set_clock(at(f"{hour}:00"))
            self.started(action="keep", window="business").run(self.pass_time)
        self.set_clock(at(clock))
        if serves and clock > "17:30":
            self.started(action="keep", window="peak").run(self.pass_time)

    @rule(target=executions, request=st.sampled_from(REQUESTS), steps=st.integers(0, 25))
    def start(self, request: dict[str, Any], steps: int) -> Execution:
        """The schedule or an operator starts an execution, which comes so far before something else happens."""
        execution = self.started(**request)
        self.go_on(execution, steps)
        return execution

    @rule(execution=executions, steps=st.integers(1, 25))
    def resume(self, execution: Execution, steps: int) -> None:
        self.go_on(execution, steps)

    @rule(execution=consumes(executions))
    def die(self, execution: Execution) -> None:
        """It does not go on, wherever it was."""

    @rule(seconds=st.sampled_from([1, 20, 60, 300, 700, 3600]))
    def pass_time(self, seconds: float) -> None:
        """With shoppers in it all the time: environments read, and turns begin on every copy that is young enough."""
        self.turns_begin()
        self.clock.sleep(seconds)

    @rule(kinds=st.lists(st.sampled_from([THROTTLED, "lost", ""]), min_size=1, max_size=6))
    def trouble(self, kinds: list[str]) -> None:
        self.market.trouble = kinds

    @rule()
    def next_one_fails(self) -> None:
        self.market.fails_next = True

    # -- what must hold ------------------------------------------------------------------------------------------------

    def turns_begin(self) -> None:
        self.readers = [*self.fresh(), *self.published().values()]
        for reader in self.fresh():
            assert self.market.status(reader.arn) == "InService", "a turn was sent to capacity that does not serve"
            self.turns.append((reader.arn, self.clock.now_s() + TURN_S))

    def fresh(self) -> list[Reader]:
        """Copies that are young enough, of capacity that is not told to end."""
        return [
            it for it in self.readers if self.clock.now_s() - it.read_s <= TTL_S and it.until_s > self.clock.now_s()
        ]

    def nobody_is_on(self, arn: str) -> None:
        """Called at the moment of a deletion."""
        assert arn not in [it.arn for it in self.fresh()], "deleted while an environment may still send turns to it"
        assert not [end for on, end in self.turns if on == arn and end > self.clock.now_s()], "deleted under a turn"
        assert arn not in [it.arn for it in self.published().values()], "deleted while published"

    @invariant()
    def what_is_published_serves(self) -> None:
        for reader in self.published().values():
            if reader.until_s > self.clock.now_s():
                assert self.market.status(reader.arn) == "InService"

    @invariant()
    def one_purchase_stands_ready_for_a_window(self) -> None:
        trouble, self.market.trouble = self.market.trouble, []
        owned = self.market.owned(OWNER)
        self.market.trouble = trouble
        for window in ("business", "peak"):
            draining = self.register.row(window).draining
            ready = [it.name for it in owned if it.window == window and it.arn not in draining]
            assert len(ready) <= 1, ready

    def night(self) -> None:
        """At four in the morning all windows are over; the sweep and what the schedule does next leave nothing."""
        self.market.trouble = []
        now = jst(self.clock.now_s())
        night = now.replace(hour=4, minute=0, second=0) + timedelta(days=1)
        self.set_clock(night.timestamp())
        self.started(action="sweep").run(self.pass_time)
        assert self.market.owned(OWNER) == ()
        for window in ("business", "peak"):
            self.started(action="keep", window=window).run(self.pass_time)
            row = self.register.row(window)
            assert (row.arn, dict(row.draining)) == ("", {}), row
        days = (now - timedelta(days=9)).date().isoformat(), night.date().isoformat()
        for record in self.register.records(*days):
            assert not record.arn or record.gone_s, "the books say that it is still billed"


Interleavings.TestCase.settings = settings(
    max_examples=15, stateful_step_count=12, deadline=None, phases=[Phase.generate]
)
TestInterleavings = Interleavings.TestCase
