"""A shopper's frame: parse the event, serve it under its deadline, answer 200 (replies are posted)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.parser.models import APIGatewayWebSocketMessageEventModel

from mangaassist import bootstrap
from mangaassist.chat.conversation import Shopper
from mangaassist.chat.handshake import Authorizer
from mangaassist.deadline import Deadline
from mangaassist.observability import logger, metrics, traced

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context(correlation_id_path="requestContext.requestId")
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    """Serve one frame."""
    message = APIGatewayWebSocketMessageEventModel.model_validate(event)
    where = message.request_context
    user_id = Authorizer.model_validate(event["requestContext"]["authorizer"]).principal_id
    limits = bootstrap.situation().policy.limits
    deadline = Deadline.of_turn(
        arrived_ms=event["requestContext"]["requestTimeEpoch"],
        now_ms=time.time() * 1000,
        remaining_ms=context.get_remaining_time_in_millis(),
        turn_ms=limits.turn_ms,
        reserve_ms=limits.function_reserve_ms,
    )
    with traced("message", on=bootstrap.settings().tracing == "on"):
        bootstrap.reception().receive(event.get("body"), Shopper(user_id, where.connection_id), deadline, context)
    return {"statusCode": 200}


bootstrap.warm_up()
