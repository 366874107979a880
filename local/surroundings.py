"""The environment that handlers find: Lambda's variables, the template's, and endpoints that lead to the emulators.

An endpoint that is set already wins, so that any part can be the real thing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from local.intrinsics import REGION

if TYPE_CHECKING:
    from collections.abc import Mapping

ENDPOINT = "AWS_ENDPOINT_URL"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class SurroundingsUnusable(Exception):
    """The environment contradicts itself; the text says how."""


@dataclass(frozen=True)
class Endpoints:
    """Where each AWS service is."""

    given: Mapping[str, str]  # the variables that were set already
    embedded: str

    @classmethod
    def read(cls, embedded: str) -> Endpoints:
        """Look at the environment as it was given to us."""
        return cls({name: value for name, value in os.environ.items() if name.startswith(ENDPOINT) and value}, embedded)

    def of(self, service: str) -> str:
        """The address of a service, named as botocore's variables name it."""
        return self.given.get(f"{ENDPOINT}_{service}") or self.given.get(ENDPOINT) or self.embedded

    def is_embedded(self, service: str) -> bool:
        """Whether a service is our emulator."""
        return self.of(service) == self.embedded

    @property
    def real(self) -> tuple[str, ...]:
        """The variables that lead away from this machine."""
        return tuple(name for name, url in sorted(self.given.items()) if urlsplit(url).hostname not in LOOPBACK)


def prepare(endpoints: Endpoints) -> None:
    """Set what every AWS client and Lambda function finds in its environment; raises SurroundingsUnusable."""
    if not (endpoints.real and os.environ.get("AWS_REGION")):
        os.environ["AWS_REGION"] = REGION
    os.environ["AWS_DEFAULT_REGION"] = os.environ["AWS_REGION"]
    os.environ.setdefault(ENDPOINT, endpoints.embedded)
    os.environ["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "false"
    os.environ |= {
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",  # handlers warm up while they are loaded
        "AWS_LAMBDA_FUNCTION_NAME": "twin",
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
    }
    if not endpoints.real:
        os.environ["AWS_EC2_METADATA_DISABLED"] = "true"  # nobody waits for a machine that is not there
    if not _has_credentials():
        os.environ |= {"AWS_ACCESS_KEY_ID": "TWIN0HANDLER", "AWS_SECRET_ACCESS_KEY": "twin"}


def adopt(variables: Mapping[str, str]) -> None:
    """Set the functions' own variables."""
    os.environ.update(variables)


def _has_credentials() -> bool:
    import botocore.session
    from botocore.exceptions import BotoCoreError

    try:
        return botocore.session.Session().get_credentials() is not None
    except BotoCoreError as error:
        raise SurroundingsUnusable(f"the AWS configuration cannot be used: {error}") from error
