"""The small parts of the twin that need no socket: quotas, profiles, events, the clock's words, hot reload."""

from __future__ import annotations

import io
import os
import sys
import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from local import events, profiles
from local.clock import JST, Clock, ClockBound, instant
from local.functions import Context, Functions, HandlerFailed
from local.gateway import Limits
from local.log import FunctionsLog
from local.profiles import Bucket
from local.template import Api, Application, Function
from mangaassist.observability import PerThread

if TYPE_CHECKING:
    from pathlib import Path


def test_a_bucket_refills_and_settles() -> None:
    now = [0.0]
    bucket = Bucket(60, monotonic=lambda: now[0])
    assert bucket.has(60)
    bucket.take(60)
    assert not bucket.has(1)
    now[0] = 10
    assert bucket.has(10)
    assert not bucket.has(11)
    bucket.take(-100)  # a claim that was not used
    assert bucket.has(60)
    assert not bucket.has(61)


@pytest.mark.parametrize(
    ("model", "thinking", "sampling", "prefill"),
    [
        ("jp.anthropic.claude-haiku-5-5", True, False, False),
        ("global.anthropic.claude-sonnet-5-5", True, False, False),
        ("jp.anthropic.claude-sonnet-4-6", False, True, False),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", False, True, True),
        ("anthropic.claude-3-haiku-20240307-v1:0", False, True, True),
        ("somebody.else", False, True, True),
    ],
)
def test_models_are_known_by_their_family(model: str, thinking: bool, sampling: bool, prefill: bool) -> None:
    profile = profiles.load().of(model)
    assert (profile.thinking, profile.sampling, profile.prefill) == (thinking, sampling, prefill)


def test_instants_without_an_offset_are_japans() -> None:
    assert instant("2026-11-23T19:00:00") == datetime(2026, 11, 23, 19, tzinfo=JST)
    assert instant("2026-11-23T10:00:00Z") == instant("2026-11-23T19:00:00")
    with pytest.raises(ValueError, match="isoformat"):
        instant("tonight")


def test_a_clock_bound_to_real_services_does_not_move() -> None:
    with pytest.raises(ClockBound, match="AWS_ENDPOINT_URL"):
        Clock(("AWS_ENDPOINT_URL",)).move(datetime.now(JST) + timedelta(days=1))


def test_limits_name_what_is_wrong() -> None:
    assert Limits().changed({"idle_s": 2}).idle_s == 2
    for wrong in ({"idle_s": 0}, {"idle_s": True}, {"idle_s": "2"}, {"other": 2}, None):
        with pytest.raises(ValueError, match="expected"):
            Limits().changed(wrong)


def test_an_authorizers_answer_is_read_strictly() -> None:
    def policy(**members: Any) -> dict[str, Any]:
        statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"}
        return {"principalId": "a", "policyDocument": {"Statement": [statement]}, **members}

    assert events.principal(policy(context={"n": 1, "yes": True})) == (
        True,
        {"principalId": "a", "n": "1", "yes": "true"},
    )
    denied = {"principalId": "a", "policyDocument": {"Statement": [{"Effect": "Deny"}]}}
    assert events.principal(denied)[0] is False
    for wrong in ({}, None, {"principalId": "a"}, policy(context={"list": []})):
        with pytest.raises(ValueError, match="authorizer"):
            events.principal(wrong)


def test_connection_ids_look_like_those_of_the_gateway() -> None:
    ids = {events.request_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(one) == 16 and one.endswith("=") for one in ids)


def test_every_thread_has_a_dictionary_of_its_own() -> None:
    shared = PerThread()
    shared["a"] = 1
    seen: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: seen.append(dict(shared)))
    thread.start()
    thread.join()
    assert seen == [{}]
    assert dict(shared) == {"a": 1}
    shared.clear()
    assert len(shared) == 0


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Functions:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "odd_handler", raising=False)
    (tmp_path / "odd_handler.py").write_text("def handler(event, context):\n    return event['n'] + 1\n")
    function = Function("Odd", tmp_path, "odd_handler.handler", {}, 29.0, 512)
    api = Api("Api", "live", "$request.body.action", {}, None)
    reported: list[str] = []
    return Functions(Application(api, {"Odd": function}, (), (), ()), reported.append)


def test_functions_run_on_threads_of_their_own_with_lambdas_context(functions: Functions) -> None:
    assert functions.start("Odd", {"n": 1}).result(timeout=5) == 2
    with pytest.raises(HandlerFailed, match="KeyError"):
        functions.start("Odd", {}).result(timeout=5)
    context = Context.of(functions.application.functions["Odd"])
    assert 28_000 < context.get_remaining_time_in_millis() <= 29_000
    assert context.invoked_function_arn.endswith(":function:Odd:live")
    assert context.log_group_name == "/aws/lambda/Odd"


def test_an_edit_is_seen_by_the_next_event_only(functions: Functions) -> None:
    functions.look_every_s = 0.0
    function = functions.application.functions["Odd"]
    before = functions.handler(function)
    code = function.folder / "odd_handler.py"
    code.write_text("def handler(event, context):\n    return 'edited'\n")
    os.utime(code, ns=(1, 1))
    assert functions.start("Odd", {"n": 1}).result(timeout=5) == "edited"
    assert before({"n": 1}, None) == 2  # type: ignore[arg-type]


def test_errors_in_the_functions_log_are_told() -> None:
    file, told = io.StringIO(), list[str]()
    log = FunctionsLog(file, told.append)
    log.write('{"level":"INFO","message":"fine"}\n')
    log.write('{"level":"ERROR","message":"broken","function_name":"MessageFunction"}\n')
    log.write('not JSON, but "level":"ERROR"\n')
    assert told[0] == "MessageFunction logged an error: broken"
    assert told[1].startswith("a function logged an error: not JSON")
    assert file.getvalue().count("\n") == 3
