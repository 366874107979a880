"""Rows of a catalogue file: what is a product, what is not and why, and that a bad row costs nobody else anything."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mangaassist.knowledge import catalogue
from mangaassist.knowledge.loading import rows
from mangaassist.knowledge.loading.lines import LINE_LIMIT_BYTES
from mangaassist.knowledge.loading.rows import Bad, Good
from mangaassist.knowledge.product import Product

if TYPE_CHECKING:
    from collections.abc import Sequence

PLAIN = {"id": "monster", "title_ja": "モンスター", "price_yen": 726, "stock": 3, "genres": ["mystery", "thriller"]}


def read(text: str | bytes, name: str = "catalogue.jsonl") -> list[Good | Bad]:
    return list(rows.read([text.encode() if isinstance(text, str) else text], name))


def line(**changes: Any) -> str:
    return json.dumps(PLAIN | changes, ensure_ascii=False) + "\n"


def reason(*found: Good | Bad) -> str:
    (bad,) = (row for row in found if isinstance(row, Bad))
    return bad.reason


def spreadsheet(header: Sequence[str], *cells: Sequence[str]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows([header, *cells])
    return written.getvalue()


def test_every_work_that_ships_survives_being_written_and_read() -> None:
    products = [Product(work, price_yen=500, latest_date="2025-08") for work in catalogue.works().values()]
    text = "".join(json.dumps(product.facts(), ensure_ascii=False) + "\n" for product in products)
    assert [row.product for row in read(text) if isinstance(row, Good)] == products


def test_a_spreadsheet_says_the_same_as_json() -> None:
    product = Product(next(iter(catalogue.works().values())), price_yen=572, stock=0, sample=True)
    cells = {
        name: "|".join(value) if isinstance(value, list) else "" if value is None else str(value)
        for name, value in product.facts().items()
    }
    assert read(spreadsheet(list(cells), list(cells.values())), "a.CSV") == [Good(2, product)]


def test_what_a_spreadsheet_leaves_empty_is_not_known() -> None:
    (row,) = read("id,title_ja,status,price_yen,aliases\na,あ,,,\n", "a.csv")
    assert isinstance(row, Good)
    assert (row.product.work.status, row.product.price_yen, row.product.work.aliases) == (None, None, ())


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_mark_at_the_start_and_windows_line_ends_do_no_harm(name: str) -> None:
    text = "id,title_ja\r\na,あ\r\n\r\n" if name == "a.csv" else '{"id": "a", "title_ja": "あ"}\r\n\r\n'
    (row,) = read("\ufeff" + text, name)
    assert isinstance(row, Good)
    assert row.product.work.title_ja == "あ"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"id": "Monster"}, "id: an id is"),
        ({"id": "-a"}, "id: an id is"),
        ({"id": "a" * 65}, "id: an id is"),
        ({"id": 7}, "id: Input should be a valid string"),
        ({"title_ja": ""}, "title_ja: String should have at least 1 character"),
        ({"title_ja": "  "}, "title_ja: String should have at least 1 character"),
        ({"title_en": "x" * 201}, "title_en: String should have at most 200 characters"),
        ({"synopsis_ja": "あ" * 1001}, "synopsis_ja: String should have at most 1000"),
        ({"synopsis_en": "a\x07b"}, "synopsis_en: control characters"),
        ({"title_ja": "a\nb"}, "title_ja: control characters"),
        ({"price_yen": -1}, "price_yen: Input should be greater than or equal to 0"),
        ({"price_yen": 1_000_001}, "price_yen: Input should be less than"),
        ({"price_yen": 1.5}, "price_yen: Input should be a valid integer"),
        ({"price_yen": True}, "price_yen: Input should be a valid integer"),
        ({"price_yen": "660"}, "price_yen: Input should be a valid integer"),
        ({"stock": -1}, "stock: "),
        ({"status": "done"}, "status: Input should be 'completed', 'ongoing' or 'hiatus'"),
        ({"latest_date": "2025-13"}, "latest_date: month must be"),
        ({"latest_date": "2025-02-30"}, "latest_date: day "),
        ({"latest_date": "May 2025"}, "latest_date: a date is YYYY"),
        ({"volumes": 0}, "volumes: "),
        ({"genres": "battle"}, "genres: Input should be a valid"),
        ({"genres": ["battle", ""]}, "genres.2: String should have at least 1"),
        ({"aliases": ["x"] * 21}, "aliases: Tuple should have at most 20"),
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"a\x00b": 1}, "unknown field 'a\\x00b'"),
    ],
)
def test_a_bad_field_is_named_and_its_neighbours_get_in(changes: dict[str, Any], told: str) -> None:
    before, bad, after = read(line(id="before") + line(**changes) + line(id="after"))
    assert isinstance(before, Good)
    assert isinstance(after, Good)
    assert isinstance(bad, Bad)
    assert bad.line == 2
    assert bad.reason.startswith(told)


@pytest.mark.parametrize("text", ["nonsense", "[1]", "7", '{"id": "a"', '{"id": "a", "title_ja": "\\ud800"}', "\x00"])
def test_what_is_no_json_object_is_said(text: str) -> None:
    assert "JSON" in reason(*read(text))


def test_no_value_of_a_bad_row_is_repeated() -> None:
    assert "secret" not in reason(*read(line(id="secret!", status="secret", stock="secret")))


def test_of_two_rows_with_one_id_the_first_counts_and_the_second_says_where_it_is() -> None:
    first, second = read(line(stock=1) + line(stock=2))
    assert isinstance(first, Good)
    assert second == Bad(2, "id: monster is in line 1 already")


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("id,title_ja,colour", "columns that are unknown: colour"),
        ("id;title_ja", "columns that are unknown: 'id;title_ja'"),
        ("id,title_ja,stock,stock", "columns that are named twice: stock"),
        ("id,price_yen", "columns that are missing: title_ja"),
        ('"id,title_ja', "the header cannot be read"),
        ("", "the file is empty"),
    ],
)
def test_a_wrong_header_is_one_error_before_any_row(header: str, told: str) -> None:
    (bad,) = read(f"{header}\na,b,c\nd,e,f\n" if header else "", "a.csv")
    assert isinstance(bad, Bad)
    assert bad.ends
    assert bad.reason.startswith(told)


def test_a_quotation_mark_that_is_never_closed_swallows_no_other_row() -> None:
    found = read('id,title_ja\na,あ\nb,"い\nc,う\n', "a.csv")
    assert [(type(row), row.line) for row in found] == [(Good, 2), (Bad, 3), (Good, 4)]


def test_a_row_with_too_many_cells_is_not_guessed_at() -> None:
    assert reason(*read("id,title_ja\na,あ,い\n", "a.csv")) == "3 cells, where the header has 2"


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
@pytest.mark.parametrize("encoding", ["cp932", "utf-16"])
def test_another_encoding_is_one_clear_error(name: str, encoding: str) -> None:
    text = "id,title_ja\na,漫画\nb,漫画\n" if name == "a.csv" else line() * 2
    *_, last = read(text.encode(encoding), name)
    assert isinstance(last, Bad)
    assert last.ends
    assert "save the file as UTF-8" in last.reason


def test_an_endless_line_is_skipped_without_being_kept() -> None:
    pieces = [line(id="a").encode(), *[b"x" * LINE_LIMIT_BYTES] * 3, b"\n", line(id="b").encode()]
    found = list(rows.read(pieces, "a.jsonl"))
    assert [(type(row), row.line) for row in found] == [(Good, 1), (Bad, 2), (Good, 3)]


@pytest.mark.parametrize("name", ["catalogue.json", "catalogue", "catalogue.xlsx", "csv"])
def test_what_is_no_catalogue_by_its_name_is_not_read(name: str) -> None:
    (bad,) = read(line(), name)
    assert isinstance(bad, Bad)
    assert bad.ends
    assert "a catalogue is a .csv or .jsonl file" in bad.reason


PIECES = st.lists(
    st.one_of(st.binary(max_size=40), st.sampled_from([b"\n", b'"', b",", b"id,title_ja\n", line().encode()]))
)


@given(PIECES, st.sampled_from(["a.csv", "a.jsonl", "a.txt"]))
def test_no_bytes_raise_anything(pieces: list[bytes], name: str) -> None:
    found = list(rows.read(pieces, name))
    assert [row.line for row in found] == sorted({row.line for row in found})
    assert not any(isinstance(row, Bad) and row.ends for row in found[:-1])


@given(PIECES, st.sampled_from(["a.csv", "a.jsonl"]))
def test_how_a_file_is_cut_changes_nothing(pieces: list[bytes], name: str) -> None:
    whole = b"".join(pieces)
    assert list(rows.read(pieces, name)) == list(rows.read([whole], name))


LATIN = st.binary(max_size=30).map(lambda some: some.decode("latin-1"))
VALUES = st.one_of(LATIN, st.integers(), st.none(), st.booleans(), st.floats(), st.lists(LATIN, max_size=3))


@given(st.dictionaries(st.sampled_from(list(rows.Row.model_fields)), VALUES))
def test_no_value_raises_anything(changes: dict[str, Any]) -> None:
    (row,) = read(json.dumps(PLAIN | changes))
    assert isinstance(row, Good | Bad)
