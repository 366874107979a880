"""Whatever clients and operators send: no exception but ours, and no charge for what is refused.

Frames are drawn from the contract's own schemas (docs/protocol.yaml), sound and then damaged; policies from the
document that ships. Streams' bytes and catalogues' rows have their tests beside the code that reads them.
"""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mangaassist.errors import PolicyInvalid
from mangaassist.jst import jst
from mangaassist.routing import policy, question
from mangaassist.routing.router import decide
from mangaassist.routing.situation import Situation
from tests.unit.fakes import answer
from tests.unit.house import House
from tools import protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOW = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
DOCUMENT: dict[str, Any] = yaml.safe_load(protocol.DOCUMENT.read_text("utf-8"))
IN = ("Ask", "Resume", "Cancel", "Feedback", "Forget", "Ping")
ANSWERS = {  # the last frame's type, or its error's code, to who knows no turn and has no session
    "ask": ("end", "message_empty"),
    "ping": ("pong",),
    "forget": ("forgotten",),
    **dict.fromkeys(("resume", "cancel", "feedback"), ("turn_unknown",)),
}
SCHEMAS = DOCUMENT["components"]["schemas"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
PRESET: dict[str, Any] = json.loads(policy.preset_document("current"))
NOW = jst(datetime(2026, 11, 25, 10, tzinfo=UTC).timestamp())
ASKED = (
    question.read("送料はいくらですか?"),
    question.read("ベルセルクの主題を、史実との関係も踏まえて詳しく論じてください"),
)


def fitting(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a field's schema allows; raises KeyError for what the contract does not use."""
    match schema:
        case {"const": value}:
            return st.just(value)
        case {"enum": values}:
            return st.sampled_from(values)
        case {"anyOf": schemas}:
            return st.one_of([fitting(it) for it in schemas])
        case {"type": "string", "pattern": pattern}:
            return st.from_regex(pattern, fullmatch=True)
        case {"type": "integer", "minimum": least, "maximum": most}:
            return st.integers(least, most)
        case {"type": "number", "minimum": least, "maximum": most}:
            return st.floats(least, most)
        case {"type": "string"}:
            return st.text(min_size=1, max_size=60)
        case {"type": "null"}:
            return st.none()
    raise KeyError(str(schema))


def sound(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Frames of a kind, with and without what may be left out."""
    fields, needed = SCHEMAS[name]["properties"], SCHEMAS[name]["required"]
    return st.fixed_dictionaries(
        {field: fitting(fields[field]) for field in needed},
        optional={field: fitting(schema) for field, schema in fields.items() if field not in needed},
    )


SOUND = st.one_of([sound(name) for name in IN])


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """A sound frame with one field changed, missing or added."""
    body = dict(draw(SOUND))
    field = draw(st.sampled_from([*body, "more"]))
    if draw(st.booleans()):
        body.pop(field, None)
    else:
        body[field] = draw(JSON)
    return body


def served(body: str) -> tuple[House, list[dict[str, Any]]]:
    """A frame as the function serves it; the house holds every reply to its schema."""
    house = House({"ondemand-haiku": [answer("はい。")], "ondemand-sonnet": [answer("はい。")]})
    return house, house.say(body)


@SLOW
@given(SOUND)
def test_a_sound_frame_is_answered_by_its_own_kind(body: dict[str, Any]) -> None:
    _, frames = served(json.dumps(body))
    assert frames[-1].get("code", frames[-1]["type"]) in ANSWERS[body.get("action", "ask")]


@SLOW
@given(damaged())
def test_a_damaged_frame_is_answered_or_refused_and_what_is_refused_costs_nothing(body: dict[str, Any]) -> None:
    house, frames = served(json.dumps(body))
    refused = [frame for frame in frames if frame["type"] == "error"]
    assert not any(frame["code"] == "internal" for frame in refused)
    if refused:
        assert (house.world.accounts, house.backend.calls, house.world.purse.committed_nano_usd) == ([], [], 0)


def places(value: Any, *before: Any) -> Iterator[tuple[Any, ...]]:
    """The way to every part of a document."""
    steps = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for step in steps:
        yield (*before, step)
        yield from places(value[step], *before, step)


PLACES = list(places(PRESET))


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    """The document that ships with up to three parts changed or missing."""
    document = copy.deepcopy(PRESET)
    for place in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3)):
        _change(
            document, place, draw(JSON | st.sampled_from([0, -1, 1, 10**12, 0.5, "", "x"])), gone=draw(st.booleans())
        )
    return document


def _change(document: Any, place: tuple[Any, ...], value: Any, *, gone: bool) -> None:
    *way, last = place
    try:
        for step in way:
            document = document[step]
        if gone:
            del document[last]
        else:
            document[last] = value
    except (KeyError, IndexError, TypeError):
        return  # an earlier change has taken it away


@SLOW
@given(policies())
def test_a_policy_is_refused_with_its_reasons_or_decides_every_question(document: dict[str, Any]) -> None:
    try:
        loaded = policy.load(json.dumps(document))
    except PolicyInvalid:
        return
    for asked in ASKED:
        for committed in (0, loaded.budget.daily_nano_usd):
            chain = decide(asked, Situation(committed_nano_usd=committed), loaded, NOW).chain
            assert chain[-1] == "catalogue"
    assert policy.load(policy.canonical(loaded)) == loaded


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "1e999", '{"models": NaN}', "\x00", "{" * 5000])
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(PolicyInvalid):
        policy.load(text)
