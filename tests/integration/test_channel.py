"""The way back to the shoppers: the gateway's refusals under our names."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from botocore.stub import Stubber

from mangaassist import bootstrap
from mangaassist.chat.connections import Channel
from mangaassist.errors import ConnectionGone, TooFast
from tests.integration import environment


class OutOfReach:
    """A client whose requests are never answered."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def post_to_connection(self, **_parameters: Any) -> None:
        raise self._error

    def get_connection(self, **_parameters: Any) -> None:
        raise self._error


@pytest.fixture
def gateway() -> Any:
    return bootstrap.session().client(
        "apigatewaymanagementapi",
        region_name="ap-northeast-1",
        endpoint_url=environment.ENVIRONMENT["CONNECTIONS_ENDPOINT"],
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


def test_a_frame_is_posted_as_it_is(gateway: Any) -> None:
    with Stubber(gateway) as stub:
        stub.add_response("post_to_connection", {}, {"ConnectionId": "c1=", "Data": "はい".encode()})
        Channel(gateway).post("c1=", "はい".encode())
        stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("code", "status", "raised"),
    [
        ("GoneException", 410, ConnectionGone),
        ("410", 410, ConnectionGone),
        ("ForbiddenException", 403, ConnectionGone),
        ("LimitExceededException", 429, TooFast),
        ("TooManyRequestsException", 429, TooFast),
        ("InternalServerError", 500, TooFast),
        ("503", 503, TooFast),
        ("PayloadTooLargeException", 413, ClientError),
        ("BadRequestException", 400, ClientError),
    ],
)
def test_the_gateways_refusals_have_our_names(gateway: Any, code: str, status: int, raised: type[Exception]) -> None:
    with Stubber(gateway) as stub:
        stub.add_client_error("post_to_connection", code, http_status_code=status)
        with pytest.raises(raised):
            Channel(gateway).post("c1=", b"{}")


@pytest.mark.parametrize(
    "error", [ReadTimeoutError(endpoint_url="https://x"), EndpointConnectionError(endpoint_url="https://x")]
)
def test_a_gateway_that_does_not_answer_may_do_so_later(error: Exception) -> None:
    client: Any = OutOfReach(error)
    with pytest.raises(TooFast):
        Channel(client).post("c1=", b"{}")


@pytest.mark.parametrize(
    ("code", "status", "gone"),
    [("GoneException", 410, True), ("LimitExceededException", 429, False), ("ForbiddenException", 403, False)],
)
def test_a_connection_is_gone_when_the_gateway_says_so(gateway: Any, code: str, status: int, gone: bool) -> None:
    with Stubber(gateway) as stub:
        stub.add_client_error("get_connection", code, http_status_code=status)
        assert Channel(gateway).is_gone("c1=") is gone


def test_a_look_that_is_forbidden_is_an_error_of_the_deployment(gateway: Any, caplog: pytest.LogCaptureFixture) -> None:
    with Stubber(gateway) as stub:
        stub.add_client_error("get_connection", "ForbiddenException", http_status_code=403)
        assert not Channel(gateway).is_gone("c1=")
    assert [(it.levelname, it.message) for it in caplog.records] == [
        ("ERROR", "the gateway forbids looking at connections")
    ]


def test_a_connection_that_is_there_is_not_gone(gateway: Any) -> None:
    with Stubber(gateway) as stub:
        stub.add_response("get_connection", {}, {"ConnectionId": "c1="})
        assert not Channel(gateway).is_gone("c1=")


def test_while_the_gateway_does_not_answer_nobody_is_gone() -> None:
    client: Any = OutOfReach(ReadTimeoutError(endpoint_url="https://x"))
    assert not Channel(client).is_gone("c1=")
