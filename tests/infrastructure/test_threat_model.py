"""docs/threat-model.md says of each function's rights neither more nor less than the template grants."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.infrastructure.test_permissions import ALL_CHOICES, ROLES, granted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.infrastructure.cloudformation import Template

ROW = re.compile(r"^\| ([A-Z]\w+) \| ([a-z0-9-]+) \| ([\w, ]+) \| .+ \|$", re.MULTILINE)


def test_the_table_of_rights_is_what_the_template_grants(template: Template, root: Path) -> None:
    _, _, section = (root / "docs/threat-model.md").read_text("utf-8").partition("## What each function may do")
    table, _, _ = section.partition("\n## ")
    told = {
        (f"{function}Function", f"{service}:{action}")
        for function, service, actions in ROW.findall(table)
        for action in actions.split(", ")
    }
    may = {(function, action) for function in ROLES for action in granted(template, function, *ALL_CHOICES)}
    assert told == may
