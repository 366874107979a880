"""The daily look at the routing policy's models: whether each answers, and until when it will be there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mangaassist import bootstrap
from mangaassist.observability import logger, metrics, traced

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context(log_event=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Look at all of them; Lambda repeats what raises."""
    with traced("lifecycle", on=bootstrap.settings().tracing == "on"):
        return bootstrap.lifecycle().check()
