"""Signatures for what our own transport carries: botocore's, and requests-aws4auth's for OpenSearch Serverless.

Credentials are asked for at each request, so they never go stale. Signing raises botocore's errors (BotoCoreError):
each adapter knows what they mean there.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import NoCredentialsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.credentials import Credentials


class Signer(Protocol):
    """Signs requests for one service and region."""

    def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str | bytes]:
        """The request's headers with its signature; raises BotoCoreError."""
        ...


class SdkSigner:
    """Signs as the SDK's own clients do."""

    def __init__(self, credentials: Callable[[], Credentials | None], region: str, service: str) -> None:
        self._credentials = credentials
        self._region = region
        self._service = service

    def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str | bytes]:
        """The headers with the signature; raises BotoCoreError."""
        request = AWSRequest(method=method, url=url, data=body, headers=dict(headers))
        found = self._credentials()
        if found is None:
            raise NoCredentialsError
        SigV4Auth(found.get_frozen_credentials(), self._service, self._region).add_auth(request)
        return dict(request.headers.items())


class SearchSigner:
    """Signs for OpenSearch Serverless, service `aoss`, with credentials that renew themselves.

    The library is imported when it is first needed: without a collection nobody pays for its start.
    """

    def __init__(self, credentials: Callable[[], Credentials | None], region: str) -> None:
        self._credentials = credentials
        self._region = region
        self._auth: Any = None
        self._lock = Lock()  # it renews its key in place

    def warm_up(self) -> None:
        """Import the library and make its signer; raises BotoCoreError."""
        from requests_aws4auth import AWS4Auth

        found = self._credentials()
        if found is None:
            raise NoCredentialsError
        self._auth = AWS4Auth(refreshable_credentials=found, region=self._region, service="aoss")

    def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str | bytes]:
        """The headers with the signature, `x-amz-content-sha256` among them; raises BotoCoreError."""
        from requests import Request

        if self._auth is None:
            self.warm_up()
        with self._lock:
            prepared = Request(method, url, headers=dict(headers), data=body, auth=self._auth).prepare()
        return dict(prepared.headers.items())
