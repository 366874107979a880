"""Signatures made once more by botocore from what arrived, and credentials that renew themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, RefreshableCredentials

if TYPE_CHECKING:
    from tests.integration.wire import Asked

REGION = "ap-northeast-1"
LIFE = timedelta(hours=2)
FIRST = Credentials("AKIAFIRST", "first-secret", "first-token")
SECOND = Credentials("AKIASECOND", "second-secret", "second-token")


class Renewed:
    """A provider of credentials whose next ones come when the first have ended."""

    def __init__(self) -> None:
        self.now = FIRST
        self._ahead = timedelta()
        self._kept = RefreshableCredentials(
            FIRST.access_key, FIRST.secret_key, str(FIRST.token), self._time() + LIFE, self._told, "test", self._time
        )

    def __call__(self) -> Credentials:
        return self._kept

    def renew(self) -> None:
        """Let the first credentials end."""
        self.now = SECOND
        self._ahead += LIFE

    def _time(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def _told(self) -> dict[str, str]:
        names = {"access_key": self.now.access_key, "secret_key": self.now.secret_key, "token": str(self.now.token)}
        return {**names, "expiry_time": (self._time() + LIFE).isoformat()}


def is_signed(asked: Asked, service: str, credentials: Credentials) -> bool:
    """Whether a request that arrived carries the signature that botocore gives it with these credentials."""
    algorithm, *parts = asked.headers["authorization"].replace(",", " ").split()
    told = dict(part.split("=", 1) for part in parts)
    date = asked.headers["x-amz-date"]
    signed = {name: asked.headers[name] for name in told["SignedHeaders"].split(";")}
    request = AWSRequest(asked.method, f"http://{asked.headers['host']}{asked.target}", signed, asked.body)
    request.context["timestamp"] = date
    auth = SigV4Auth(credentials, service, REGION)
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    scope = f"{credentials.access_key}/{date[:8]}/{REGION}/{service}/aws4_request"
    wanted = ("AWS4-HMAC-SHA256", scope, signature, credentials.token)
    return wanted == (algorithm, told["Credential"], told["Signature"], asked.headers["x-amz-security-token"])


def is_presigned(url: str, service: str, credentials: Credentials) -> bool:
    """Whether a presigned address carries the signature that botocore gives it with these credentials."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    signature = query.pop("X-Amz-Signature")
    request = AWSRequest("GET", parts._replace(query=urlencode(query)).geturl())
    request.context["timestamp"] = query["X-Amz-Date"]
    auth = SigV4QueryAuth(credentials, service, REGION)
    return signature == auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
