"""The workflow's hands on Bedrock's control plane: one step of an execution, or its failure by AWS's name of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mangaassist import bootstrap
from mangaassist.errors import ControlPlaneError
from mangaassist.metric import Metric
from mangaassist.observability import logger, measure, metrics, traced

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context(log_event=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Take one step; Step Functions knows a function's failure by the name of its exception's class."""
    measure(Metric.CapacitySteps)
    with traced("capacity", on=bootstrap.settings().tracing == "on"):
        try:
            return bootstrap.capacity().take(event)
        except ControlPlaneError as error:
            raise type(error.name, (ControlPlaneError,), {})(error.name, str(error)) from error
