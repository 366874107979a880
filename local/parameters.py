"""Parameter Store as far as functions read it: the one of moto brings EC2 along, most of a second at every start."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from local.intrinsics import ACCOUNT, REGION
from local.wire import JSON_1_1, ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.template import Parameter
    from local.wire import Exchange


class ParameterStore:
    """The template's parameters, to be read and to be put anew."""

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        self._parameters = {
            parameter.name: _stored(parameter.name, parameter.type, parameter.value, 1) for parameter in parameters
        }

    async def __call__(self, exchange: Exchange) -> None:
        fields = json.loads(await exchange.body())
        try:
            answer = self._answer(exchange.headers.get("x-amz-target", "").rpartition(".")[2], fields)
        except ServiceError as error:
            await exchange.refuse(error, JSON_1_1)
        else:
            await exchange.answer(200, json.dumps(answer).encode(), JSON_1_1)

    def _answer(self, operation: str, fields: dict[str, Any]) -> dict[str, Any]:
        match operation:
            case "GetParameter":
                if fields["Name"] not in self._parameters:
                    raise ServiceError(400, "ParameterNotFound", f"Parameter {fields['Name']} not found.")
                return {"Parameter": self._parameters[fields["Name"]]}
            case "GetParameters":
                found = [self._parameters[name] for name in fields["Names"] if name in self._parameters]
                missing = [name for name in fields["Names"] if name not in self._parameters]
                return {"Parameters": found, "InvalidParameters": missing}
            case "PutParameter":
                return {"Version": self._put(fields), "Tier": "Standard"}
            case _:
                raise ServiceError(400, "UnknownOperationException", f"The twin emulates no {operation} of SSM.")

    def _put(self, fields: dict[str, Any]) -> int:
        name = fields["Name"]
        before = self._parameters.get(name)
        if before and not fields.get("Overwrite"):
            raise ServiceError(400, "ParameterAlreadyExists", "The parameter already exists.")
        version = before["Version"] + 1 if before else 1
        kind = fields.get("Type") or (before["Type"] if before else "String")
        self._parameters[name] = _stored(name, kind, fields["Value"], version)
        return version


def _stored(name: str, kind: str, value: str, version: int) -> dict[str, Any]:
    return {
        "Name": name,
        "Type": kind,
        "Value": value,
        "Version": version,
        "LastModifiedDate": time.time(),
        "ARN": f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{name.removeprefix('/')}",
        "DataType": "text",
    }
