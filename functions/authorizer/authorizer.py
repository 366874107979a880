"""$connect's authorizer: a valid token and an allowed origin, or no connection."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from aws_lambda_powertools.utilities.parameters import SSMProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from botocore.config import Config
from pydantic import BaseModel, ConfigDict, Field

from mangaassist import bootstrap
from mangaassist.chat import handshake
from mangaassist.metric import Metric
from mangaassist.observability import logger, measure, measure_by, metrics, version_failed
from tokens import SigningKeys, TokenRefused, Verifier, published_keys

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from tokens import Holder

ORIGINS_LIFE_S = 5 * 60
ANY_ORIGIN = "*"
PARAMETER_CALLS = Config(connect_timeout=0.5, read_timeout=1.0, retries={"mode": "standard", "total_max_attempts": 2})


class Handshake(BaseModel):
    """What the gateway passes of a client's upgrade request; Powertools has no model of this event.

    Errors do not quote it, because it holds the token.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    method_arn: str = Field(alias="methodArn")
    headers: dict[str, list[str]] = Field(alias="multiValueHeaders")
    query: dict[str, str] | None = Field(alias="queryStringParameters", default=None)


class AllowedOrigins:
    """The origins whose pages may connect, kept in Parameter Store so that they change without a deployment.

    They are read every five minutes; while they cannot be read, those read last stay in force.
    """

    def __init__(self, parameters: SSMProvider, name: str) -> None:
        self._parameters = parameters
        self._name = name
        self._last: str | None = None

    def admit(self, origins: list[str]) -> bool:
        """Judge a handshake by its `Origin`, which every browser sends: without one it is not somebody else's page.

        Raises GetParameterError when the list has never been read.
        """
        if not origins:
            return True
        allowed = [origin.strip() for origin in self._read().split(",")]
        return ANY_ORIGIN in allowed or (len(origins) == 1 and origins[0] in allowed)

    def _read(self) -> str:
        try:
            self._last = str(self._parameters.get(self._name, max_age=ORIGINS_LIFE_S))
        except GetParameterError as error:
            measure(Metric.OriginsUnreadable)
            logger.error(
                "the allowed origins cannot be read", extra={"fault": str(error), "kept": self._last is not None}
            )
            if self._last is None:
                raise
        return self._last


@cache
def verifier() -> Verifier:
    """This environment's verifier, which keeps the issuer's keys."""
    settings = bootstrap.settings()
    keys = SigningKeys(published_keys(settings.token_jwks_url))
    return Verifier(keys, settings.token_issuer, settings.token_audience, settings.token_class_claim)


@cache
def allowed_origins() -> AllowedOrigins:
    """This environment's origin allow-list."""
    return AllowedOrigins(
        SSMProvider(boto3_session=bootstrap.session(), boto_config=PARAMETER_CALLS),
        bootstrap.settings().allowed_origins_parameter,
    )


@logger.inject_lambda_context(log_event=False)  # the event holds the token, and a variable could switch this on
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer with an IAM policy; a bad token is a 401, a wrong origin a 403, an unreachable issuer or list a 500."""
    measure(Metric.Handshakes)
    try:
        return _judged(Handshake.model_validate(event))
    except TokenRefused as refusal:
        _refused(refusal.reason)
        # API Gateway makes a 401 of exactly this text, and a 500 of every other exception.
        raise Exception("Unauthorized") from None
    except Exception:
        measure(Metric.HandshakeFailed)
        version_failed(context)
        raise


def _judged(request: Handshake) -> dict[str, Any]:
    holder = verifier().holder(handshake.token(request.headers, request.query or {}))
    if not allowed_origins().admit(handshake.header_values(request.headers, "Origin")):
        _refused("origin_refused")
        return _policy("Deny", holder, request.method_arn)
    return _policy("Allow", holder, request.method_arn)


def _refused(reason: str) -> None:
    measure(Metric.HandshakesRefused)
    measure_by({Metric.HandshakesRefused: 1}, reason=reason)
    logger.info("handshake refused", extra={"reason": reason})


def _policy(effect: Literal["Allow", "Deny"], holder: Holder, method_arn: str) -> dict[str, Any]:
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": method_arn}
    return {
        "principalId": holder.user_id,
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": {"user_id": holder.user_id, "user_class": holder.user_class},
    }
