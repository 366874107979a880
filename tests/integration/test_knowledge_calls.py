"""Small calls at the wire: signed as AWS wants them, given up in time, and silent about what was asked."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import CredentialRetrievalError

from mangaassist.errors import KnowledgeUnavailable
from mangaassist.knowledge import catalogue
from mangaassist.knowledge.calls import ANSWER_LIMIT_BYTES, Call, Caller, TableCaller
from mangaassist.knowledge.embeddings import COHERE, DIMENSIONS, TITAN, Embedder
from mangaassist.knowledge.index import Hit, Index
from mangaassist.knowledge.product import Product
from mangaassist.knowledge.shelf import Shelf
from mangaassist.knowledge.signing import SdkSigner, SearchSigner
from mangaassist.stores import to_item
from mangaassist.transport import Transport
from tests.integration.signatures import FIRST, REGION, SECOND, Renewed, is_signed
from tests.integration.wire import PATIENCE_S, Peer, ScriptedServer, chunk, head, raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botocore.credentials import Credentials

    from mangaassist.knowledge.calls import Signer
    from tests.integration.wire import Asked, Script

LIMIT_S = 5.0
BRIEF_S = 0.05
SECRET = "娘の誕生日に贈る漫画"
PRODUCT = next(Product(work, price_yen=500, stock=3) for work in catalogue.works().values())
HIT = {"_score": 1.5, "_source": {"id": "fma", "title_names": ["鋼の錬金術師"], "author_names": []}}


@dataclass(frozen=True)
class Kind:
    """A service: who signs, what is asked with the secret in it, and what it answers."""

    service: str
    part: str
    signer: Callable[[Any], Signer]
    begin: Callable[[Transport, str, Signer], Call[Any]]
    target: str
    answer: Any


KINDS = {
    "products": Kind(
        "dynamodb",
        "dynamodb",
        lambda credentials: SdkSigner(credentials, REGION, "dynamodb"),
        lambda transport, url, signer: Shelf(TableCaller(transport, url, signer, "dynamodb"), "products").begin(
            [PRODUCT.id, SECRET, PRODUCT.id], LIMIT_S
        ),
        "/",
        {"Responses": {"products": [to_item(PRODUCT.facts())]}, "UnprocessedKeys": {}},
    ),
    "embeddings": Kind(
        "bedrock",
        "embeddings",
        lambda credentials: SdkSigner(credentials, REGION, "bedrock"),
        lambda transport, url, signer: Embedder(Caller(transport, url, signer, "embeddings"), TITAN).begin(
            SECRET, LIMIT_S
        ),
        "/model/amazon.titan-embed-text-v2%3A0/invoke",
        {"embedding": [0.5] * DIMENSIONS, "inputTextTokenCount": 7},
    ),
    "search": Kind(
        "aoss",
        "search",
        lambda credentials: SearchSigner(credentials, REGION),
        lambda transport, url, signer: Index(Caller(transport, url, signer, "search"), "manga").begin_named(
            [SECRET], 5, LIMIT_S
        ),
        "/manga/_search",
        {"hits": {"hits": [HIT]}},
    ),
}


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = Transport()
    yield made
    made.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    with ExitStack() as running:
        yield lambda *scripts: running.enter_context(ScriptedServer(*scripts))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def told(document: Any, status: str = "200 OK") -> Script:
    """A whole answer."""
    body = document if isinstance(document, bytes) else json.dumps(document, ensure_ascii=False).encode()
    return raw(head(status, framing=f"Content-Length: {len(body)}") + body)


def begin(kind: Kind, transport: Transport, server: ScriptedServer, credentials: Any = lambda: FIRST) -> Call[Any]:
    """A call on its way."""
    return kind.begin(transport, server.url, kind.signer(credentials))


def reason(kind: Kind, work: Callable[[], object]) -> str:
    """Why a call fails; whatever it says holds nothing of the question."""
    with pytest.raises(KnowledgeUnavailable) as caught:
        work()
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in f"{error} {error!r} {error.args}"
        error = error.__cause__
    assert caught.value.part in (kind.part, kind.service)
    return caught.value.why


class TestSigning:
    def test_a_request_arrives_as_its_service_wants_it(
        self, kind: Kind, transport: Transport, serve: Callable[..., ScriptedServer]
    ) -> None:
        server = serve(told(kind.answer))
        begin(kind, transport, server).wait(LIMIT_S)
        (asked,) = server.asked
        assert (asked.method, asked.target) == ("POST", kind.target)
        assert SECRET in asked.body.decode()
        assert is_signed(asked, kind.service, FIRST)
        assert not is_signed(asked, kind.service, SECOND)
        assert asked.headers["content-length"] == str(len(asked.body))
        table = kind.service == "dynamodb"
        assert asked.headers["content-type"] == ("application/x-amz-json-1.0" if table else "application/json")
        assert asked.headers.get("x-amz-target") == ("DynamoDB_20120810.BatchGetItem" if table else None)
        if kind.service == "aoss":
            assert asked.headers["x-amz-content-sha256"] == hashlib.sha256(asked.body).hexdigest()

    def test_renewed_credentials_sign_the_next_request(
        self, kind: Kind, transport: Transport, serve: Callable[..., ScriptedServer]
    ) -> None:
        server, renewed = serve(told(kind.answer)), Renewed()
        signer = kind.signer(renewed)
        for is_over in (False, False, True):
            if is_over:
                renewed.renew()
            kind.begin(transport, server.url, signer).wait(LIMIT_S)
        signed_by = [(is_signed(it, kind.service, FIRST), is_signed(it, kind.service, SECOND)) for it in server.asked]
        assert signed_by == [(True, False), (True, False), (False, True)]

    def test_without_credentials_nothing_is_sent(
        self, kind: Kind, transport: Transport, serve: Callable[..., ScriptedServer]
    ) -> None:
        def refused() -> Credentials | None:
            raise CredentialRetrievalError(provider="container", error_msg="refused")

        server = serve(told(kind.answer))
        assert reason(kind, lambda: begin(kind, transport, server, lambda: None)) == "no credentials"
        assert reason(kind, lambda: begin(kind, transport, server, refused)) == "CredentialRetrievalError"
        assert server.peers == []


class TestAnswers:
    def test_products_are_read_once_each(self, transport: Transport, serve: Callable[..., ScriptedServer]) -> None:
        server = serve(told(KINDS["products"].answer))
        found = begin(KINDS["products"], transport, server).wait(LIMIT_S)
        assert found == {PRODUCT.id: PRODUCT}
        keys = json.loads(server.asked[0].body)["RequestItems"]["products"]["Keys"]
        assert keys == [{"id": {"S": PRODUCT.id}}, {"id": {"S": SECRET}}]

    def test_a_product_that_was_not_read_is_not_taken_for_one_that_is_not_sold(
        self, transport: Transport, serve: Callable[..., ScriptedServer]
    ) -> None:
        kind = KINDS["products"]
        server = serve(told({"Responses": {"products": []}, "UnprocessedKeys": {"products": {"Keys": []}}}))
        assert reason(kind, lambda: begin(kind, transport, server).wait(LIMIT_S)) == "throttled"

    @pytest.mark.parametrize(
        ("model", "answer", "tokens", "estimated"),
        [
            (TITAN, {"embedding": [0.5] * DIMENSIONS, "inputTextTokenCount": 7}, 7, False),
            (COHERE, {"embeddings": [[0.5] * DIMENSIONS]}, None, True),
        ],
    )
    def test_a_question_is_embedded(
        self,
        transport: Transport,
        serve: Callable[..., ScriptedServer],
        model: str,
        answer: Any,
        tokens: int | None,
        estimated: bool,
    ) -> None:
        server = serve(told(answer))
        signer = KINDS["embeddings"].signer(lambda: FIRST)
        embedded = Embedder(Caller(transport, server.url, signer, "embeddings"), model).begin(SECRET, LIMIT_S).wait(1)
        assert embedded.vector == [0.5] * DIMENSIONS
        assert (embedded.model, embedded.estimated) == (model, estimated)
        assert embedded.tokens == (tokens or embedded.tokens) > 0

    def test_hits_come_in_the_indexs_order(self, transport: Transport, serve: Callable[..., ScriptedServer]) -> None:
        found = begin(KINDS["search"], transport, serve(told(KINDS["search"].answer))).wait(LIMIT_S)
        assert found == (Hit("fma", ("鋼の錬金術師",), (), 1.5),)


class TestFailures:
    @pytest.mark.parametrize(
        ("script", "why"),
        [
            (told(b"<html>" + SECRET.encode()), "garbled"),
            (told({"message": SECRET}), "garbled"),
            (told([SECRET]), "garbled"),
            (told(b"[" * 100_000), "garbled"),
            (raw(b"SSH-2.0-OpenSSH\r\n\r\n"), "garbled"),
            (raw(head() + chunk(b'{"hits":')[:9], then=Peer.close), "cut"),
            (raw(head()[:20], then=Peer.reset), "unavailable"),
            (told({"message": SECRET}, "403 Forbidden"), "status 403"),
            (told({"__type": "x#AccessDeniedException", "message": SECRET}, "400 No"), "AccessDeniedException"),
            (told({"__type": f"x#{SECRET} 1"}, "400 No"), "status 400"),
            (told({"__type": "y#ThrottlingException"}, "429 Slow"), "ThrottlingException"),
            (told({"error": {"type": "Forbidden", "reason": SECRET}, "status": 403}, "403 No"), "Forbidden"),
            (told({"error": {"type": "too_many_requests"}}, "429 Slow"), "too_many_requests"),
            (told(b"<html>" + SECRET.encode(), "502 Bad Gateway"), "status 502"),
            (told(b"", "503 No"), "status 503"),
        ],
    )
    def test_a_failure_is_told_by_its_part_and_reason_alone(
        self, kind: Kind, transport: Transport, serve: Callable[..., ScriptedServer], script: Script, why: str
    ) -> None:
        server = serve(script)
        assert reason(kind, lambda: begin(kind, transport, server).wait(LIMIT_S)) == why

    def test_nobody_there(self, kind: Kind, transport: Transport) -> None:
        with ScriptedServer(told({})) as server:
            url = server.url
        assert reason(kind, lambda: kind.begin(transport, url, kind.signer(lambda: FIRST))) == "unavailable"

    def test_too_long_an_answer_is_not_read_to_its_end(
        self, kind: Kind, transport: Transport, serve: Callable[..., ScriptedServer]
    ) -> None:
        def pour(peer: Peer, _: Asked) -> None:
            peer.send(head())
            sent = 0
            while not peer.left.is_set() and sent < 40 * ANSWER_LIMIT_BYTES:
                peer.send(chunk(b" " * 65_536))
                sent += 65_536

        server = serve(pour)
        assert reason(kind, lambda: begin(kind, transport, server).wait(LIMIT_S)) == "the answer is too long"
        assert server.peers[0].over.wait(PATIENCE_S)


class TestTime:
    def test_a_late_answer_is_given_up_and_its_connection_with_it(
        self, kind: Kind, transport: Transport, serve: Callable[..., ScriptedServer]
    ) -> None:
        server = serve(raw(b"", then=Peer.hang), told(kind.answer))
        call = begin(kind, transport, server)
        assert reason(kind, lambda: call.wait(BRIEF_S)) == "late"
        assert server.peers[0].left.wait(PATIENCE_S)
        call.close()
        assert begin(kind, transport, server).wait(LIMIT_S)
        assert [asked.connection for asked in server.asked] == [1, 2]

    def test_a_poll_gives_nothing_until_all_is_there(
        self, kind: Kind, transport: Transport, serve: Callable[..., ScriptedServer]
    ) -> None:
        go_on = Event()
        body = json.dumps(kind.answer).encode()

        def script(peer: Peer, _: Asked) -> None:
            for part in (head(), chunk(body[:20]), chunk(body[20:]) + chunk(b"")):
                go_on.wait(PATIENCE_S)
                go_on.clear()
                peer.send(part)

        call = begin(kind, transport, serve(script))
        for _ in range(2):
            assert call.poll(0) is None
            go_on.set()
            assert call.poll(0.02) is None
        go_on.set()
        assert call.wait(LIMIT_S)

    def test_two_calls_under_way_take_as_long_as_one(
        self, transport: Transport, serve: Callable[..., ScriptedServer]
    ) -> None:
        both = Event()

        def script(peer: Peer, asked: Asked) -> None:
            if peer.number == 2:
                both.set()
            both.wait(PATIENCE_S)  # the first is answered when the second has come too
            told(KINDS["search"].answer)(peer, asked)

        server = serve(script)
        calls = [begin(KINDS["search"], transport, server) for _ in range(2)]
        assert [bool(call.wait(LIMIT_S)) for call in calls] == [True, True]

    def test_an_answer_leaves_its_connection_to_the_next_call(
        self, kind: Kind, transport: Transport, serve: Callable[..., ScriptedServer]
    ) -> None:
        server = serve(told(kind.answer), told({"__type": "ThrottlingException"}, "400 No"), told(kind.answer))
        begin(kind, transport, server).wait(LIMIT_S)
        reason(kind, lambda: begin(kind, transport, server).wait(LIMIT_S))
        begin(kind, transport, server).wait(LIMIT_S)
        assert [asked.connection for asked in server.asked] == [1, 1, 1]

    def test_a_call_that_is_no_longer_wanted_is_closed_at_once(
        self, kind: Kind, transport: Transport, serve: Callable[..., ScriptedServer]
    ) -> None:
        server = serve(raw(head(), then=Peer.hang))
        call = begin(kind, transport, server)
        assert call.poll(BRIEF_S) is None
        call.close()
        call.close()
        assert server.peers[0].left.wait(PATIENCE_S)

    @pytest.mark.alone
    def test_a_flood_that_never_ends_does_not_hold_the_caller(
        self, kind: Kind, transport: Transport, serve: Callable[..., ScriptedServer]
    ) -> None:
        def drip(peer: Peer, _: Asked) -> None:
            peer.send(head())
            while not peer.left.wait(0.001):
                peer.send(chunk(b" "))

        call = begin(kind, transport, serve(drip))
        began = time.monotonic()
        assert reason(kind, lambda: call.wait(0.1)) == "late"
        assert time.monotonic() - began < 0.2
