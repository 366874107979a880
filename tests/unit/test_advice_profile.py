"""A profile that cannot be is refused before anything is computed, with a reason for each field that is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mangaassist.advice import profile, request
from mangaassist.advice.load import load_of
from mangaassist.errors import ProfileInvalid
from tests.integration.environment import EVENTS
from tests.unit.advising import FLAT, asked


def refused(**document: Any) -> dict[str, str]:
    with pytest.raises(ProfileInvalid) as refusal:
        profile.read(document)
    return refusal.value.fields


def test_the_volume_is_enough() -> None:
    assert profile.read({"messages_per_day": 5}).input_tokens == 350
    assert "messages_per_day" in refused()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("messages_per_day", 0),
        ("messages_per_day", -5),
        ("messages_per_day", 1.5),
        ("messages_per_day", "many"),
        ("input_tokens", 0),
        ("output_tokens", -1),
        ("complex_share", 1.01),
        ("catalogue_share", -0.1),
        ("kept_share", 1),
        ("burst", 0.5),
        ("commitment", "forever"),
        ("team_size", 0),
        ("monthly_usd", 0),
        ("region", "Tokyo"),
        ("instance_type", "big"),
        ("messages", 5),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object) -> None:
    assert list(refused(**{"messages_per_day": 5, field: value})) == [field]


def test_every_wrong_field_is_named_at_once() -> None:
    found = refused(messages_per_day=-1, complex_share=2, output_tokens=0)
    assert set(found) == {"messages_per_day", "complex_share", "output_tokens"}
    assert all(found.values())


def test_the_curve_is_a_whole_day() -> None:
    assert "sum to 2.4000" in refused(messages_per_day=5, curve=[0.1] * 24)["curve"]
    assert "24 shares" in refused(messages_per_day=5, curve=[0.5, 0.5])["curve"]
    assert set(refused(messages_per_day=5, curve=[-0.5, *FLAT[1:]])) == {"curve.0"}


def test_shares_are_of_the_same_messages() -> None:
    found = refused(messages_per_day=5, complex_share=0.6, catalogue_share=0.6)
    assert found == {"complex_share, catalogue_share": "together they are 1.2, over 1"}


def test_the_impossible_sample_event_names_its_fields() -> None:
    event = json.loads((EVENTS / "advisor-impossible.json").read_text("utf-8"))
    with pytest.raises(ProfileInvalid) as refusal:
        request.profile_of(request.read(event), None)
    assert set(refusal.value.fields) == {"messages_per_day", "curve", "complex_share", "team"}


def test_a_request_that_is_no_request_names_its_fields() -> None:
    with pytest.raises(ProfileInvalid) as refusal:
        request.read({"profil": {}, "books_of": "last year", "policy": "mine", "prices": {"lambda.requests": -1}})
    assert {name.partition(".")[0] for name in refusal.value.fields} == {"profil", "books_of", "policy", "prices"}


def test_a_price_of_nothing_known_is_refused() -> None:
    with pytest.raises(ProfileInvalid, match="moon"):
        request.book_of(request.read({"prices": {"moon.rides": 3}}), "ap-northeast-1")


def test_kept_answers_need_no_model() -> None:
    assert load_of(asked(1000, kept_share=0.25)).messages == pytest.approx(750)


def test_the_day_is_spread_along_its_curve_and_mix() -> None:
    load = load_of(asked(2400, curve=FLAT, complex_share=0.1, catalogue_share=0.3))
    assert load.of("complex") == pytest.approx([10] * 24)
    assert load.of("catalogue", "simple") == pytest.approx([90] * 24)
    assert load.busiest_tokens_per_minute(load.of("complex")) == pytest.approx(10 / 60 * 1.2 * 500)
