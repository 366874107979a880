"""`make ingest`: what an operator sees of a file, what is changed, and that the twin has it afterwards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from tests.e2e.running import ROOT, Running, running
from tests.integration import shelves
from tests.integration.shelves import some
from tools.ingest import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from click.testing import Result

    from mangaassist.knowledge.product import Product

    type Run = Callable[..., Result]

SMALL = ("--template", str(ROOT / "tests" / "data" / "twin" / "template.yaml"))
TABLE = "ProductsTable"


@pytest.fixture(scope="module")
def twin() -> Iterator[Running]:
    with running(*SMALL) as started:
        shelves.create_table(started.client("dynamodb"), TABLE)
        yield started


@pytest.fixture
def run(twin: Running) -> Run:
    """Call the command at the twin; `says` is typed in."""

    def call(*arguments: object, says: str = "") -> Result:
        result = CliRunner(mix_stderr=False).invoke(main, ["--twin", twin.page, *map(str, arguments)], input=says)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    return call


def written(path: Path, products: Sequence[Product], *more: str) -> Path:
    lines = [json.dumps(one.facts(), ensure_ascii=False) for one in products]
    path.write_text("\n".join([*lines, *more]) + "\n", "utf-8")
    return path


def sold(twin: Running) -> set[str]:
    items = twin.client("dynamodb").scan(TableName=TABLE)["Items"]
    return {str(item["id"]["S"]) for item in items}


def figure(result: Result, name: str) -> str:
    """A number of the table that is shown."""
    (line,) = (
        line for line in result.stdout.splitlines() if line.split("│")[1:2] and name == line.split("│")[1].strip()
    )
    return str(line.split("│")[2].strip())


def test_a_file_is_tried_loaded_and_pruned(twin: Running, run: Run, tmp_path: Path) -> None:
    file = written(tmp_path / "a.jsonl", some(5))
    tried = run("--dry-run", file)
    assert (tried.exit_code, figure(tried, "to be embedded, indexed and written"), sold(twin)) == (0, "5", set())
    loaded = run(file)
    assert (loaded.exit_code, figure(loaded, "embedded, indexed and written")) == (0, "5")
    assert sold(twin) == {it.id for it in some(5)}
    assert twin.get("state")["search"]["documents"] == {"products": 5}
    again = run(file)
    assert (figure(again, "unchanged"), figure(again, "embedding tokens")) == ("5", "0")

    fewer = written(tmp_path / "b.jsonl", some(2))
    assert figure(run("--dry-run", "--prune", fewer), "to be pruned") == "3"
    asked = run("--prune", fewer, says="n\n")
    assert "Delete 3 products" in asked.stdout
    assert len(sold(twin)) == 5
    assert figure(run("--prune", "--yes", fewer), "pruned") == "3"
    assert sold(twin) == {it.id for it in some(2)}
    assert twin.get("state")["search"]["documents"] == {"products": 2}


def test_bad_rows_are_shown_reported_and_keep_nothing_from_being_loaded_but_pruning(
    twin: Running, run: Run, tmp_path: Path
) -> None:
    run(written(tmp_path / "a.jsonl", some(3)))
    file = written(tmp_path / "b.jsonl", some(1), *["nonsense"] * 30)
    result = run("--prune", "--yes", "--report", tmp_path / "report.json", file)
    assert result.exit_code == 2
    shown = result.stderr.splitlines()
    assert (
        shown.count("nothing is pruned: only a file whose rows are all good and in says what is not sold any more") == 1
    )
    assert sum(line.startswith("line ") for line in shown) == 20
    assert "10 more" in shown[-1]
    assert "report.json" in shown[-1]
    report: Any = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert (report["bad"], len(report["problems"]), report["pruned"]) == (30, 30, 0)
    assert {it.id for it in some(3)} <= sold(twin)


def test_what_fails_is_another_exit_code_than_what_is_bad(twin: Running, run: Run, tmp_path: Path) -> None:
    run(written(tmp_path / "a.jsonl", some(1)))
    twin.put("faults", {"search": {"fault": "denied"}})
    try:
        result = run(written(tmp_path / "b.jsonl", some(2)))
    finally:
        twin.delete("faults")
    assert result.exit_code == 1
    assert "does not answer: search: Forbidden, status 403" in result.stderr


def test_checking_needs_no_deployment(tmp_path: Path) -> None:
    nowhere = ["--twin", "http://127.0.0.1:9"]
    good = CliRunner().invoke(main, [*nowhere, "--check", str(written(tmp_path / "a.jsonl", some(3)))])
    assert (good.exit_code, figure(good, "rows"), figure(good, "bad")) == (0, "3", "0")
    bad = CliRunner().invoke(main, [*nowhere, "--check", str(written(tmp_path / "b.jsonl", some(3), "{}"))])
    assert (bad.exit_code, figure(bad, "bad")) == (2, "1")
    none = CliRunner().invoke(main, [*nowhere, "--check", str(written(tmp_path / "c.txt", []))])
    assert none.exit_code == 2
    both = CliRunner().invoke(main, [*nowhere, "--check", "--prune", str(tmp_path / "a.jsonl")])
    assert "--check goes with no other choice" in both.output


def test_a_twin_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    file = str(written(tmp_path / "a.jsonl", some(1)))
    result = CliRunner(mix_stderr=False).invoke(main, ["--twin", "http://127.0.0.1:9", file])
    assert result.exit_code == 1
    assert "make run starts it" in result.stderr


def test_the_catalogue_that_ships_is_good() -> None:
    result = CliRunner().invoke(main, ["--check", str(ROOT / "samples" / "catalogue.jsonl")])
    assert (result.exit_code, figure(result, "bad")) == (0, "0")
    assert int(figure(result, "rows")) > 200
