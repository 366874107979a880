"""A message is answered once: Powertools' Idempotency behind one method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyInconsistentStateError,
    IdempotencyPersistenceLayerError,
)

from mangaassist.errors import StoreUnavailable
from mangaassist.metric import Metric
from mangaassist.observability import logger, measure

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_dynamodb import DynamoDBClient

REMEMBERED_S = 3600


class Once:
    """Runs the work of a key at most once while its record is remembered; work that raises may be run again."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._records = DynamoDBPersistenceLayer(table_name=table, boto3_client=client)

    def run(self, key: str, work: Callable[[], None], context: LambdaContext) -> Literal["done", "repeated", "running"]:
        """Do the work, unless it was done before or is being done; raises StoreUnavailable and what the work raises.

        A record left by an invocation that died counts until that invocation's time would have been over.
        """
        ran = False
        failure: Exception | None = None

        def answer(*, key: str) -> str:
            nonlocal ran, failure
            ran = True
            try:
                work()
            except Exception as error:  # kept: Powertools loses it when its record cannot be removed either
                failure = error
                raise
            return key

        config = IdempotencyConfig(expires_after_seconds=REMEMBERED_S, lambda_context=context)
        once: Callable[..., Any] = idempotent_function(
            answer, data_keyword_argument="key", persistence_store=self._records, config=config, key_prefix="turn"
        )
        try:
            once(key=key)
        except IdempotencyAlreadyInProgressError:
            return "running"
        except (IdempotencyPersistenceLayerError, IdempotencyInconsistentStateError) as error:
            if not ran:
                raise StoreUnavailable("idempotency") from error
            logger.warning("the idempotency record could not be completed")
            measure(Metric.IdempotencyWriteFailed)
            if failure is not None:
                raise failure from error
        return "done" if ran else "repeated"
