"""The twin's WebSocket API against what API Gateway documents, with small handlers that do as they are told."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from botocore.exceptions import ClientError
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.e2e.running import ROOT, Running, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection

SMALL = ROOT / "tests" / "data" / "twin"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(SMALL, tmp_path_factory.mktemp("twin") / "application"))


@pytest.fixture(scope="module")
def twin(folder: Path) -> Iterator[Running]:
    with running("--template", str(folder / "template.yaml"), "--set", f"EVENTS={folder / 'events.jsonl'}") as twin:
        yield twin


@pytest.fixture
def limits(twin: Running) -> Iterator[Any]:
    before = twin.get("limits")
    yield lambda **shorter: twin.put("limits", shorter)
    twin.put("limits", before)


def events(folder: Path, name: str, token: str) -> dict[str, Any]:
    """The event of a handler for a token, waited for: some are delivered late."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        for line in map(json.loads, (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()):
            event: dict[str, Any] = line["event"]
            principal = event["requestContext"].get("authorizer", {}).get("principalId")
            if line["name"] == name and token in (principal, event.get("queryStringParameters", {}).get("token")):
                return event
        time.sleep(0.02)
    raise AssertionError(f"no {name} event of {token}")


def said(connection: Any) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(connection.recv(timeout=10))
    return frame


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("", 401, "Unauthorized"),  # the identity source is missing: the authorizer is not even asked
        ("?token=unauthorized", 401, "Unauthorized"),
        ("?token=deny", 403, "Forbidden"),
        ("?token=broken", 500, "Internal server error"),
        ("?token=odd", 500, "Internal server error"),
        ("?token=a&status=crash", 500, "Internal server error"),
        ("?token=a&status=429", 429, "Forbidden"),
    ],
)
def test_handshakes_are_refused_with_the_status_of_the_api(
    twin: Running, query: str, status: int, message: str
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        twin.connect_with(query)
    assert refused.value.response.status_code == status
    body = json.loads(refused.value.response.body or b"")
    assert body["message"] == message
    assert set(body) == {"message", "connectionId", "requestId"}


def test_the_authorizers_context_comes_with_every_later_event(twin: Running, folder: Path) -> None:
    with twin.connect_with("?token=alice") as connection:
        connection.send("{}")
        context = said(connection)["event"]["requestContext"]["authorizer"]
    assert context["principalId"] == context["user_id"] == "alice"
    assert context["admin"] == "true"  # API Gateway turns every value into a text
    assert context["level"] == "3"
    asked = events(folder, "authorize", "alice")
    assert asked["type"] == "REQUEST"
    assert asked["methodArn"].endswith("Api/live/$connect")
    assert asked["queryStringParameters"] == {"token": "alice"}


def test_connect_sees_headers_and_query_and_messages_do_not(twin: Running, folder: Path) -> None:
    with twin.connect_with("?token=carol&x=1&x=2", additional_headers={"X-Odd-Header": "7"}) as connection:
        connection.send("hello, not JSON")
        message = said(connection)["event"]
    event = events(folder, "connect", "carol")
    assert event["headers"]["X-Odd-Header"] == "7"
    assert event["headers"]["Sec-WebSocket-Version"] == "13"
    assert event["queryStringParameters"]["x"] == "2"
    assert event["multiValueQueryStringParameters"]["x"] == ["1", "2"]
    assert "body" not in event
    assert set(message) == {"requestContext", "body", "isBase64Encoded"}
    assert message["body"] == "hello, not JSON"
    context = message["requestContext"]
    assert context["eventType"] == "MESSAGE"
    assert context["connectionId"] == event["requestContext"]["connectionId"]
    assert context["connectionId"].endswith("=")
    assert context["messageId"]
    assert abs(context["requestTimeEpoch"] - time.time() * 1000) < 10_000


@pytest.mark.parametrize(
    ("body", "route"),
    [
        ('{"action": "special"}', "special"),
        ('{"action": "unheard of"}', "$default"),
        ('{"action": 7}', "$default"),
        ('{"action": "$connect"}', "$default"),
        ('{"other": "special"}', "$default"),
        ("special", "$default"),
        ("[]", "$default"),
        ("", "$default"),
    ],
)
def test_routes_are_selected_by_the_expression(twin: Running, body: str, route: str) -> None:
    with twin.connect_with("?token=a") as connection:
        connection.send(body)
        assert said(connection)["event"]["requestContext"]["routeKey"] == route


def test_the_subprotocol_that_connect_echoes_is_agreed_upon(twin: Running) -> None:
    with twin.connect_with("?token=a", subprotocols=["mangaassist", "other"]) as connection:
        assert connection.subprotocol == "mangaassist"


def answered(connection: ClientConnection, pieces: list[str]) -> Any:
    """What is said to a message; its refusal may come before the last piece has gone."""
    connection.send(pieces)
    return said(connection)


@pytest.mark.parametrize(
    ("pieces", "fits"),
    [
        (["a" * 32_768], True),
        (["a" * 32_769], False),
        (["a" * 32_768] * 4, True),
        (["a" * 32_768] * 4 + ["a"], False),
    ],
)
def test_frames_and_messages_have_a_size(twin: Running, pieces: list[str], fits: bool) -> None:
    with twin.connect_with("?token=a") as connection:
        if fits:
            assert answered(connection, pieces)["event"]["body"] == sum(map(len, pieces))
            return
        with pytest.raises(ConnectionClosed) as closed:
            answered(connection, pieces)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


def test_a_handler_that_breaks_gives_the_gateways_own_frame(twin: Running) -> None:
    with twin.connect_with("?token=a") as connection:
        connection.send('{"do": "break"}')
        frame = said(connection)
    assert frame["message"] == "Internal server error"
    assert set(frame) == {"message", "connectionId", "requestId"}


def test_an_integration_may_take_its_limit_and_the_handler_goes_on(twin: Running, limits: Any) -> None:
    limits(integration_s=0.3)
    with twin.connect_with("?token=a") as connection:
        connection.send('{"do": "wait", "seconds": 0.8}')
        assert said(connection)["message"] == "Endpoint request timed out"
        late = said(connection)
        assert late["said"] == "first"  # AWS does not stop the function either
        assert 0 < late["left_ms"] < 29_000


def test_messages_of_one_connection_are_served_at_once(twin: Running) -> None:
    with twin.connect_with("?token=a") as connection:
        connection.send('{"do": "wait", "seconds": 1.5, "n": 1}')
        connection.send('{"n": 2}')
        order = [json.loads(said(connection)["event"]["body"])["n"] for _ in range(2)]
    assert order == [2, 1]


def test_idle_and_old_connections_are_closed(twin: Running, limits: Any) -> None:
    limits(idle_s=0.3)
    with twin.connect_with("?token=a") as connection, pytest.raises(ConnectionClosed) as closed:
        said(connection)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    limits(idle_s=600, connection_s=0.5)
    with twin.connect_with("?token=a") as connection, pytest.raises(ConnectionClosed) as closed:
        _talk_on(connection)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001


@pytest.mark.parametrize("code", [1000, 4001])
def test_disconnect_is_told_the_closing_code(twin: Running, folder: Path, code: int) -> None:
    with twin.connect_with(f"?token=bob-{code}") as connection:
        connection.close(code, "enough")
    event = events(folder, "disconnect", f"bob-{code}")
    assert event["requestContext"]["disconnectStatusCode"] == code
    assert event["requestContext"]["disconnectReason"] == "enough"
    assert event["requestContext"]["authorizer"]["level"] == "3"
    assert set(event["headers"]) == {"Host", "x-api-key", "X-Forwarded-For", "x-restapi"}


def test_connections_can_be_posted_to_described_and_closed(twin: Running) -> None:
    management = twin.management()
    with twin.connect_with("?token=a", user_agent_header="a test") as connection:
        connection.send("{}")
        connection_id = said(connection)["event"]["requestContext"]["connectionId"]
        management.post_to_connection(ConnectionId=connection_id, Data="こんにちは".encode())
        assert connection.recv(timeout=5) == "こんにちは"
        described = management.get_connection(ConnectionId=connection_id)
        assert described["Identity"] == {"SourceIp": "127.0.0.1", "UserAgent": "a test"}
        management.delete_connection(ConnectionId=connection_id)
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=5)
    assert _refused(lambda: management.post_to_connection(ConnectionId=connection_id, Data=b"x")) == (
        410,
        "GoneException",
    )


