"""A report's page: sections of sentences, tables and figures, written into one self-contained HTML file."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import StringIO
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure as Plot

NUMBERS_BEGIN = frozenset("0123456789-−$¥<")
LONGEST_NUMBER = 18  # characters; what is longer is text that begins with a number


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot with what it is of and what it says; `svg` is a whole element."""

    title: str
    svg: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns; short cells that begin with a digit, a minus or a dollar sign are set to the right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: sentences first, then its tables and figures in order."""

    title: str
    sentences: Sequence[str] = ()
    parts: Sequence[Figure | Table] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A report: its title, its verdict in a sentence or two, key figures as (label, value), and its sections."""

    title: str
    verdict: str
    figures: Sequence[tuple[str, str]] = ()
    sections: Sequence[Section] = field(default_factory=tuple)
    footnote: str = ""

    def html(self) -> str:
        """The whole page."""
        return _templates().get_template("page.html").render(page=self)

    def write(self, path: Path) -> None:
        """Write the page, and the folders above it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.html(), encoding="utf-8")


def figure(title: str, plot: Plot, caption: str = "") -> Figure:
    """Draw a plot as SVG whose text stays text; the same plot gives the same bytes."""
    import matplotlib as mpl

    target = StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        plot.savefig(target, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    text = target.getvalue()
    return Figure(title, text[text.index("<svg") :], caption)


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("reporting", "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["number_like"] = lambda cell: len(cell) <= LONGEST_NUMBER and cell[:1] in NUMBERS_BEGIN
    environment.filters["drawn"] = Markup  # our own plots, drawn a moment ago
    environment.tests["figure"] = lambda part: isinstance(part, Figure)
    return environment
