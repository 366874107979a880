"""What became of a file, for people and programs; it grows while the file is loaded."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from mangaassist.knowledge.loading.rows import Good
from mangaassist.money.prices import Usage, cost_nano_usd, usd
from mangaassist.routing.policy import EMBEDDING_PRICES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mangaassist.knowledge.loading.rows import Bad

TOLD_MOST = 10_000  # rows that a report names; all are counted


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that did not get in, and why."""

    line: int
    reason: str
    id: str = ""  # of a product that failed; a bad row has none


@dataclass
class Report:
    """Rows by what became of them, and what that cost."""

    model: str
    rows: int = 0
    bad: int = 0  # will not do better another time
    unchanged: int = 0
    facts_only: int = 0
    embedded: int = 0
    failed: int = 0  # may do better another time
    embedding_tokens: int = 0
    milliseconds: int = 0
    unread: str = ""  # why the file was not read to its end
    problems: list[Problem] = field(default_factory=list)

    @property
    def settled(self) -> int:
        """The rows that are done with."""
        return self.bad + self.unchanged + self.facts_only + self.embedded + self.failed

    @property
    def embedding_nano_usd(self) -> int:
        """What the embeddings cost, by list price."""
        return cost_nano_usd(Usage(input_tokens=self.embedding_tokens), EMBEDDING_PRICES[self.model])

    def tell(self, problem: Problem) -> None:
        """Keep a problem, as long as there are not too many."""
        if len(self.problems) < TOLD_MOST:
            self.problems.append(problem)

    def counts(self) -> dict[str, int]:
        """The numbers alone."""
        numbers = {name: value for name, value in asdict(self).items() if isinstance(value, int)}
        return numbers | {"embedding_nano_usd": self.embedding_nano_usd}

    def document(self) -> dict[str, Any]:
        """All of it as plain values."""
        told = {"model": self.model, **self.counts(), "embedding_usd": usd(self.embedding_nano_usd)}
        return told | {"unread": self.unread, "problems": [asdict(problem) for problem in self.problems]}


def counted(rows: Iterable[Good | Bad], report: Report) -> Iterator[Good]:
    """The good rows; all are counted on the way, and the bad ones told."""
    for row in rows:
        if isinstance(row, Good):
            report.rows += 1
            yield row
            continue
        report.tell(Problem(row.line, row.reason))
        if row.ends:
            report.unread = row.reason
        else:
            report.rows += 1
            report.bad += 1
