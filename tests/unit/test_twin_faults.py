"""Scripted trouble and its counts."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from local.faults import Faults, FaultUnknown

KNOWN = {"ondemand-haiku", "dynamodb", "search"}


def scripted(document: Any, seed: int = 1) -> Faults:
    faults = Faults(random.Random(seed))
    faults.put(json.dumps(document).encode(), KNOWN)
    return faults


def test_a_counted_fault_is_used_up() -> None:
    faults = scripted({"dynamodb": {"fault": "hang", "count": 2}})
    assert [fault is not None for fault in (faults.take("dynamodb") for _ in range(3))] == [True, True, False]


def test_a_likely_fault_strikes_as_often_as_it_says() -> None:
    faults = scripted({"dynamodb": {"fault": "hang", "probability": 0.3}})
    struck = sum(faults.take("dynamodb") is not None for _ in range(2000))
    assert 500 < struck < 700


def test_the_first_calls_may_fail_for_certain_before_chance_decides() -> None:
    faults = scripted({"dynamodb": {"fault": "hang", "probability": 0.01, "certain": 2}})
    struck = [faults.take("dynamodb") is not None for _ in range(300)]
    assert struck[:2] == [True, True]
    assert sum(struck[2:]) < 20


def test_the_first_name_that_has_one_counts() -> None:
    faults = scripted({"ondemand-haiku": {"fault": "cut"}, "dynamodb": {"fault": "hang"}})
    assert (fault := faults.take("nothing", "dynamodb", "ondemand-haiku")) is not None
    assert fault.fault == "hang"
    assert faults.take("nothing") is None


def test_a_kind_of_one_operation_leaves_the_others_alone() -> None:
    faults = scripted({"search": {"fault": "reject_items"}})
    assert faults.take("search", operation="_search") is None
    assert faults.take("search", operation="_bulk") is not None


def test_an_endpoint_has_the_kinds_of_its_target() -> None:
    faults = Faults(random.Random(1), endpoint="my-model")
    faults.put(json.dumps({"my-model": {"fault": "not_ready"}}).encode(), {"my-model"})
    assert faults.take("sagemaker-custom", "my-model") is not None
    with pytest.raises(FaultUnknown, match="not_ready belongs to sagemaker-custom"):
        faults.put(json.dumps({"search": {"fault": "not_ready"}}).encode(), KNOWN)


def test_a_wrong_document_changes_nothing() -> None:
    faults = scripted({"dynamodb": {"fault": "hang"}})
    for wrong in ({"dynamodb": {"fault": "cut"}, "nobody": {"fault": "cut"}}, {"dynamodb": {"fault": "?"}}, [1]):
        with pytest.raises(FaultUnknown):
            faults.put(json.dumps(wrong).encode(), KNOWN)
    assert faults.listed() == {"dynamodb": {"fault": "hang"}}
