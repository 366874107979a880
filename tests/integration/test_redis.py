"""What Redis may do to a turn: fail, and within the turn's limit, however it is reached and whatever it does."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, cast

import pytest

from mangaassist.errors import KnowledgeUnavailable
from mangaassist.knowledge.cache.kept import LEFT_ALONE_S, KeptAnswers
from mangaassist.knowledge.cache.redis import RedisAnswers
from mangaassist.knowledge.cache.resp import Server
from mangaassist.routing import question
from tests.integration import redis_servers
from tests.integration.answer_places import answer
from tests.integration.redis_servers import KINDS, PASSWORD, USER, RedisServer
from tests.integration.resp_wire import Actor, is_silent, says, why
from tests.unit.fakes import FakeClock, FakeShelf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mangaassist.clock import Clock
    from mangaassist.knowledge.shelf import Shelf
    from tests.integration.resp_wire import Line

LIMIT_S = 0.15  # of a turn's look at the kept answers
SLACK_S = 0.1  # of a machine that runs nothing else
LONG_S = 5.0
NOTHING = b"*0\r\n"
LOGS_IN = says(b"+OK\r\n")
CALLS: dict[str, Callable[[RedisAnswers], object]] = {
    "read": lambda store: store.read("b", LIMIT_S),
    "write": lambda store: store.write("b", answer(), LIMIT_S),
    "drop": lambda store: store.drop("b", "w1", LIMIT_S),
    "claim": lambda store: store.claim("b", "w1", 20, LIMIT_S),
    "release": lambda store: store.release("b", "w1", LIMIT_S),
}


@pytest.fixture(scope="module", params=KINDS)
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_servers.running(request.param, tmp_path_factory.mktemp(request.param)) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The server with the user of the stack."""
    with redis_servers.running("user", tmp_path_factory.mktemp("guarded")) as server:
        yield server


@pytest.fixture
def client(real: RedisServer) -> Iterator[Server]:
    real.ask("FLUSHALL")
    with closing(real.server()) as made:
        yield made


@pytest.mark.alone
class TestLimits:
    @pytest.mark.parametrize("name", CALLS)
    @pytest.mark.parametrize("warm", [True, False], ids=["connected", "cold"])
    def test_a_server_that_hangs_costs_the_limit_once_and_is_used_again_when_it_goes_on(
        self, real: RedisServer, client: Server, name: str, warm: bool
    ) -> None:
        store = RedisAnswers(client)
        if warm:
            store.read("b", LONG_S)
        real.hang()
        try:
            began = time.monotonic()
            assert why(lambda: CALLS[name](store)) == "late"
            assert LIMIT_S * 0.9 < time.monotonic() - began < LIMIT_S + SLACK_S
        finally:
            real.go_on()
        store.write("b", answer(), LONG_S)
        assert [kept.wording for kept in store.read("b", LONG_S)] == ["w1"]

    def test_the_first_look_after_a_start_fits_into_its_limit_many_times(self, real: RedisServer) -> None:
        for _ in range(3):
            began = time.monotonic()
            with closing(real.server()) as client:
                RedisAnswers(client).read("b", LIMIT_S)
            assert time.monotonic() - began < LIMIT_S / 3

    @pytest.mark.parametrize(
        "lines",
        [
            (says(*(bytes([byte]) for byte in b"*2\r\n$2\r\nw1\r\n$9\r\n"), each_s=0.03), is_silent),
            (says(b"", NOTHING, each_s=LIMIT_S * 0.45), says(b":0\r\n:1\r\n", each_s=LIMIT_S)),
            (LOGS_IN, is_silent),
        ],
        ids=["drips", "is slow at each of two", "logs in and hangs"],
    )
    def test_all_that_a_call_takes_shares_its_limit(self, lines: tuple[Line, ...]) -> None:
        login = (lambda: ("user", "password")) if lines[0] is LOGS_IN else None
        with Actor(*lines) as actor, closing(Server(actor.endpoint, login=login)) as client:
            began = time.monotonic()
            assert why(lambda: RedisAnswers(client).write("b", answer(), LIMIT_S)) == "late"
            assert time.monotonic() - began < LIMIT_S + SLACK_S

    def test_no_time_left_is_late_at_once(self, client: Server) -> None:
        began = time.monotonic()
        assert why(lambda: client.ask(("HGETALL", "answers:b"), limit_s=0)) == "late"
        assert time.monotonic() - began < SLACK_S


