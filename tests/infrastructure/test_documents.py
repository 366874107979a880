"""The documents: what they link to is there, so that no claim points to evidence that nobody can read."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]*))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LISTED = subprocess.run(["git", "ls-files", "-z", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
DOCUMENTS = [name for name in LISTED.stdout.split("\0") if name]


def anchors(document: Path) -> set[str]:
    """The names of a document's headings, as GitHub makes them."""
    plain = FENCED.sub("", document.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(plain)}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_document_links_to_is_there(name: str) -> None:
    document = ROOT / name
    for path, anchor in LINK.findall(FENCED.sub("", document.read_text("utf-8"))):
        target = (document.parent / path) if path else document
        assert target.exists(), f"{name} links to {path}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{name} links to {path}#{anchor}"


def test_the_readme_is_among_them() -> None:
    assert {"README.md", "docs/operations.md"} <= set(DOCUMENTS)
