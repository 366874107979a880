"""A shopper's frame: parse the event, serve it under its deadline, answer 200 (replies are posted)."""

from __future__ import annotations

import gc

gc.disable()  # the imports make many objects and no garbage: collections would take 7 % of a cold start

import time
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.parser.models import (
    APIGatewayWebSocketMessageEventModel,
    APIGatewayWebSocketMessageEventRequestContext,
)
from pydantic import ConfigDict, Field

from mangaassist import bootstrap
from mangaassist.chat import handshake
from mangaassist.chat.turn import Shopper
from mangaassist.deadline import Deadline
from mangaassist.metric import Metric
from mangaassist.observability import logger, measured, metrics, traced, version_failed

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class Context(APIGatewayWebSocketMessageEventRequestContext):
    """Powertools' model with the authorizer's word."""

    authorizer: handshake.Authorizer


class Message(APIGatewayWebSocketMessageEventModel):
    """A message event; errors do not quote it, because it holds what was said."""

    model_config = ConfigDict(hide_input_in_errors=True)

    request_context: Context = Field(alias="requestContext")
    body: str | None = None


# log_event=False: the event holds what was said, and an environment variable could switch its logging on
@logger.inject_lambda_context(log_event=False, correlation_id_path="requestContext.requestId")
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Serve one frame; only of a rehearsal does the answer hold the frames, and the gateway passes no answer on."""
    message = Message.model_validate(event)
    where = message.request_context
    limits = bootstrap.situation().policy.limits
    deadline = Deadline.of_turn(
        arrived_ms=where.request_time_epoch.timestamp() * 1000,
        now_ms=time.time() * 1000,
        remaining_ms=context.get_remaining_time_in_millis(),
        turn_ms=limits.turn_ms,
        reserve_ms=limits.function_reserve_ms,
    )
    with traced("message", on=bootstrap.settings().tracing == "on"):
        shopper = Shopper(where.authorizer.principal_id, where.connection_id, where.authorizer.user_class)
        bootstrap.reception().receive(message.body, shopper, deadline, context)
    if measured(Metric.TurnFailed):
        version_failed(context)
    frames = bootstrap.rehearsals().take(where.connection_id)
    return {"statusCode": 200, "frames": frames} if frames else {"statusCode": 200}


bootstrap.warm_up()
gc.enable()
