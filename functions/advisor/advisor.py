"""What each way to deploy would cost, and which to choose: a traffic profile or a day of the ledger in, JSON out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mangaassist import bootstrap
from mangaassist.observability import logger, traced

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context(log_event=False)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Advise; of a wrong profile the answer names each wrong field."""
    with traced("advise", on=bootstrap.settings().tracing == "on"):
        advice = bootstrap.advisor().answer(event)
    logger.info("advice", extra={"recommended": advice.get("recommended"), "wrong": sorted(advice.get("errors", {}))})
    return advice
