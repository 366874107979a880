"""The workflow's steps by name: what a state asks of the capacity function, typed, and what it gets.

`statemachines/provisioned_throughput.asl.json` orders them. Each may be called twice; what they must never do together
is kept by the window's row (capacity/register.py).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from mangaassist.capacity.closer import Closer
from mangaassist.capacity.opener import Opener
from mangaassist.capacity.planner import Planner
from mangaassist.capacity.reporter import Board, Reporter
from mangaassist.capacity.workflow import Closing, Document, Ended, Opening, Request
from mangaassist.errors import WorkflowInputInvalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from mangaassist.capacity.control_plane import ControlPlane
    from mangaassist.capacity.register import Register
    from mangaassist.capacity.rules import Rules
    from mangaassist.capacity.utilisation import Utilisation
    from mangaassist.routing.policy import Policy


class Look(Document):
    """Find out what there is to do: for a window, or for everything of ours."""

    step: Literal["plan", "sweep"]
    request: Request


class Open(Document):
    """Take an opening one step further."""

    step: Literal["guard", "create", "inspect", "publish"]
    opening: Opening


class Close(Document):
    """Take a closing one step further."""

    step: Literal["withdraw", "delete"]
    closing: Closing


class Tell(Document):
    """Say what became of it all."""

    step: Literal["report"]
    ended: Ended


STEP: TypeAdapter[Look | Open | Close | Tell] = TypeAdapter(
    Annotated[Look | Open | Close | Tell, Field(discriminator="step")]
)


@dataclass(frozen=True)
class Steps:
    """All of them, put together."""

    planner: Planner
    opener: Opener
    closer: Closer
    reporter: Reporter

    @classmethod
    def of(
        cls,
        *,
        control_plane: ControlPlane,
        register: Register,
        utilisation: Utilisation,
        board: Board,
        policy: Callable[[], Policy],
        is_policy_sound: Callable[[], bool],
        rules: Rules,
        now_s: Callable[[], float] = time.time,
    ) -> Steps:
        """Put them together over the same ports."""
        return cls(
            planner=Planner(
                control_plane=control_plane,
                register=register,
                utilisation=utilisation,
                policy=policy,
                is_policy_sound=is_policy_sound,
                rules=rules,
                now_s=now_s,
            ),
            opener=Opener(control_plane=control_plane, register=register, policy=policy, rules=rules, now_s=now_s),
            closer=Closer(control_plane=control_plane, register=register, policy=policy, now_s=now_s),
            reporter=Reporter(
                control_plane=control_plane, register=register, board=board, policy=policy, rules=rules, now_s=now_s
            ),
        )

    def take(self, event: dict[str, Any]) -> dict[str, Any]:
        """Take the step that a state asks for; raises WorkflowInputInvalid, ControlPlaneError, StoreUnavailable."""
        try:
            asked = STEP.validate_python(event)
        except ValidationError as error:
            raise WorkflowInputInvalid("; ".join(_reason(part) for part in error.errors(include_url=False))) from error
        result: Document
        match asked:
            case Look(step="plan"):
                result = self.planner.plan(asked.request)
            case Look():
                result = self.planner.sweep(asked.request)
            case Open():
                result = getattr(self.opener, asked.step)(asked.opening)
            case Close():
                result = getattr(self.closer, asked.step)(asked.closing)
            case Tell():
                result = self.reporter.report(asked.ended)
        return result.model_dump(mode="json", by_alias=True)


def _reason(part: Any) -> str:
    where = ".".join(str(step) for step in part["loc"])
    return f"{where}: {part['msg']}" if where else str(part["msg"])
