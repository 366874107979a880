"""The deployment that a command is about: a stack, a table, or the twin that `make run` started."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import boto3
import click
import httpx
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from mangaassist.errors import ControlPlaneError, PolicyConflict, PolicyInvalid, StoreUnavailable
from mangaassist.routing import policy
from mangaassist.routing.policies import PRESET_VERSION, PolicyStore
from mangaassist.stores import NO_ANSWER

TABLE = "SituationTable"  # the output of the stack, and the twin's name of the table
PRESET_PARAMETER = "PolicyPreset"
TWIN = "http://127.0.0.1:8080"
TWIN_REGION = "ap-northeast-1"
TWIN_PATIENCE_S = 5
INVALID = 2
PATIENCE = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})


class Told(click.Group):
    """A group that says in one line what went wrong."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except PolicyInvalid as error:
            raise failure(str(error), INVALID) from error
        except PolicyConflict as error:
            raise failure(f"{error}: nothing was written. Look at it again (diff) before you repeat this.") from error
        except StoreUnavailable as error:
            raise failure(f"{context.obj.name} does not answer: {error}") from error
        except ControlPlaneError as error:
            raise failure(f"{context.obj.name} cannot ask Bedrock: {error.name}: {error}") from error
        except NO_ANSWER as error:
            raise failure(f"{context.obj.name} does not answer: {type(error).__name__}") from error
        except BotoCoreError as error:
            raise failure(f"AWS cannot be asked: {error}") from error
        except ClientError as error:
            raise failure(f"AWS refuses: {error}") from error


def failure(text: str, code: int = 1) -> click.ClickException:
    """What ends a command, in one line."""
    ending = click.ClickException(text)
    ending.exit_code = code
    return ending


@dataclass
class Place:
    """The deployment that is meant; nothing is asked of it before it is needed."""

    stack: str | None
    twin: str
    region: str | None
    table: str | None = None
    chosen_preset: str | None = None

    @property
    def name(self) -> str:
        """What to call it in messages."""
        if self.stack:
            return f"stack {self.stack}"
        return f"table {self.table}" if self.table else f"the twin at {self.twin} (make run starts it)"

    @property
    def is_twin(self) -> bool:
        """Whether it is emulated, on this machine."""
        return not (self.stack or self.table)

    def client(self, service: Any, region: str | None = None) -> Any:
        """A client of a service there, or of the same service in another region."""
        if not self.is_twin:
            return self._session.client(service, region_name=region, config=PATIENCE)
        parts = urlsplit(self.twin)
        if parts.port is None:
            raise failure(f"--twin needs an address with a port, not {self.twin}")
        return boto3.client(
            service,
            endpoint_url=f"{parts.scheme}://{parts.hostname}:{parts.port + 1}",
            region_name=region or TWIN_REGION,
            aws_access_key_id="twin",
            aws_secret_access_key="twin",  # noqa: S106 - emulated AWS
            config=PATIENCE,
        )

    def now_s(self) -> float:
        """What time it is there: the twin's clock can be moved."""
        if not self.is_twin:
            return time.time()
        try:
            answer = httpx.get(f"{self.twin}/twin/health", timeout=TWIN_PATIENCE_S).raise_for_status()
            return datetime.fromisoformat(answer.json()["now"]).timestamp()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError) as error:
            raise failure(f"{self.name} does not answer: {type(error).__name__}") from error

    @cached_property
    def situation_table(self) -> str:
        """The name of the table that every turn reads."""
        return self.table or (self.output(TABLE) if self.stack else TABLE)

    @cached_property
    def store(self) -> PolicyStore:
        """The policies kept there."""
        return PolicyStore(self.client("dynamodb"), self.situation_table)

    @cached_property
    def preset(self) -> str:
        """The preset that is in force there while nothing overrides it."""
        if self.chosen_preset:
            return self.chosen_preset
        return self.parameter(PRESET_PARAMETER) if self.stack else "current"

    def in_force(self) -> tuple[int, str, str]:
        """Version, document and what to call them."""
        found = self.store.in_force()
        if found.document is None:
            return PRESET_VERSION, policy.preset_document(self.preset), f"preset {self.preset}"
        return found.version, found.document, f"version {found.version}"

    def output(self, key: str) -> str:
        """What the stack says of itself."""
        return self._described("Outputs", key)

    def parameter(self, key: str) -> str:
        """What the stack was deployed with."""
        return self._described("Parameters", key)

    @cached_property
    def stack_in_region(self) -> str:
        """The stack's name and its region, as what it owns elsewhere is tagged."""
        region = str(self._stack["StackId"]).split(":")[3]
        return f"{self._stack['StackName']}-{region}"

    def _described(self, part: str, key: str) -> str:
        kind = part.removesuffix("s")
        for entry in self._stack.get(part, []):
            if entry[f"{kind}Key"] == key:
                return str(entry[f"{kind}Value"])
        raise failure(f"stack {self.stack} has no {kind.lower()} {key}: is it MangaAssist?")

    @cached_property
    def _session(self) -> boto3.Session:
        return boto3.Session(region_name=self.region)

    @cached_property
    def _stack(self) -> dict[str, Any]:
        described: Any = self.client("cloudformation").describe_stacks(StackName=str(self.stack))
        stack: dict[str, Any] = described["Stacks"][0]
        return stack
