"""$disconnect: the connection's place is given back. The gateway may never call this; then the place expires."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.parser.models import (
    APIGatewayWebSocketDisconnectEventModel,
    APIGatewayWebSocketDisconnectEventRequestContext,
)
from pydantic import Field

from mangaassist import bootstrap
from mangaassist.chat import handshake  # noqa: TC001 - pydantic evaluates the annotation
from mangaassist.errors import StoreUnavailable
from mangaassist.metric import Metric
from mangaassist.observability import logger, measure, metrics

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class Context(APIGatewayWebSocketDisconnectEventRequestContext):
    """Powertools' model with the authorizer's word; without one the connection's own row names its user."""

    authorizer: handshake.Authorizer | None = None


class Disconnect(APIGatewayWebSocketDisconnectEventModel):
    """A $disconnect event."""

    request_context: Context = Field(alias="requestContext")


@logger.inject_lambda_context(log_event=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    """Forget the connection as well as can be done now: nobody waits for the answer, and rows expire."""
    measure(Metric.Disconnects)
    where = Disconnect.model_validate(event).request_context
    user_id = where.authorizer.principal_id if where.authorizer else None
    try:
        bootstrap.connections().close(where.connection_id, user_id)
    except StoreUnavailable as error:
        measure(Metric.StoreUnavailable)
        logger.warning("a table is out of reach", extra={"part": "disconnect", "fault": str(error)})
    return {"statusCode": 200}