def test_posts_have_a_size_and_a_stage(twin: Running) -> None:
    management = twin.management()
    with twin.connect_with("?token=a") as connection:
        connection.send("{}")
        connection_id = said(connection)["event"]["requestContext"]["connectionId"]
        too_long = _refused(lambda: management.post_to_connection(ConnectionId=connection_id, Data=b"x" * 131_073))
        assert too_long == (413, "PayloadTooLargeException")
        elsewhere = twin.client("apigatewaymanagementapi", endpoint_url=f"{twin.aws}/prod")
        wrong_stage = _refused(lambda: elsewhere.post_to_connection(ConnectionId=connection_id, Data=b"x"))
        assert wrong_stage == (403, "ForbiddenException")
        too_big = _refused(lambda: management.post_to_connection(ConnectionId=connection_id, Data=b"x" * 32_769))
        assert too_big == (413, "PayloadTooLargeException")
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


@pytest.mark.parametrize(
    ("fault", "refusal"),
    [
        ("throttle", (429, "LimitExceededException")),
        ("denied", (403, "ForbiddenException")),
        ("unavailable", (503, "ServiceUnavailable")),
    ],
)
def test_the_gateway_can_be_made_to_refuse_posts(twin: Running, fault: str, refusal: tuple[int, str]) -> None:
    twin.put("faults", {"gateway": {"fault": fault, "count": 1}})
    management = twin.management()
    assert _refused(lambda: management.post_to_connection(ConnectionId="sample-x", Data=b"1")) == refusal
    management.post_to_connection(ConnectionId="sample-x", Data=b"2")


