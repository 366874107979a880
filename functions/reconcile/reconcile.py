"""Once a day: the ledger against what Bedrock counted, so that nobody is charged what the books do not show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mangaassist import bootstrap
from mangaassist.metric import Metric
from mangaassist.observability import logger, measure, metrics, traced

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context(log_event=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Reconcile a day and count the drift; Lambda repeats what raises, which does no harm."""
    with traced("reconcile", on=bootstrap.settings().tracing == "on"):
        told = bootstrap.bookkeeper().take(event).document()
    measure(Metric.LedgerDrift, told["drift_percent"])
    logger.info("reconciliation", extra=told)
    return told