class TestTrouble:
    def test_nobody_is_there(self, tmp_path: Path) -> None:
        with redis_servers.running("plain", tmp_path) as real:
            real.stop()
            with closing(real.server()) as client:
                store = RedisAnswers(client)
                reasons = {name: why(partial(call, store)) for name, call in CALLS.items()}
                assert reasons == dict.fromkeys(CALLS, "ConnectionRefusedError")

    def test_no_such_host(self) -> None:
        with closing(Server("redis://cache.invalid:6379")) as client:
            assert why(lambda: client.ask(("GET", "answers:b"), limit_s=LONG_S)) == "gaierror"

    def test_no_room_is_told_and_what_is_kept_stays_readable(self, real: RedisServer, client: Server) -> None:
        store = RedisAnswers(client)
        store.write("b", answer(), LONG_S)
        real.ask("CONFIG", "SET", "maxmemory", 1)
        try:
            assert why(lambda: store.write("b", answer("w2"), LONG_S)) == "OOM"
            assert why(lambda: store.claim("b", "w1", 20, LONG_S)) == "OOM"
            assert [kept.wording for kept in store.read("b", LONG_S)] == ["w1"]
        finally:
            real.ask("CONFIG", "SET", "maxmemory", 0)
        store.write("b", answer("w2"), LONG_S)

    def test_connections_that_the_server_closed_are_replaced_unnoticed(self, real: RedisServer, client: Server) -> None:
        store = RedisAnswers(client)
        for _ in range(3):
            store.write("b", answer(), LONG_S)
            real.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert len(store.read("b", LONG_S)) == 1

    def test_a_server_that_was_started_again_is_used_without_a_new_process(self, tmp_path: Path) -> None:
        with redis_servers.running("plain", tmp_path / "first") as first, closing(first.server()) as client:
            RedisAnswers(client).write("b", answer(), LONG_S)
            first.stop()
            assert why(lambda: RedisAnswers(client).read("b", LONG_S)) == "ConnectionRefusedError"
            with redis_servers.running("plain", tmp_path / "second", port=first.port):
                assert RedisAnswers(client).read("b", LONG_S) == []

    def test_something_else_in_a_buckets_place_harms_no_other_bucket(self, real: RedisServer, client: Server) -> None:
        store = RedisAnswers(client)
        real.ask("SET", "answers:b", "text")
        assert why(lambda: store.read("b", LONG_S)) == "WRONGTYPE"
        assert why(lambda: store.write("b", answer(), LONG_S)) == "WRONGTYPE"
        store.write("c", answer(), LONG_S)
        assert len(store.read("c", LONG_S)) == 1

    def test_connections_are_shared_one_after_the_other(self, real: RedisServer, client: Server) -> None:
        before = _connections(real)
        for _ in range(20):
            RedisAnswers(client).write("b", answer(), LONG_S)
        assert _connections(real) - before == 2  # ours, and the one that asks here

    def test_an_unknown_authority_is_refused(self, tmp_path: Path) -> None:
        with redis_servers.running("tls", tmp_path) as real, closing(Server(real.endpoint)) as client:
            assert why(lambda: client.ask(("GET", "answers:b"), limit_s=LONG_S)) == "SSLCertVerificationError"


class TestUser:
    def test_the_stacks_user_may_do_what_the_store_does_and_no_more(self, guarded: RedisServer) -> None:
        guarded.ask("CONFIG", "RESETSTAT")
        with closing(guarded.server()) as client:
            store = RedisAnswers(client)
            store.write("b", answer(expires_at=1), LONG_S)
            for call in CALLS.values():
                call(store)
        told = cast("bytes", guarded.ask("INFO", "commandstats")).decode()
        done = {line.partition(":")[0].removeprefix("cmdstat_") for line in told.splitlines() if line[:3] == "cmd"}
        owners = {"auth", "config|resetstat", "info"}
        assert done - owners == {word.removeprefix("+") for word in redis_servers.access_string() if word[0] == "+"}

    @pytest.mark.parametrize("command", [("GET", "answers:b"), ("HGETALL", "sessions:b"), ("FLUSHALL",), ("KEYS", "*")])
    def test_the_stacks_user_may_do_nothing_else(self, guarded: RedisServer, command: tuple[str, ...]) -> None:
        with closing(guarded.server()) as client:
            assert why(lambda: client.ask(command, limit_s=LONG_S)) == "NOPERM"

    def test_a_wrong_password_is_told_without_it(self, guarded: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        with (
            closing(guarded.server(login=lambda: (USER, "not-this"))) as client,
            pytest.raises(KnowledgeUnavailable) as caught,
        ):
            client.ask(("HGETALL", "answers:b"), limit_s=LONG_S)
        assert caught.value.why == "WRONGPASS"
        assert "not-this" not in repr(caught.value) + repr(caught.value.__cause__) + caplog.text

    def test_without_a_login_there_is_no_answer(self, guarded: RedisServer) -> None:
        with closing(Server(guarded.endpoint)) as client:
            assert why(lambda: client.ask(("HGETALL", "answers:b"), limit_s=LONG_S)) == "NOAUTH"

    def test_every_new_connection_has_a_new_password(self, guarded: RedisServer) -> None:
        given: list[str] = []

        def login() -> tuple[str, str]:
            given.append(PASSWORD)
            return USER, PASSWORD

        with closing(guarded.server(login=login)) as client:
            for _ in range(2):
                for _ in range(3):
                    RedisAnswers(client).read("b", LONG_S)
                guarded.ask("CLIENT", "KILL", "USER", USER)
        assert len(given) == 2


def test_a_place_that_fails_is_asked_again_after_a_while_and_not_before(tmp_path: Path) -> None:
    clock = FakeClock()
    with redis_servers.running("plain", tmp_path / "first") as first, closing(first.server()) as client:
        kept = KeptAnswers(RedisAnswers(client), cast("Shelf", FakeShelf(clock)), cast("Clock", clock))
        same = question.read("ワンピースの値段は?")
        first.stop()
        assert kept.look(same, (), LONG_S) is None
        with redis_servers.running("plain", tmp_path / "second", port=first.port):
            clock.sleep(LEFT_ALONE_S - 0.1)
            assert kept.look(same, (), LONG_S) is None
            clock.sleep(0.2)
            assert kept.look(same, (), LONG_S) is not None


def _connections(real: RedisServer) -> int:
    """How many it has accepted."""
    lines = cast("bytes", real.ask("INFO", "stats")).decode().splitlines()
    return next(int(line.partition(":")[2]) for line in lines if line.startswith("total_connections_received:"))
