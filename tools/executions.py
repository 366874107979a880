"""Executions of the provisioned-throughput workflow: started by hand, and followed to their end."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from botocore.exceptions import ClientError

from mangaassist.capacity.workflow import Failure
from mangaassist.stores import error_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_stepfunctions import SFNClient

LOOK_S = 1.0  # between two looks at an execution
KNOWN_S = 10.0  # until when Step Functions may not know yet what it has started
NEWEST_EVENTS = 50  # more than a state has with all its retries
INVALID_INPUT = "WorkflowInputInvalid"
RUNNING = "RUNNING"


@dataclass(frozen=True, slots=True)
class Ending:
    """How an execution ended: its report's sentence, or why there is none."""

    ok: bool
    text: str
    opening: dict[str, Any] = field(default_factory=dict)


class Executions:
    """The state machine's executions; every method raises ClientError and BotoCoreError."""

    def __init__(
        self,
        client: SFNClient,
        machine: str,
        *,
        sleep: Callable[[float], object] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._machine = machine
        self._sleep = sleep
        self._monotonic = monotonic

    def start(self, request: dict[str, Any]) -> str:
        """Start one; gives its ARN. A request that the SDK repeats starts none twice, for it has a name."""
        name = f"{request['action']}-{request.get('window', 'all')}-{uuid4()}"
        started = self._client.start_execution(
            stateMachineArn=self._machine, name=name, input=json.dumps(request, ensure_ascii=False)
        )
        return started["executionArn"]

    def follow(self, arn: str, tell: Callable[[str, float], object]) -> Ending:
        """Wait for the end; `tell` gets, at every look, the state that it is in and the seconds since the first."""
        began = self._monotonic()
        while True:
            elapsed_s = self._monotonic() - began
            try:
                found: Any = self._client.describe_execution(executionArn=arn)
                if found["status"] != RUNNING:
                    return _ending(found)
                tell(self._state(arn), elapsed_s)
            except ClientError as error:
                if error_code(error) != "ExecutionDoesNotExist" or elapsed_s > KNOWN_S:
                    raise
            self._sleep(LOOK_S)

    def _state(self, arn: str) -> str:
        """The state that was entered last; of several at once any."""
        history = self._client.get_execution_history(
            executionArn=arn, reverseOrder=True, maxResults=NEWEST_EVENTS, includeExecutionData=False
        )
        entered = {
            event["id"]: event["stateEnteredEventDetails"]["name"]
            for event in history["events"]
            if "stateEnteredEventDetails" in event
        }
        return entered[max(entered)] if entered else "starts"


def _ending(found: dict[str, Any]) -> Ending:
    if found["status"] == "SUCCEEDED":
        output = json.loads(found.get("output") or "{}")
        return Ending(True, str(output.get("report", {}).get("summary", "")), output.get("opening") or {})
    failure = Failure.model_validate({"Error": found.get("error") or "", "Cause": found.get("cause") or ""})
    if failure.error == INVALID_INPUT:
        return Ending(False, failure.cause)
    why = ": ".join(part for part in (failure.error, failure.cause) if part)
    status = found["status"].lower().replace("_", " ")
    return Ending(False, why if found["status"] == "FAILED" and why else f"it {status}{f': {why}' if why else ''}")
