"""What is installed: exact, the same in development and on Lambda, from wherever the installer looks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

from tests.infrastructure.cloudformation import ROOT, Template
from tools.translated import translate

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


def test_the_xray_sdk_is_shipped_for_those_who_turn_tracing_on() -> None:
    assert "aws-xray-sdk" in pins(SHIPPED[0])


def test_the_message_function_imports_no_xray_sdk_and_no_requests_while_tracing_is_off() -> None:
    variables = Template(translate(ROOT / "template.yaml")).variables("MessageFunction")
    assert variables["TRACING"] == "off"
    code = "import sys, message; print(*{name.partition('.')[0] for name in sys.modules})"
    path = os.pathsep.join(str(ROOT / folder) for folder in ("layers/routing", "functions/message"))
    environment = variables | {
        "PYTHONPATH": path,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",  # or nothing would be put together
        "AWS_REGION": "ap-northeast-1",
        "AWS_DEFAULT_REGION": "ap-northeast-1",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
    }
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    imported = set(ran.stdout.split())
    assert {"mangaassist", "aws_lambda_powertools", "botocore"} <= imported
    assert not {"aws_xray_sdk", "requests"} & imported
