"""Steps through a state machine's definition, one state at a time, so that a test decides who goes on and who dies.

It reads what `statemachines/` uses of the Amazon States Language with JSONPath; moto's interpreter, which cannot be
stopped between two states, runs the same definition in tests/e2e.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    type Take = Callable[[dict[str, Any]], Any]

STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
MISSING = object()


@dataclass
class Execution:
    """One run of a definition; `take` does what its tasks ask for, and raises what they fail with."""

    definition: dict[str, Any]
    given: Any
    take: Take
    now_s: Callable[[], float]
    state: str | None = None
    data: Any = None
    wakes_s: float = 0.0
    tries: int = 0
    status: str = "RUNNING"
    error: str = ""
    children: list[Execution] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = self.definition["StartAt"]
        self.data = copy.deepcopy(self.given)

    @property
    def is_over(self) -> bool:
        return self.status != "RUNNING"

    @property
    def waits_s(self) -> float:
        """How long it has nothing to do."""
        if self.children:
            return min((child.waits_s for child in self.children if not child.is_over), default=0.0)
        return max(0.0, self.wakes_s - self.now_s())

    def step(self) -> None:
        """Do one state, or nothing while it waits."""
        if self.is_over or self.waits_s > 0:
            return
        state = self.definition["States"][self.state]
        getattr(self, f"_{state['Type'].lower()}")(state)

    def run(self, sleep: Callable[[float], None], most_steps: int = 2000) -> None:
        """Go on to the end; waits move the clock."""
        for _ in range(most_steps):
            if self.is_over:
                return
            sleep(self.waits_s)
            self.step()
        raise AssertionError(f"it does not end: {self.state} {self.data}")

    def _task(self, state: dict[str, Any]) -> None:
        try:
            result = self.take(self._filled(state["Parameters"]))
        except AssertionError:
            raise  # of the test, not of the function
        except Exception as error:  # whatever a function raises is the machine's to judge
            self._failed(state, type(error).__name__, str(error))
            return
        self._result(state, result)

    def _failed(self, state: dict[str, Any], name: str, cause: str) -> None:
        for retrier in state.get("Retry", ()):
            if name in retrier["ErrorEquals"] and self.tries < retrier["MaxAttempts"]:
                self.wakes_s = self.now_s() + retrier["IntervalSeconds"] * retrier["BackoffRate"] ** self.tries
                self.tries += 1
                return
        for catcher in state.get("Catch", ()):
            if {name, "States.ALL"} & set(catcher["ErrorEquals"]):
                self._put(catcher["ResultPath"], {"Error": name, "Cause": cause})
                self._go(catcher["Next"])
                return
        self.status, self.error = "FAILED", name

    def _choice(self, state: dict[str, Any]) -> None:
        self._go(next((it["Next"] for it in state["Choices"] if self._holds(it)), state["Default"]))

    def _wait(self, state: dict[str, Any]) -> None:
        self.wakes_s = self.now_s() + self._at(state["SecondsPath"])
        self._go(state["Next"], waiting=True)

    def _pass(self, state: dict[str, Any]) -> None:
        if "Parameters" in state:
            self.data = self._filled(state["Parameters"])
        self._leave(state)

    def _map(self, state: dict[str, Any]) -> None:
        if not self.children:
            items = self._at(state["ItemsPath"])
            self.children = [Execution(state["ItemProcessor"], item, self.take, self.now_s) for item in items]
            return
        waiting = [child for child in self.children if not child.is_over]
        if waiting:
            min(waiting, key=lambda child: child.waits_s).step()
            return
        children, self.children = self.children, []
        if any(child.status == "FAILED" for child in children):
            self._failed(state, "States.TaskFailed", children[0].error)
            return
        self._result(state, [child.data for child in children])

    def _succeed(self, state: dict[str, Any]) -> None:
        self.status = "SUCCEEDED"

    def _fail(self, state: dict[str, Any]) -> None:
        self.status = "FAILED"
        self.error = state.get("Error") or self._at(state["ErrorPath"])

    def _result(self, state: dict[str, Any], result: Any) -> None:
        if "ResultPath" in state:
            self._put(state["ResultPath"], result)
        else:
            self.data = result
        self._leave(state)

    def _leave(self, state: dict[str, Any]) -> None:
        if state.get("End"):
            self.status = "SUCCEEDED"
        else:
            self._go(state["Next"])

    def _go(self, state: str, *, waiting: bool = False) -> None:
        assert state in self.definition["States"], state
        self.state, self.tries = state, 0
        if not waiting:
            self.wakes_s = 0.0

    def _holds(self, rule: dict[str, Any]) -> bool:
        if "And" in rule:
            return all(map(self._holds, rule["And"]))
        if "Or" in rule:
            return any(map(self._holds, rule["Or"]))
        value = self._at(rule["Variable"], MISSING)
        match rule:
            case {"IsPresent": expected}:
                return (value is not MISSING) is expected
            case {"IsNull": expected}:
                return (value is None) is expected
            case {"StringEquals": expected} | {"BooleanEquals": expected}:
                return bool(value == expected)
        raise AssertionError(f"not read here: {rule}")

    def _filled(self, template: Any) -> Any:
        if isinstance(template, dict):
            return {
                key.removesuffix(".$"): self._at(value) if key.endswith(".$") else self._filled(value)
                for key, value in template.items()
            }
        return [self._filled(it) for it in template] if isinstance(template, list) else template

    def _at(self, path: str, default: Any = None) -> Any:
        if path == "$$.Execution.Input":
            return self.given
        value = self.data
        for name, index in STEP.findall(path):
            try:
                value = value[name or int(index)]
            except (KeyError, IndexError, TypeError):
                assert default is not None, f"{path} is not in {self.data}"
                return default
        return copy.deepcopy(value)

    def _put(self, path: str, value: Any) -> None:
        self.data = {**self.data, path.removeprefix("$."): value}
