"""What is installed: exact, the same in development and on Lambda, from wherever the installer looks."""

from __future__ import annotations

import re
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

from tests.infrastructure.cloudformation import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DEVELOPMENT = ROOT / "requirements-dev.txt"
SHIPPED = [ROOT / "layers/routing/requirements.txt", ROOT / "functions/authorizer/requirements.txt"]
PIN = re.compile(r"([a-z0-9][a-z0-9._-]*)==([0-9][0-9a-z.]*)")
ADDRESS = re.compile(r"https?://|git\+|file:|--(extra-)?index-url|--find-links| @ ")


def pins(file: Path) -> dict[str, str]:
    """The packages and versions of a file of pins."""
    matches = [PIN.fullmatch(line) for line in file.read_text("utf-8").splitlines()]
    assert None not in matches
    return {match[1]: match[2] for match in matches if match}


@pytest.mark.parametrize("file", [DEVELOPMENT, *SHIPPED], ids=lambda file: str(file.relative_to(ROOT)))
def test_every_line_is_one_exact_pin_without_an_address(file: Path) -> None:
    assert pins(file)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_is_tested_is_what_ships(file: Path) -> None:
    assert pins(file).items() <= pins(DEVELOPMENT).items()


def test_the_environment_holds_what_is_pinned() -> None:
    installed = {name: metadata.version(name) for name in pins(SHIPPED[0])}
    assert installed == pins(SHIPPED[0])


@pytest.mark.parametrize("name", ["requirements-dev.in", "layers/routing/requirements.in", "pyproject.toml"])
def test_no_file_of_wishes_records_where_packages_come_from(name: str) -> None:
    assert not ADDRESS.search((ROOT / name).read_text("utf-8"))


def test_sdk_and_client_are_shipped_together() -> None:
    # Lambda's own boto3 is older than the models that this application calls
    assert {"boto3", "botocore"} <= set(pins(SHIPPED[0]))


def test_the_xray_sdk_is_not_shipped_with_every_function() -> None:
    assert "aws-xray-sdk" not in pins(SHIPPED[0])
