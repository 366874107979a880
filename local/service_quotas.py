"""Service Quotas: Bedrock's model units, as the control plane enforces them, and AWS's defaults of all else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from local.foundation_models import Quota
from local.intrinsics import ACCOUNT
from local.wire import JSON_1_1, ServiceError

if TYPE_CHECKING:
    from local.foundation_models import FoundationModels
    from local.wire import Exchange

BEDROCK = "bedrock"
MOST = 100  # in one answer
DEFAULTS = {  # of an account that has asked for nothing; the twin does not hold anybody to them
    "apigateway": (
        Quota("L-8A5B8E43", "Throttle rate", 10_000),
        Quota("L-CDF5615A", "Throttle burst rate", 5_000),
        Quota("L-9ED1E49A", "WebSocket new connections rate", 500),
    ),
    "lambda": (Quota("L-B99A9384", "Concurrent executions", 1_000),),
}


class ServiceQuotas:
    """The service, on awsJson 1.1."""

    def __init__(self, models: FoundationModels) -> None:
        self._models = models

    async def __call__(self, exchange: Exchange) -> None:
        operation = exchange.headers.get("x-amz-target", "").rpartition(".")[2]
        try:
            answer = self._answer(operation, exchange.region, json.loads(await exchange.body()))
        except ServiceError as error:
            await exchange.refuse(error, JSON_1_1)
        else:
            await exchange.answer(200, json.dumps(answer).encode(), JSON_1_1)

    def _answer(self, operation: str, region: str, fields: dict[str, Any]) -> dict[str, Any]:
        service = fields.get("ServiceCode", "")
        if service != BEDROCK and service not in DEFAULTS:
            raise ServiceError(400, "NoSuchResourceException", "The request failed because the service is unknown.")
        quotas = self._models.quotas(region) if service == BEDROCK else list(DEFAULTS[service])
        match operation:
            case "ListServiceQuotas":
                return _page(region, service, quotas, fields)
            case "GetServiceQuota":
                found = next((quota for quota in quotas if quota.code == fields.get("QuotaCode")), None)
                if found is None:
                    raise ServiceError(
                        400, "NoSuchResourceException", "The request failed because the quota is unknown."
                    )
                return {"Quota": _told(region, service, found)}
            case _:
                text = f"The twin emulates no {operation} of Service Quotas."
                raise ServiceError(400, "UnknownOperationException", text)


def _page(region: str, service: str, quotas: list[Quota], fields: dict[str, Any]) -> dict[str, Any]:
    token = fields.get("NextToken") or "0"
    if not token.isdecimal():
        raise ServiceError(400, "InvalidPaginationTokenException", "Invalid input was provided.")
    start, count = int(token), min(int(fields.get("MaxResults") or MOST), MOST)
    answer: dict[str, Any] = {"Quotas": [_told(region, service, quota) for quota in quotas[start : start + count]]}
    if start + count < len(quotas):
        answer["NextToken"] = str(start + count)
    return answer


def _told(region: str, service: str, quota: Quota) -> dict[str, Any]:
    return {
        "ServiceCode": service,
        "ServiceName": f"Emulated {service}",
        "QuotaArn": f"arn:aws:servicequotas:{region}:{ACCOUNT}:{service}/{quota.code}",
        "QuotaCode": quota.code,
        "QuotaName": quota.name,
        "Value": float(quota.value),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }
