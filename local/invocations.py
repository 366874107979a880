"""Lambda's Invoke: runs the template's functions when AWS services or clients ask for them by name or ARN."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from local.functions import HandlerFailed
from local.intrinsics import ACCOUNT, REGION
from local.wire import ServiceError

if TYPE_CHECKING:
    from local.functions import Functions
    from local.wire import Exchange

PATH = re.compile(r"^/2015-03-31/functions/(?P<function>[^/]+)/invocations$")
NAMED = re.compile(
    rf"^(?:(?:arn:aws:lambda:(?P<region>[a-z0-9-]+):)?{ACCOUNT}:function:)?(?P<name>[a-zA-Z0-9_-]+)(?::[a-zA-Z0-9$_-]+)?$"
)


class Invocations:
    """The service; asked to wait for the answer, or to let the function run."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    async def __call__(self, exchange: Exchange) -> None:
        body = await exchange.body()
        try:
            match = PATH.match(exchange.path)
            if match is None or exchange.method != "POST":
                raise ServiceError(404, "UnknownOperationException", "The twin emulates no such operation of Lambda.")
            name = self._name(unquote(match["function"]), exchange.region)
            event = _event(body)
        except ServiceError as error:
            await exchange.refuse(error)
            return
        match exchange.headers.get("x-amz-invocation-type", "RequestResponse"):
            case "Event":
                self._functions.start(name, event)
                await exchange.answer(202, b"")
            case "DryRun":
                await exchange.answer(204, b"")
            case _:
                answer, failed = await self._run(name, event)
                headers = {"x-amz-executed-version": "1"} | ({"x-amz-function-error": "Unhandled"} if failed else {})
                await exchange.answer_json(answer, headers=headers.items())

    async def _run(self, name: str, event: Any) -> tuple[Any, bool]:
        """The function's answer, or what Lambda says of its failure, and whether it failed."""
        running = asyncio.wrap_future(self._functions.start(name, event))
        timeout_s = self._functions.application.functions[name].timeout_s
        done, _ = await asyncio.wait([running], timeout=timeout_s)
        if not done:  # what nobody waits for may end as it likes: threads cannot be killed
            running.add_done_callback(lambda late: late.cancelled() or late.exception())
            text = f"RequestId: {uuid.uuid4()} Error: Task timed out after {timeout_s:.2f} seconds"
            return {"errorType": "Sandbox.Timedout", "errorMessage": text}, True
        try:
            answer = running.result()
            json.dumps(answer)
        except HandlerFailed as failure:
            return {"errorType": failure.kind, "errorMessage": failure.text, "stackTrace": []}, True
        except (TypeError, ValueError) as error:
            text = f"Unable to marshal response: {error}"
            return {"errorType": "Runtime.MarshalError", "errorMessage": text, "stackTrace": []}, True
        return answer, False

    def _name(self, identifier: str, region: str) -> str:
        """The function that a name or ARN, with or without an alias, stands for; raises ServiceError."""
        match = NAMED.match(identifier)
        if match and match["region"] in (None, region) and region == REGION:
            name = match["name"]
            if name in self._functions.application.functions:
                return name
        raise ServiceError(404, "ResourceNotFoundException", f"Function not found: {identifier} in {region}")


def _event(body: bytes) -> Any:
    try:
        return json.loads(body) if body else {}
    except ValueError as error:
        text = f"Could not parse request body into json: {error}"
        raise ServiceError(400, "InvalidRequestContentException", text) from error
