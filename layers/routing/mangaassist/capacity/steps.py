"""The workflow's steps by name: what a state asks of the capacity function, typed, and what it gets.

`statemachines/provisioned_throughput.asl.json` orders them. Each may be called twice; what they must never do together
is kept by the window's row (capacity/register.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from mangaassist.capacity.closer import Closer
from mangaassist.capacity.opener import Opener
from mangaassist.capacity.planner import Planner
from mangaassist.capacity.reporter import Reporter
from mangaassist.capacity.workflow import Closing, Document, Ended, Opening, Request
from mangaassist.errors import WorkflowInputInvalid

if TYPE_CHECKING:
    from mangaassist.capacity.ports import Ports


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


class Steps:
    """All of them, over the same ports."""

    def __init__(self, ports: Ports) -> None:
        self.planner = Planner(ports)
        self.opener = Opener(ports)
        self.closer = Closer(ports)
        self.reporter = Reporter(ports)
        self._opening = {
            "guard": self.opener.guard,
            "create": self.opener.create,
            "inspect": self.opener.inspect,
            "publish": self.opener.publish,
        }
        self._closing = {"withdraw": self.closer.withdraw, "delete": self.closer.delete}

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
                result = self._opening[asked.step](asked.opening)
            case Close():
                result = self._closing[asked.step](asked.closing)
            case Tell():
                result = self.reporter.report(asked.ended)
        return result.model_dump(mode="json", by_alias=True)


def _reason(part: Any) -> str:
    where = ".".join(str(step) for step in part["loc"])
    return f"{where}: {part['msg']}" if where else str(part["msg"])