def test_connections_of_sample_events_are_mailboxes(twin: Running) -> None:
    twin.management().post_to_connection(ConnectionId="sample-letters=", Data='{"type": "あ"}'.encode())
    twin.management().post_to_connection(ConnectionId="sample-letters=", Data=b"not JSON")
    assert twin.get("mailbox/sample-letters=") == {"frames": [{"type": "あ"}, "not JSON"]}
    assert twin.get("mailbox/sample-unknown") == {"frames": []}


def test_only_the_page_itself_may_open_a_socket_under_its_own_name(twin: Running) -> None:
    with pytest.raises(InvalidStatus) as refused:
        twin.connect_with("?token=a", additional_headers={"Host": "evil.example"})
    assert refused.value.response.status_code in (400, 403)


def test_an_edited_handler_answers_the_next_message(twin: Running, folder: Path) -> None:
    code = folder / "functions" / "talk" / "talk.py"
    with twin.connect_with("?token=a") as connection:
        connection.send('{"do": "wait", "seconds": 1}')  # begins before the edit: it keeps its code
        connection.send("{}")
        assert said(connection)["said"] == "first"
        code.write_text(code.read_text(encoding="utf-8").replace('"first"', '"again"'), encoding="utf-8")
        assert set(_until(connection, "said", "again")) <= {"first", "again"}
        code.write_text("this is not Python", encoding="utf-8")
        _until(connection, "message", "Internal server error")
        shutil.copy(SMALL / "functions" / "talk" / "talk.py", code)
        _until(connection, "said", "first")


def test_what_is_not_there_is_not_found(twin: Running) -> None:
    assert httpx.get(f"{twin.page}/nothing").status_code == 404


def _refused(call: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as refused:
        call()
    response = refused.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def _until(connection: Any, field: str, value: str) -> list[str]:
    """Send messages until the answer is as expected: edits are looked for a few times a second."""
    heard: list[str] = []
    until = time.monotonic() + 5
    while value not in heard and time.monotonic() < until:
        connection.send("{}")
        heard.append(said(connection).get(field, ""))
    assert heard[-1] == value
    return heard


def _talk_on(connection: Any) -> None:
    while True:
        connection.send("{}")
        said(connection)
