"""$connect and $disconnect as the gateway calls them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws

import connect
import disconnect
from mangaassist import bootstrap
from tests.integration import environment, tables
from tests.integration.tables import CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    environment.enter(monkeypatch)
    with mock_aws():
        tables.create(bootstrap.dynamodb())
        yield bootstrap.dynamodb()


def rows(client: Any) -> dict[str, dict[str, Any]]:
    return {item.pop("pk"): item for item in tables.everything(client, CONNECTIONS)}


def connected(name: str = "connect", headers: dict[str, str] | None = None, **context: Any) -> dict[str, Any]:
    answer: dict[str, Any] = connect.handler(environment.event(name, headers=headers, **context), environment.Context())
    return answer


def disconnected(**context: Any) -> dict[str, int]:
    answer: dict[str, int] = disconnect.handler(environment.event("disconnect", **context), environment.Context())
    return answer


def test_connect_records_the_authorizers_principal(deployed: Any) -> None:
    assert connected() == {"statusCode": 200}
    assert rows(deployed)["CONNECTION#sample-connect"]["user_id"] == "sample-shopper"


def test_connect_says_back_the_subprotocol_and_never_the_token(deployed: Any) -> None:
    answer = {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "mangaassist"}}
    assert connected("connect-subprotocol") == answer


@pytest.mark.parametrize("name", ["sec-websocket-protocol", "Sec-Websocket-Protocol", "SEC-WEBSOCKET-PROTOCOL"])
@pytest.mark.parametrize("offered", ["mangaassist,e30.e30.c2ln", "mangaassist", "other, mangaassist"])
def test_connect_reads_the_subprotocol_however_it_is_written(deployed: Any, name: str, offered: str) -> None:
    assert connected(headers={name: offered})["headers"] == {"Sec-WebSocket-Protocol": "mangaassist"}


def test_connect_says_nothing_of_other_subprotocols(deployed: Any) -> None:
    assert connected(headers={"Sec-WebSocket-Protocol": "graphql-ws"}) == {"statusCode": 200}


def test_connect_refuses_a_user_who_has_enough(deployed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert [connected(connectionId=f"c{number}")["statusCode"] for number in range(3)] == [200, 200, 429]
    assert '"ConnectionsRefused":[1.0]' in capsys.readouterr().out


def test_connect_refuses_what_no_authorizer_has_seen(deployed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert connected("connect-without-token") == {"statusCode": 401}
    assert rows(deployed) == {}
    assert '"ConnectsUnauthorized":[1.0]' in capsys.readouterr().out


def test_connect_does_not_quote_an_event_that_it_cannot_read(deployed: Any) -> None:
    event = environment.event("connect", token="secret")
    del event["requestContext"]["connectionId"]
    with pytest.raises(ValueError, match="connectionId") as failure:
        connect.handler(event, environment.Context())
    assert "secret" not in str(failure.value)
    assert "input_value" not in str(failure.value)


@pytest.mark.parametrize("authorizer", [{"principalId": "sample-shopper"}, None])
def test_disconnect_forgets_the_connection(deployed: Any, authorizer: dict[str, str] | None) -> None:
    connected()
    assert disconnected(authorizer=authorizer) == {"statusCode": 200}
    assert set(rows(deployed)) == {"USER#sample-shopper"}
    assert rows(deployed)["USER#sample-shopper"]["connections"] == {}
    assert disconnected(authorizer=authorizer) == {"statusCode": 200}


def test_without_the_table_connect_refuses_and_disconnect_lets_go(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.enter(monkeypatch, AWS_ENDPOINT_URL_DYNAMODB="http://127.0.0.1:9")  # nothing listens there
    assert connected() == {"statusCode": 503}
    assert disconnected() == {"statusCode": 200}
    emitted = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert [line["StoreUnavailable"] for line in emitted] == [[1.0], [1.0]]
