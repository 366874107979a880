"""What the transport owes a turn: to wait no longer than told, to leave at once, and to keep what can be kept."""

from __future__ import annotations

import json
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event
from typing import TYPE_CHECKING

import pytest

from local.eventstream import event
from mangaassist.errors import Unavailable
from mangaassist.routing.backends import Message
from mangaassist.sockets import IDLE_LIMIT_S, IDLE_MOST
from mangaassist.transport import STALE_WITHIN_S, Request, Transport
from tests.integration.bedrock_calls import START, ask, backend, call, events_of, said, text_of, whole
from tests.integration.wire import PATIENCE_S, Peer, ScriptedServer, answer, certified, chunk, head, raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.wire import Asked, Script


class Clock:
    """Monotonic time that a test can move on."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def transport(clock: Clock) -> Iterator[Transport]:
    made = Transport(monotonic=clock)
    yield made
    made.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    with ExitStack() as running:

        def start(*scripts: Script, tls: ssl.SSLContext | None = None) -> ScriptedServer:
            return running.enter_context(ScriptedServer(*scripts, tls=tls))

        yield start


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certified(tmp_path_factory.mktemp("tls") / "localhost.pem")


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture(params=["plain", "tls"])
def line(
    request: pytest.FixtureRequest,
    serve: Callable[..., ScriptedServer],
    tls: ssl.SSLContext,
    certificate: Path,
) -> Iterator[tuple[ScriptedServer, Transport]]:
    """A server and a transport that trusts it, once without TLS and once with."""
    made = Transport(ca_bundle=str(certificate))
    yield serve(answer(whole("やあ")), tls=tls if request.param == "tls" else None), made
    made.close()


def _hang(peer: Peer, _: Asked) -> None:
    peer.hang()


class TestWaiting:
    def test_a_silent_service_is_given_up_when_the_caller_wants_and_notices_at_once(
        self, line: tuple[ScriptedServer, Transport]
    ) -> None:
        server, transport = line
        server.then(_hang)
        stream = backend(server.url, transport).open(call(), limit_s=1)
        began = time.monotonic()
        assert stream.poll(0.1) == ()
        assert 0.09 < time.monotonic() - began < 1
        assert stream.poll(0) == ()
        stream.close()
        stream.close()
        assert server.peers[-1].left.wait(1)

    def test_a_wait_that_ended_loses_nothing(self, line: tuple[ScriptedServer, Transport]) -> None:
        server, transport = line
        go_on = Event()
        body = b"".join(whole("ゆっくり"))

        def script(peer: Peer, _: Asked) -> None:
            for part in (
                head()[:30],
                head()[30:] + chunk(body)[:25],
                chunk(body)[25:90],
                chunk(body)[90:] + chunk(b""),
            ):
                go_on.wait(PATIENCE_S)
                go_on.clear()
                peer.send(part)

        server.then(script)
        stream = backend(server.url, transport).open(call(), limit_s=1)
        for _ in range(3):
            assert stream.poll(0.02) == ()
            go_on.set()
        assert stream.poll(0.05) is not None
        go_on.set()
        events, failure = events_of(stream)
        assert failure is None
        assert text_of(events) == "ゆっくり"

    def test_a_stream_that_stalls_keeps_what_it_gave_and_is_really_closed(
        self, line: tuple[ScriptedServer, Transport]
    ) -> None:
        server, transport = line
        server.then(raw(head() + chunk(START + said("a") + said("b")[:20]), then=Peer.hang))
        stream = backend(server.url, transport).open(call(), limit_s=1)
        assert text_of(stream.poll(1) or ()) == "a"
        assert stream.poll(0.05) == ()
        stream.close()
        assert server.peers[-1].left.wait(1)

    def test_bytes_that_trickle_in_are_no_sign_of_life(
        self, serve: Callable[..., ScriptedServer], transport: Transport
    ) -> None:
        def trickle(peer: Peer, _: Asked) -> None:
            for byte in head() + b"fffff\r\n" + said("x" * 100):
                if peer.left.wait(0.001):
                    return
                peer.send(bytes([byte]))
            peer.hang()

        stream = backend(serve(trickle).url, transport).open(call(), limit_s=1)
        began = time.monotonic()
        assert stream.poll(0.1) == ()
        assert time.monotonic() - began < 1
        stream.close()

    @pytest.mark.parametrize(
        "flood",
        [b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100, chunk(event("contentBlockStop", {"contentBlockIndex": 0}) * 50)],
        ids=["hints", "events of no interest"],
    )
    def test_a_flood_does_not_hold_the_caller(
        self, serve: Callable[..., ScriptedServer], transport: Transport, flood: bytes
    ) -> None:
        def pour(peer: Peer, _: Asked) -> None:
            peer.send(b"" if flood.startswith(b"HTTP") else head())
            while not peer.left.is_set():
                peer.send(flood)

        stream = backend(serve(pour).url, transport).open(call(), limit_s=1)
        began = time.monotonic()
        assert stream.poll(0.1) == ()
        assert time.monotonic() - began < 1
        stream.close()

    def test_connecting_shaking_hands_and_sending_share_one_limit(self, transport: Transport) -> None:
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            port = deaf.getsockname()[1]
            for url, size in ((f"https://127.0.0.1:{port}/", 1), (f"http://127.0.0.1:{port}/", 20_000_000)):
                began = time.monotonic()
                with pytest.raises(Unavailable, match="unavailable"):
                    transport.send(Request("POST", url, {"Content-Length": str(size)}, bytes(size)), limit_s=0.1)
                assert time.monotonic() - began < 1
                with pytest.raises(Unavailable, match="unavailable"):
                    transport.send(Request("POST", url, {"Content-Length": str(size)}, bytes(size)), limit_s=0)

    def test_nobody_there(self, transport: Transport) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closing:
            url = f"http://127.0.0.1:{closing.getsockname()[1]}"
        assert str(ask(backend(url, transport))[1]) == "unavailable: ConnectionRefusedError"


class TestBreaking:
    @pytest.mark.parametrize("end", [Peer.close, Peer.reset])
    @pytest.mark.parametrize(
        ("sent", "outcome", "text"),
        [
            (b"", "unavailable", ""),
            (head()[:40], "unavailable", ""),
            (head(), "cut", ""),
            (head() + chunk(START + said("a")), "cut", "a"),
            (head() + chunk(START + said("a")) + b"5\r\nab", "cut", "a"),
            (head() + chunk(START + said("a") + said("b")[:-3]), "cut", "a"),
        ],
        ids=["before", "in the head", "after the head", "between events", "in a chunk", "in an event"],
    )
    def test_a_connection_that_breaks(
        self,
        serve: Callable[..., ScriptedServer],
        transport: Transport,
        end: Callable[[Peer], None],
        sent: bytes,
        outcome: str,
        text: str,
    ) -> None:
        client_has_read = Event()

        def script(peer: Peer, _: Asked) -> None:
            peer.send(sent)
            client_has_read.wait(PATIENCE_S)  # a reset would destroy what is still on its way
            end(peer)

        server = serve(script)
        stream = backend(server.url, transport).open(call(), limit_s=1)
        first = stream.poll(0.05) or ()
        client_has_read.set()
        events, failure = events_of(stream)
        assert text_of((*first, *events)) == text
        assert failure is not None
        assert failure.outcome == outcome
        assert len(server.asked) == 1

    @pytest.mark.parametrize(
        "ended",
        [
            head() + chunk(START + said("a")) + chunk(b""),
            head(framing=f"Content-Length: {len(START + said('a'))}") + START + said("a"),
            head(framing="Connection: close") + START + said("a"),
        ],
        ids=["chunked", "length", "close"],
    )
    def test_a_body_that_ends_before_the_model_did_is_cut(
        self, serve: Callable[..., ScriptedServer], transport: Transport, ended: bytes
    ) -> None:
        events, failure = ask(backend(serve(raw(ended, then=Peer.close)).url, transport))
        assert text_of(events) == "a"
        assert failure is not None
        assert failure.outcome == "cut"

    @pytest.mark.parametrize(
        "noise",
        [
            b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
            head() + b"no chunk\r\n",
            head(framing="Content-Length: -5"),
        ],
        ids=["another protocol", "long header", "many headers", "chunk", "length"],
    )
    def test_what_is_not_http_is_garbled(
        self, serve: Callable[..., ScriptedServer], transport: Transport, noise: bytes
    ) -> None:
        _, failure = ask(backend(serve(raw(noise, then=Peer.hang)).url, transport))
        assert failure is not None
        assert failure.outcome == "garbled"


class TestKeeping:
    def test_two_calls_share_a_connection(self, line: tuple[ScriptedServer, Transport]) -> None:
        server, transport = line
        bedrock = backend(server.url, transport)
        assert [text_of(ask(bedrock)[0]) for _ in range(3)] == ["やあ"] * 3
        assert [asked.connection for asked in server.asked] == [1, 1, 1]

    @pytest.mark.parametrize(
        ("framing", "connections"),
        [
            ("Content-Length: {length}", [1, 1]),
            ("Content-Length: {length}\r\nConnection: close", [1, 2]),
            ("Connection: close", [1, 2]),
        ],
    )
    def test_other_framings(
        self, serve: Callable[..., ScriptedServer], transport: Transport, framing: str, connections: list[int]
    ) -> None:
        body = b"".join(whole("a"))
        wants_close = "close" in framing
        server = serve(
            raw(
                b"HTTP/1.1 100 Continue\r\n\r\n" + head(framing=framing.format(length=len(body))) + body,
                then=Peer.close if wants_close else lambda peer: None,
            )
        )
        bedrock = backend(server.url, transport)
        assert [text_of(ask(bedrock)[0]) for _ in range(2)] == ["a", "a"]
        assert [asked.connection for asked in server.asked] == connections

    def test_an_abandoned_or_overfull_connection_is_not_kept(
        self, serve: Callable[..., ScriptedServer], transport: Transport
    ) -> None:
        surplus = raw(head() + chunk(b"".join(whole("b"))) + chunk(b"") + b"HTTP/1.1 200 OK\r\n")
        server = serve(raw(head() + chunk(START + said("a"))), surplus, answer(whole("c")))
        bedrock = backend(server.url, transport)
        stream = bedrock.open(call(), limit_s=1)
        assert stream.poll(1)
        stream.close()
        assert [text_of(ask(bedrock)[0]) for _ in range(2)] == ["b", "c"]
        assert [asked.connection for asked in server.asked] == [1, 2, 3]

    @pytest.mark.parametrize("end", [Peer.close, Peer.reset])
    def test_a_kept_connection_that_the_service_closed_is_not_used(
        self, serve: Callable[..., ScriptedServer], transport: Transport, end: Callable[[Peer], None]
    ) -> None:
        client_has_read = Event()

        def answer_and_end(peer: Peer, asked: Asked) -> None:
            answer(whole("a"))(peer, asked)
            client_has_read.wait(PATIENCE_S)
            end(peer)

        server = serve(answer_and_end, answer(whole("b")))
        bedrock = backend(server.url, transport)
        ask(bedrock)
        client_has_read.set()
        assert server.peers[0].over.wait(1)
        assert text_of(ask(bedrock)[0]) == "b"
        assert [asked.connection for asked in server.asked] == [1, 2]

    def test_what_a_service_says_unasked_answers_no_call(
        self, serve: Callable[..., ScriptedServer], transport: Transport
    ) -> None:
        client_has_read = Event()

        def answer_and_complain(peer: Peer, asked: Asked) -> None:
            answer(whole("a"))(peer, asked)
            client_has_read.wait(PATIENCE_S)
            peer.send(head("408 Request Timeout", framing="Content-Length: 0"))
            peer.close()

        server = serve(answer_and_complain, answer(whole("b")))
        bedrock = backend(server.url, transport)
        ask(bedrock)
        client_has_read.set()
        assert server.peers[0].over.wait(1)
        assert text_of(ask(bedrock)[0]) == "b"

    @pytest.mark.parametrize("end", [Peer.close, Peer.reset])
    def test_a_kept_connection_that_dies_under_the_next_call_is_reopened_once(
        self, serve: Callable[..., ScriptedServer], transport: Transport, end: Callable[[Peer], None]
    ) -> None:
        def die(peer: Peer, _: Asked) -> None:
            end(peer)

        server = serve(answer(whole("a")), die, answer(whole("b")), die, die, answer(whole("c")))
        bedrock = backend(server.url, transport)
        assert [text_of(ask(bedrock)[0]) for _ in range(2)] == ["a", "b"]
        _, failure = ask(bedrock)
        assert failure is not None
        assert failure.outcome == "unavailable"
        assert [asked.connection for asked in server.asked] == [1, 1, 2, 2, 3]

    def test_a_kept_connection_that_dies_late_may_have_been_charged_for(
        self, serve: Callable[..., ScriptedServer], transport: Transport, clock: Clock
    ) -> None:
        die = Event()

        def think_and_die(peer: Peer, _: Asked) -> None:
            die.wait(PATIENCE_S)
            peer.close()

        server = serve(answer(whole("a")), think_and_die, answer(whole("b")))
        bedrock = backend(server.url, transport)
        ask(bedrock)
        stream = bedrock.open(call(), limit_s=1)
        assert stream.poll(0.01) == ()
        clock.ahead_s += STALE_WITHIN_S
        die.set()
        _, failure = events_of(stream)
        assert failure is not None
        assert failure.outcome == "unavailable"
        assert len(server.asked) == 2

    def test_connections_age(self, serve: Callable[..., ScriptedServer], transport: Transport, clock: Clock) -> None:
        server = serve(answer(whole("a")))
        bedrock = backend(server.url, transport)
        for wait_s in (0, IDLE_LIMIT_S - 1, IDLE_LIMIT_S + 1):
            clock.ahead_s += wait_s
            ask(bedrock)
        assert [asked.connection for asked in server.asked] == [1, 1, 2]

    def test_few_are_kept_and_closing_the_transport_closes_them(
        self, serve: Callable[..., ScriptedServer], transport: Transport
    ) -> None:
        server = serve(answer(whole("a")))
        bedrock = backend(server.url, transport)
        streams = [bedrock.open(call(), limit_s=1) for _ in range(IDLE_MOST + 2)]
        for stream in streams:
            assert events_of(stream)[1] is None
        assert all(peer.over.wait(1) for peer in server.peers[:2])
        assert not any(peer.over.is_set() for peer in server.peers[2:])
        transport.close()
        assert all(peer.over.wait(1) for peer in server.peers)


class TestTogether:
    def test_many_threads_keep_their_answers_apart(
        self, serve: Callable[..., ScriptedServer], transport: Transport
    ) -> None:
        def echo(peer: Peer, asked: Asked) -> None:
            question = json.loads(asked.body)["messages"][0]["content"][0]["text"]
            answer(whole(*question))(peer, asked)

        server = serve(echo)
        bedrock = backend(server.url, transport)
        questions = [f"質問{number}「{chr(0x3042 + number)}」" * 5 for number in range(80)]
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda question: ask(bedrock, call(Message("user", question))), questions))
        assert [(text_of(events), failure) for events, failure in answers] == [
            (question, None) for question in questions
        ]
        assert len(server.peers) <= 8


class TestTrust:
    def test_an_unknown_authority_is_refused(
        self, serve: Callable[..., ScriptedServer], tls: ssl.SSLContext, transport: Transport
    ) -> None:
        server = serve(answer(whole("a")), tls=tls)
        assert str(ask(backend(server.url, transport))[1]) == "unavailable: SSLCertVerificationError"

    def test_another_name_is_refused(
        self, serve: Callable[..., ScriptedServer], tls: ssl.SSLContext, certificate: Path
    ) -> None:
        server = serve(answer(whole("a")), tls=tls)
        trusting = Transport(ca_bundle=str(certificate))
        trusting.warm_up()
        bedrock = backend(f"https://127.0.0.1:{server.port}", trusting)
        assert str(ask(bedrock)[1]) == "unavailable: SSLCertVerificationError"


@pytest.mark.parametrize(
    ("headers", "host"), [({}, "127.0.0.1:{port}"), ({"HOST": "signed.example"}, "signed.example")]
)
def test_the_host_is_named_once(
    serve: Callable[..., ScriptedServer], transport: Transport, headers: dict[str, str], host: str
) -> None:
    server = serve(answer(whole("a")))
    exchange = transport.send(Request("POST", f"{server.url}/a%2Fb?c=d", {**headers, "Content-Length": "0"}, b""), 1)
    while exchange.read(1):
        pass
    exchange.close()
    assert server.asked[0].target == "/a%2Fb?c=d"
    assert server.asked[0].headers["host"] == host.format(port=server.port)
