"""Signatures for the polled calls: botocore's for DynamoDB and Bedrock, requests-aws4auth's for the search."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError

from mangaassist.errors import KnowledgeUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.credentials import Credentials


class SdkSigner:
    """Signs as the SDK's own clients do; credentials are asked for at each request, so they never go stale."""

    def __init__(self, credentials: Callable[[], Credentials | None], region: str, service: str) -> None:
        self._credentials = credentials
        self._region = region
        self._service = service

    def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str | bytes]:
        """The headers with the signature; raises KnowledgeUnavailable."""
        request = AWSRequest(method=method, url=url, data=body, headers=dict(headers))
        try:
            found = self._credentials()
            if found is None:
                raise KnowledgeUnavailable(self._service, "no credentials")
            SigV4Auth(found.get_frozen_credentials(), self._service, self._region).add_auth(request)
        except BotoCoreError as error:
            raise KnowledgeUnavailable(self._service, type(error).__name__) from error
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
        """Import the library and make its signer; raises KnowledgeUnavailable."""
        from requests_aws4auth import AWS4Auth

        found = self._credentials()
        if found is None:
            raise KnowledgeUnavailable("aoss", "no credentials")
        self._auth = AWS4Auth(refreshable_credentials=found, region=self._region, service="aoss")

    def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str | bytes]:
        """The headers with the signature, `x-amz-content-sha256` among them; raises KnowledgeUnavailable."""
        from requests import Request

        try:
            if self._auth is None:
                self.warm_up()
            with self._lock:
                prepared = Request(method, url, headers=dict(headers), data=body, auth=self._auth).prepare()
        except BotoCoreError as error:
            raise KnowledgeUnavailable("aoss", f"{type(error).__name__}") from error
        return dict(prepared.headers.items())
