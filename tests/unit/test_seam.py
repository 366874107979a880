"""Where two models meet in one answer, nothing is said twice and nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mangaassist.routing.seam import Seam


def join(before: str, *pieces: str) -> str:
    seam = Seam(before)
    return before + "".join(seam.feed(piece) for piece in pieces) + seam.close()


@pytest.mark.parametrize(
    ("before", "pieces", "whole"),
    [
        ("ルフィは海賊王を", ["目指す", "。"], "ルフィは海賊王を目指す。"),
        ("ルフィは海賊王を", ["海賊王を", "目指す。"], "ルフィは海賊王を目指す。"),
        ("ルフィは海賊王を", list("ルフィは海賊王を目指す。"), "ルフィは海賊王を目指す。"),
        ("The hero wants to ", ["wants ", "to be king."], "The hero wants to be king."),
        ("The hero wants to ", [" be king."], "The hero wants to be king."),
        ("The hero", [" is"], "The hero is"),
        ("ルフィは海賊王を", ["ルフィは海賊王を"], "ルフィは海賊王を"),
        ("", ["はじめ"], "はじめ"),
        ("Nothing more to add.", [], "Nothing more to add."),
    ],
)
def test_a_repetition_at_the_seam_is_removed(before: str, pieces: list[str], whole: str) -> None:
    assert join(before, *pieces) == whole


@given(before=st.text(min_size=1, max_size=60), rest=st.text(max_size=60), overlap=st.integers(4, 60), data=st.data())
def test_whatever_the_pieces_an_overlap_is_removed_once(
    before: str, rest: str, overlap: int, data: st.DataObject
) -> None:
    repeated = before[-overlap:].lstrip() + rest
    cuts = sorted(data.draw(st.lists(st.integers(0, len(repeated)), max_size=6)))
    pieces = [repeated[start:end] for start, end in zip([0, *cuts], [*cuts, len(repeated)], strict=True)]
    one_piece = join(before, repeated)
    assert one_piece.startswith(before)
    assert join(before, *pieces) == one_piece


@given(before=st.text("ab", max_size=30), text=st.text("cd", min_size=1, max_size=30))
def test_new_text_passes_unharmed(before: str, text: str) -> None:
    assert join(before, *text) == before + text
