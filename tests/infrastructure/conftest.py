"""The template as it is written and as AWS translates it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.infrastructure import sagemaker as endpoint
from tests.infrastructure.cloudformation import ROOT, Template, nested
from tools.translated import translate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def template() -> Template:
    """What CloudFormation gets."""
    return Template(translate(ROOT / "template.yaml"))


@pytest.fixture(scope="session")
def knowledge() -> Template:
    """The nested template of search."""
    return nested("stacks/knowledge.yaml")


@pytest.fixture(scope="session")
def cache() -> Template:
    """The nested template of the cache and its network."""
    return nested("stacks/cache.yaml")


@pytest.fixture(scope="session")
def sagemaker() -> Template:
    """The nested template of our own model's endpoint."""
    return nested("stacks/sagemaker.yaml")


@pytest.fixture
def deploy(template: Template, sagemaker: Template) -> endpoint.Deploy:
    """Makes the endpoint's stack with parameters of the main template."""
    return partial(endpoint.deployed, template, sagemaker)


@pytest.fixture(scope="session")
def functions(template: Template) -> dict[str, dict[str, Any]]:
    """The functions' properties by logical id."""
    return template.of_type("AWS::Lambda::Function")
