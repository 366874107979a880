"""The queries for CloudWatch Logs Insights: one file each in `docs/queries`, what it answers in its first line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "docs" / "queries"


@dataclass(frozen=True)
class Query:
    """A query of the message function's log."""

    name: str
    meaning: str
    text: str

    @property
    def resource(self) -> str:
        """Its logical id: `slow-turns` is `SlowTurnsQuery`."""
        return "".join(word.capitalize() for word in self.name.split("-")) + "Query"

    def definition(self) -> dict[str, Any]:
        """The query as CloudFormation keeps it for the console."""
        return {
            "Type": "AWS::Logs::QueryDefinition",
            "Properties": {
                "Name": {"Fn::Sub": f"${{Name}}/{self.name}"},
                "LogGroupNames": [{"Ref": "MessageLogGroup"}],
                "QueryString": f"# {self.meaning}\n{self.text}",
            },
        }


def read(file: Path) -> Query:
    """A query's file: a line that begins with `#`, then the query; raises ValueError for another form."""
    first, _, text = file.read_text("utf-8").partition("\n")
    if not first.startswith("# ") or not text.strip():
        raise ValueError(f"{file.name}: its first line has to say what it answers, as a comment")
    return Query(file.stem, first.removeprefix("# "), text.strip())


QUERIES = {file.stem: read(file) for file in sorted(FOLDER.glob("*.txt"))}
