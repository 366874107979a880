"""The scan for secrets finds what it is there for, and allows no more than it has to."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infrastructure.cloudformation import ROOT

MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
(HARMLESS,) = re.findall(r"^HARMLESS := (.+)$", MAKEFILE, re.MULTILINE)
TOOLS = Path(sys.executable).parent
# Put together here, so that this file holds none.
SECRETS = {
    "a key of AWS": "AKI" + "AQ3EGR7TZLXKMW5PN",
    "a token of GitHub": "ghp" + "_16C7e42F292c6912E7710c838347Ae178B4a",
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "a password": 'password = "' + 'Tr0ub4dor-and-3"',
}


def scan(file: Path) -> int:
    """The exit code of the scan of a file, as make runs it."""
    command = [str(TOOLS / "detect-secrets-hook"), "--no-verify", "--exclude-secrets", f"^({HARMLESS})$", str(file)]
    return subprocess.run(command, capture_output=True, check=False).returncode


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_a_secret_in_a_file_is_found(tmp_path: Path, secret: str) -> None:
    file = tmp_path / "settings.py"
    file.write_text(f"{secret}\n", "utf-8")
    assert scan(file) == 1


def test_a_file_without_one_passes(tmp_path: Path) -> None:
    file = tmp_path / "settings.py"
    file.write_text("AWS_SECRET_ACCESS_KEY = 'testing'\n", "utf-8")
    assert scan(file) == 0


def test_make_scans_all_that_may_be_committed_by_the_same_arguments() -> None:
    assert "git ls-files -z --cached --others --exclude-standard" in MAKEFILE
    assert "detect-secrets-hook --no-verify --exclude-secrets '^($(HARMLESS))$$'" in MAKEFILE
    assert re.search(r"^validate: .*\bsecrets\b.* ##", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize("value", HARMLESS.split("|"))
def test_what_is_allowed_is_still_needed(value: str) -> None:
    folders = ("bench", "events", "local", "tests")
    texts = (file.read_text("utf-8") for folder in folders for file in (ROOT / folder).rglob("*.*") if _is_text(file))
    assert any(f'"{value}"' in text for text in texts)


def _is_text(file: Path) -> bool:
    return file.suffix in (".py", ".json") and file != Path(__file__)
