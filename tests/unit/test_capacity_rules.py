"""What a purchase is called and how long it drains."""

from __future__ import annotations

import re
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mangaassist.capacity.rules import drain_s, give_up_s, offer_for, purchase_name
from tests.unit.purchases import POLICY

DAY = date(2026, 11, 25)
NAME = r"([0-9a-zA-Z][_-]?)+"  # what Bedrock takes as a name
TOKEN = r"[a-zA-Z0-9]([-a-zA-Z0-9]{0,254}[a-zA-Z0-9])?"  # and as an idempotency token
OWNERS = st.text(max_size=128) | st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,127}", fullmatch=True)


@given(owner=OWNERS, number=st.integers(1, 99))
def test_a_name_is_what_bedrock_takes_as_name_and_as_token(owner: str, number: int) -> None:
    name = purchase_name(owner, "business", DAY, number)
    assert len(name) <= 63
    assert re.fullmatch(NAME, name)
    assert re.fullmatch(TOKEN, name)


def test_a_name_says_whose_which_window_and_which_day() -> None:
    assert purchase_name("mangaassist", "peak", DAY, 1) == "mangaassist-peak-2026-11-25"
    assert purchase_name("mangaassist", "peak", DAY, 2) == "mangaassist-peak-2026-11-25-2"


@pytest.mark.parametrize(
    ("one", "other"),
    [("x" * 60 + "-one", "x" * 60 + "-two"), ("manga_dev", "manga-dev"), ("漫画", "本"), ("", "-")],
)
def test_two_owners_never_share_a_name_because_it_would_be_one_purchase(one: str, other: str) -> None:
    assert purchase_name(one, "peak", DAY, 1) != purchase_name(other, "peak", DAY, 1)


def test_the_same_purchase_has_the_same_name_whenever_it_is_asked_for() -> None:
    assert purchase_name("x" * 128, "peak", DAY, 1) == purchase_name("x" * 128, "peak", DAY, 1)


def test_draining_outlasts_an_old_view_and_the_longest_turn_begun_on_it() -> None:
    limits = POLICY.limits
    assert drain_s(limits) > (limits.situation_ttl_ms + limits.turn_ms) / 1000


def test_what_is_bought_for_a_window_is_the_offer_of_its_targets_model() -> None:
    offer = offer_for(POLICY, "peak")
    assert offer is not None
    assert offer.id == "amazon.nova-pro-v1:0:300k"
    assert offer_for(POLICY, "lunch") is None


def test_patience_is_the_policys_to_say() -> None:
    assert give_up_s(POLICY) == POLICY.provisioning.give_up_minutes * 60
