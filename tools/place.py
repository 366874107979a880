"""The deployment that a command is about: a stack, a table, or the twin that `make run` started."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import click
import httpx
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from mangaassist.errors import (
    BackendError,
    ControlPlaneError,
    KnowledgeUnavailable,
    PolicyConflict,
    PolicyInvalid,
    StoreUnavailable,
)
from mangaassist.routing import policy
from mangaassist.routing.policies import PRESET_VERSION, PolicyStore
from mangaassist.stores import NO_ANSWER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reporting.page import Page

TABLE = "SituationTable"  # the output of the stack, and the twin's name of the table
SEARCH = "SearchEndpoint"
TURNS, PRODUCTS = "TurnsTable", "ProductsTable"  # likewise
MODEL_ENDPOINT, MODEL_COMPONENT = "SageMakerEndpoint", "SageMakerComponent"
PRESET_PARAMETER = "PolicyPreset"
TWIN = "http://127.0.0.1:8080"
TWIN_REGION = "ap-northeast-1"
TWIN_PATIENCE_S = 5
INVALID = 2
PATIENCE = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})


class Told(click.Group):
    """A group that says in one line what went wrong."""

    def invoke(self, context: click.Context) -> Any:
        with told(context):
            return super().invoke(context)


class ToldCommand(click.Command):
    """A command that does."""

    def invoke(self, context: click.Context) -> Any:
        with told(context):
            return super().invoke(context)


@contextmanager
def told(context: click.Context) -> Iterator[None]:
    """End a command whose deployment is `context.obj` with one line about what went wrong."""
    try:
        yield
    except PolicyInvalid as error:
        raise failure(str(error), INVALID) from error
    except PolicyConflict as error:
        raise failure(f"{error}: nothing was written. Look at it again (diff) before you repeat this.") from error
    except (StoreUnavailable, KnowledgeUnavailable) as error:
        raise failure(f"{context.obj.name} does not answer: {error}") from error
    except ControlPlaneError as error:
        service = error.name.partition(".")[0]
        raise failure(f"{context.obj.name} cannot ask {service}: {error.name}: {error}") from error
    except BackendError as error:
        raise failure(f"{context.obj.name}: the model does not answer: {error}") from error
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


def write_page(page: Page, out: Path) -> None:
    """Write a report; a folder that cannot be written ends the command in one line."""
    try:
        page.write(out)
    except OSError as error:
        raise failure(f"{out}: {error.strerror}", INVALID) from error


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
        return self.session.client(service, endpoint_url=self.endpoint, region_name=region, config=PATIENCE)

    def now_s(self) -> float:
        """What time it is there: the twin's clock can be moved."""
        return datetime.fromisoformat(self._told("health", "now")).timestamp() if self.is_twin else time.time()

    def search(self) -> tuple[str, Any] | None:
        """Endpoint and generation of the collection there; None where there is no search."""
        if self.is_twin:
            return self._twin_aws, self._told("state", "search")["generation"]
        endpoint = self.output(SEARCH, "")
        return (endpoint, self.parameter("SearchGeneration")) if endpoint else None

    def endpoint_of_ours(self) -> tuple[str, str] | None:
        """Names of the endpoint of our own model and of its component, if it has one; None where there is none."""
        if self.is_twin:
            told = self._told("state", "endpoint")
            return (told["name"], told["component"]) if told else None
        name = self.output(MODEL_ENDPOINT, "")
        return (name, self.output(MODEL_COMPONENT, "")) if name else None

    def _told(self, page: str, key: str) -> Any:
        """What the twin says of itself."""
        try:
            answer = httpx.get(f"{self.twin}/twin/{page}", timeout=TWIN_PATIENCE_S).raise_for_status()
            return answer.json()[key]
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError) as error:
            raise failure(f"{self.name} does not answer: {type(error).__name__}") from error

    @cached_property
    def situation_table(self) -> str:
        """The name of the table that every turn reads."""
        return self.table or (self.output(TABLE) if self.stack else TABLE)

    @cached_property
    def turns_table(self) -> str:
        """The name of the table that holds the ledger."""
        return self.output(TURNS) if self.stack else TURNS

    @cached_property
    def products_table(self) -> str:
        """The name of the table of products."""
        return self.output(PRODUCTS) if self.stack else PRODUCTS

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

    @property
    def outputs(self) -> dict[str, str]:
        """All that the stack says of itself."""
        return {entry["OutputKey"]: entry["OutputValue"] for entry in self._stack.get("Outputs", [])}

    def output(self, key: str, default: str | None = None) -> str:
        """What the stack says of itself; the default, if there is one, where it says nothing."""
        return self._described("Outputs", key, default)

    def parameter(self, key: str) -> str:
        """What the stack was deployed with."""
        return self._described("Parameters", key)

    @cached_property
    def stack_in_region(self) -> str:
        """The stack's name and its region, as what it owns elsewhere is tagged."""
        region = str(self._stack["StackId"]).split(":")[3]
        return f"{self._stack['StackName']}-{region}"

    def _described(self, part: str, key: str, default: str | None = None) -> str:
        kind = part.removesuffix("s")
        for entry in self._stack.get(part, []):
            if entry[f"{kind}Key"] == key:
                return str(entry[f"{kind}Value"])
        if default is not None:
            return default
        raise failure(f"stack {self.stack} has no {kind.lower()} {key}: is it MangaAssist?")

    @cached_property
    def session(self) -> boto3.Session:
        """Who asks, and in which region."""
        if not self.is_twin:
            return boto3.Session(region_name=self.region)
        return boto3.Session("twin", "twin", region_name=TWIN_REGION)  # emulated AWS takes any key

    @property
    def endpoint(self) -> str | None:
        """Where AWS is emulated there; None where it is AWS."""
        return self._twin_aws if self.is_twin else None

    @property
    def _twin_aws(self) -> str:
        parts = urlsplit(self.twin)
        if parts.port is None:
            raise failure(f"--twin needs an address with a port, not {self.twin}")
        return f"{parts.scheme}://{parts.hostname}:{parts.port + 1}"

    @cached_property
    def _stack(self) -> dict[str, Any]:
        described: Any = self.client("cloudformation").describe_stacks(StackName=str(self.stack))
        stack: dict[str, Any] = described["Stacks"][0]
        return stack
