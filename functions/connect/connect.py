"""$connect: the connection is recorded, within its user's limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.parser.models import (
    APIGatewayWebSocketConnectEventModel,
    APIGatewayWebSocketConnectEventRequestContext,
)
from pydantic import ConfigDict, Field

from mangaassist import bootstrap
from mangaassist.chat import handshake
from mangaassist.errors import StoreUnavailable
from mangaassist.metric import Metric
from mangaassist.observability import logger, measure, metrics

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class Context(APIGatewayWebSocketConnectEventRequestContext):
    """Powertools' model with the authorizer's word."""

    authorizer: handshake.Authorizer | None = None


class Connect(APIGatewayWebSocketConnectEventModel):
    """A $connect event; errors do not quote it, because it holds the token."""

    model_config = ConfigDict(hide_input_in_errors=True)

    request_context: Context = Field(alias="requestContext")


@logger.inject_lambda_context(log_event=False)  # the event holds the token, and a variable could switch this on
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Accept the handshake, or refuse it: 429 for a user with connections enough, 503 when they cannot be counted.

    An event that no authorizer has seen is refused with 401, and is the operators' to explain.
    """
    measure(Metric.Connects)
    request = Connect.model_validate(event)
    where = request.request_context
    if where.authorizer is None:
        measure(Metric.ConnectsUnauthorized)
        logger.error("a handshake reached connect without the authorizer")
        return {"statusCode": 401}
    limit = bootstrap.settings().connections_per_user
    try:
        opened = bootstrap.connections().open(where.connection_id, where.authorizer.principal_id, limit)
    except StoreUnavailable as error:
        measure(Metric.StoreUnavailable)
        measure(Metric.ConnectFailed)
        logger.error("a table is out of reach", extra={"part": "connect", "fault": str(error)})
        return {"statusCode": 503}
    if not opened:
        measure(Metric.ConnectionsRefused)
        logger.info("a user has connections enough", extra={"limit": limit})
        return {"statusCode": 429}
    return {"statusCode": 200} | _subprotocol(request.multi_value_headers)


def _subprotocol(headers: dict[str, list[str]]) -> dict[str, Any]:
    """Say back which offered subprotocol is spoken, or browsers hang up; never the token that was offered beside it."""
    if handshake.SUBPROTOCOL not in handshake.subprotocols(headers):
        return {}
    return {"headers": {"Sec-WebSocket-Protocol": handshake.SUBPROTOCOL}}
