"""CodeDeploy as far as a deployment's hook speaks to it: the verdict is taken and told to the person at the console."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from local.wire import JSON_1_1, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.wire import Exchange

OPERATION = "PutLifecycleEventHookExecutionStatus"
VERDICTS = ("Succeeded", "Failed")


class CodeDeploy:
    """The service, on awsJson 1.1; `report` takes one line."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report

    async def __call__(self, exchange: Exchange) -> None:
        operation = exchange.headers.get("x-amz-target", "").rpartition(".")[2]
        try:
            answer = self._take(operation, json.loads(await exchange.body()))
        except ServiceError as error:
            await exchange.refuse(error, JSON_1_1)
        else:
            await exchange.answer(200, json.dumps(answer).encode(), JSON_1_1)

    def _take(self, operation: str, fields: dict[str, Any]) -> dict[str, str]:
        if operation != OPERATION:
            raise ServiceError(400, "UnknownOperationException", f"The twin emulates no {operation} of CodeDeploy.")
        for name, error in (
            ("deploymentId", "DeploymentIdRequiredException"),
            ("lifecycleEventHookExecutionId", "InvalidLifecycleEventHookExecutionIdException"),
        ):
            if not fields.get(name):
                raise ServiceError(400, error, f"{name} is required.")
        if fields.get("status") not in VERDICTS:
            raise ServiceError(400, "InvalidLifecycleEventHookExecutionStatusException", "The status is invalid.")
        self._report(f"deployment {fields['deploymentId']}: its hook before traffic says {fields['status']}")
        return {"lifecycleEventHookExecutionId": fields["lifecycleEventHookExecutionId"]}
