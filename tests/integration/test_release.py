"""The hook before traffic: what it asks of new versions, what it makes of their answers, what CodeDeploy is told."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.stub import Stubber

import message
import pretraffic
from mangaassist import bootstrap
from mangaassist.chat import frames
from mangaassist.chat.frames import Ask
from mangaassist.chat.rehearsal import CONNECTION, Rehearsals
from mangaassist.knowledge.cache import sameness
from mangaassist.metric import Metric
from mangaassist.observability import measure, metrics
from mangaassist.routing import policy, question
from release import PAUSE_S, TRIES, LambdaVersions, Release, ReleaseFaulty
from tests.integration import environment
from tokens import IssuerUnreachable, SigningKeys, Verifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mangaassist.chat.turn import Shopper

MESSAGE, AUTHORIZER = "arn:message:8", "arn:authorizer:5"
REFUSAL = {"errorType": "Exception", "errorMessage": "Unauthorized", "stackTrace": []}
ATTEMPT = {"target": "ondemand-haiku", "outcome": "ok"}
HOOK = {"DeploymentId": "d-1", "LifecycleEventHookExecutionId": "execution"}


def answer(*said: str, **end: Any) -> dict[str, Any]:
    """What the message function answers to a rehearsal."""
    last = {"type": "end", "finish": "complete", "reason": "offpeak_simple", "attempts": [ATTEMPT]} | end
    posted = [{"type": "start"}, *({"type": "delta", "text": text} for text in said), last]
    return {"statusCode": 200, "frames": [frame | {"seq": seq} for seq, frame in enumerate(posted)]}


ANSWER = answer("はい")


class FakeVersions:
    """Versions that answer by script; the last answer is repeated."""

    def __init__(
        self, *, authorizer: tuple[Any, ...] = (REFUSAL,), message: tuple[Any, ...] = (answer("はい"),)
    ) -> None:
        self._scripts = {AUTHORIZER: list(authorizer), MESSAGE: list(message)}
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def invoke(self, arn: str, event: dict[str, Any]) -> Any:
        self.asked.append((arn, event))
        script = self._scripts[arn]
        said = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(said, Exception):
            raise said
        return said

    def event(self, arn: str) -> dict[str, Any]:
        return next(event for asked, event in self.asked if asked == arn)


def check(versions: FakeVersions, pauses: list[float] | None = None) -> None:
    """Check a release at once: its pauses are only written down."""
    sleep: Callable[[float], None] = pauses.append if pauses is not None else (lambda _: None)
    Release(versions, "d-1", message=MESSAGE, authorizer=AUTHORIZER, now_s=lambda: 1_795_428_000.0, sleep=sleep).check()


def test_a_release_whose_versions_do_what_they_are_asked_passes_at_once() -> None:
    versions, pauses = FakeVersions(), list[float]()
    check(versions, pauses)
    assert [arn for arn, _ in versions.asked] == [AUTHORIZER, MESSAGE]
    assert pauses == []


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"errorType": "ImportModuleError", "errorMessage": "no module"}, "fails: ImportModuleError: no module"),
        ({"statusCode": 200}, "posts nothing"),
        ("null", "posts nothing, but answers something else"),
        ({"statusCode": 200, "frames": [{"type": "error", "code": "internal"}]}, "an error: internal"),
        (answer("はい", finish="catalogue", attempts=[ATTEMPT | {"outcome": "denied"}]), "ondemand-haiku:denied"),
        (answer("はい", finish="deadline"), "ends as deadline"),
        (answer("はい", reason="budget_guard", finish="catalogue"), "ends as catalogue"),
        (answer(), "empty"),
        ({"statusCode": 200, "frames": answer("はい")["frames"][1:]}, "not in order"),
    ],
)
def test_a_version_that_answers_otherwise_than_a_shopper_may_expect_fails(said: Any, fault: str) -> None:
    versions = FakeVersions(message=(said,))
    with pytest.raises(ReleaseFaulty, match=f"^message: .*{fault}"):
        check(versions)
    assert [arn for arn, _ in versions.asked].count(MESSAGE) == TRIES


def test_a_day_whose_money_is_spent_does_not_hold_a_release_up() -> None:
    check(FakeVersions(message=(answer("在庫は…", finish="catalogue", reason="budget_guard", attempts=[]),)))


@pytest.mark.parametrize(
    "said",
    [
        {"errorType": "IssuerUnreachable", "errorMessage": ""},
        {"principalId": "anybody", "policyDocument": {}},
        ReleaseFaulty("it cannot be called: AccessDeniedException"),
    ],
)
def test_an_authorizer_that_cannot_judge_or_lets_anybody_in_fails(said: Any) -> None:
    versions = FakeVersions(authorizer=(said,))
    with pytest.raises(ReleaseFaulty, match=r"^authorizer: "):
        check(versions)
    assert MESSAGE not in [arn for arn, _ in versions.asked]


def test_what_passes_by_itself_is_waited_for() -> None:
    not_ready = ReleaseFaulty("it cannot be called: SnapStartNotReadyException")
    stumbled = answer("…", finish="catalogue")
    pauses: list[float] = []
    check(FakeVersions(authorizer=(not_ready, REFUSAL), message=(not_ready, stumbled, answer("はい"))), pauses)
    assert pauses == [PAUSE_S] * 3


def test_the_question_is_one_that_the_gateway_could_pass_on_and_that_no_kept_answer_serves() -> None:
    versions = FakeVersions()
    check(versions)
    passed_on = message.Message.model_validate(versions.event(MESSAGE))
    assert passed_on.request_context.connection_id.startswith(CONNECTION)
    asked = frames.parse(passed_on.body)
    assert isinstance(asked, Ask)
    assert len(asked.message) <= policy.preset("current").answer.max_question_chars
    assert not sameness.is_keepable(question.read(asked.message))


def test_the_token_makes_the_authorizer_ask_its_issuer() -> None:
    versions, asked = FakeVersions(), list[str]()
    check(versions)

    def unreachable() -> dict[str, Any]:
        asked.append("keys")
        raise IssuerUnreachable

    token = versions.event(AUTHORIZER)["queryStringParameters"]["token"]
    with pytest.raises(IssuerUnreachable):
        Verifier(SigningKeys(unreachable), "https://issuer.example", "mangaassist").holder(token)
    assert asked == ["keys"]


class FakeLambda:
    """A client of Lambda that answers, or fails, the same every time."""

    def __init__(self, said: bytes | Exception) -> None:
        self._said = said
        self.asked: list[dict[str, Any]] = []

    def invoke(self, **arguments: Any) -> dict[str, Any]:
        self.asked.append(arguments)
        if isinstance(self._said, Exception):
            raise self._said
        return {"Payload": io.BytesIO(self._said)}


def test_a_version_is_invoked_by_its_arn_and_its_answer_read() -> None:
    client = FakeLambda(b'{"statusCode": 200}')
    assert LambdaVersions(cast("Any", client)).invoke(MESSAGE, {"body": "はい"}) == {"statusCode": 200}
    assert client.asked[0]["FunctionName"] == MESSAGE
    assert json.loads(client.asked[0]["Payload"]) == {"body": "はい"}


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (ClientError({"Error": {"Code": "SnapStartNotReadyException"}}, "Invoke"), "SnapStartNotReadyException"),
        (ReadTimeoutError(endpoint_url="https://lambda"), "ReadTimeoutError"),
        (b"<html>", "JSONDecodeError"),
    ],
)
def test_a_version_that_cannot_be_called_is_a_fault_by_awss_name(failure: Any, told: str) -> None:
    with pytest.raises(ReleaseFaulty, match=told):
        LambdaVersions(cast("Any", FakeLambda(failure))).invoke(MESSAGE, {})


@pytest.fixture
def codedeploy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """Who waits for the verdict; the versions are arn:… by the environment."""
    environment.enter(monkeypatch, MESSAGE_VERSION=MESSAGE, AUTHORIZER_VERSION=AUTHORIZER)
    client = boto3.client("codedeploy")
    monkeypatch.setattr(pretraffic, "codedeploy", lambda: client)
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def expect(stubber: Stubber, verdict: str) -> None:
    told = {"deploymentId": "d-1", "lifecycleEventHookExecutionId": "execution", "status": verdict}
    stubber.add_response("put_lifecycle_event_hook_execution_status", {}, told)


def test_codedeploy_is_told_that_a_sound_release_may_have_traffic(
    codedeploy: Stubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = FakeVersions()
    monkeypatch.setattr(pretraffic, "versions", lambda: versions)
    expect(codedeploy, "Succeeded")
    told = pretraffic.handler(dict(HOOK), cast("Any", environment.Context()))
    assert told == {"verdict": "Succeeded", "fault": ""}
    assert versions.event(MESSAGE)["requestContext"]["connectionId"] == f"{CONNECTION}d-1"


def test_codedeploy_is_told_at_once_when_the_check_itself_breaks_down(
    codedeploy: Stubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraffic, "versions", lambda: FakeVersions(authorizer=(KeyError("type"),)))
    expect(codedeploy, "Failed")
    told = pretraffic.handler(dict(HOOK), cast("Any", environment.Context()))
    assert told == {"verdict": "Failed", "fault": "the check broke down: KeyError"}


class FakeReception:
    """Serves every frame the same way."""

    def __init__(self, *, fails: bool) -> None:
        self._fails = fails

    def receive(self, body: str | None, shopper: Shopper, *_: Any) -> None:
        bootstrap.rehearsals().post(shopper.connection_id, b'{"type": "pong"}')
        measure(Metric.TurnFailed if self._fails else Metric.Turns)


class Silence:
    """Posts to nobody."""

    def post(self, connection_id: str, data: bytes) -> None:
        pass


@pytest.mark.parametrize("fails", [False, True])
def test_a_turn_that_fails_is_counted_under_the_number_of_its_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fails: bool
) -> None:
    _serve(monkeypatch, fails=fails)
    ask = environment.event("message-ping")
    assert message.handler(ask, cast("Any", environment.Context())) == {"statusCode": 200}
    assert failures(capsys) == ([{"service": "mangaassist", "function": "function", "version": "7"}] if fails else [])


def test_a_rehearsals_frames_are_in_the_answer_and_a_shoppers_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch, fails=False)
    ask = environment.event("message-ping", connectionId=f"{CONNECTION}d-1")
    told = message.handler(ask, cast("Any", environment.Context()))
    assert told == {"statusCode": 200, "frames": [{"type": "pong"}]}


def _serve(monkeypatch: pytest.MonkeyPatch, *, fails: bool) -> None:
    """The message function over doubles of all that it reaches."""
    environment.enter(monkeypatch)
    metrics.clear_metrics()
    rehearsals, reception = Rehearsals(Silence()), FakeReception(fails=fails)
    monkeypatch.setattr(bootstrap, "rehearsals", lambda: rehearsals)
    monkeypatch.setattr(bootstrap, "reception", lambda: reception)
    monkeypatch.setattr(bootstrap, "situation", _Situation)


class _Situation:
    policy = policy.preset("current")


def failures(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The dimensions under which failures of a version were emitted."""
    emitted = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "VersionFailed" in line]
    for line in emitted:
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "MangaAssist"
        assert sorted(directive["Dimensions"][0]) == ["function", "service", "version"]
    return [{name: line[name] for name in ("service", "function", "version")} for line in emitted]
