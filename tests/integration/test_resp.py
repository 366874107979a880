"""Redis's protocol byte by byte: what is a reply, what is none, and whom a cluster sends us to."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mangaassist.knowledge.cache.redis import RedisAnswers
from mangaassist.knowledge.cache.resp import ANSWER_LIMIT_BYTES, Server
from tests.integration.answer_places import answer
from tests.integration.resp_wire import Actor, bulk, leaves, says, why

if TYPE_CHECKING:
    import socket

    from tests.integration.resp_wire import Line

LONG_S = 5.0
NOTHING = b"*0\r\n"


def asked(*lines: Line, command: tuple[str, ...] = ("HGETALL", "answers:b")) -> str:
    """Why a command fails at a server that follows these lines."""
    with Actor(*lines) as actor, closing(Server(actor.endpoint)) as client:
        return why(lambda: client.ask(command, limit_s=LONG_S))


class TestWords:
    @pytest.mark.parametrize(
        "said",
        [
            b"HTTP/1.1 400 Bad Request\r\n",
            b"?\r\n",
            b":many\r\n",
            b"$many\r\n",
            b"$-7\r\n",
            b"*1\r\n*1\r\n:1\r\n",
            b"+\xff\r\n",
            b"$%d\r\n" % (ANSWER_LIMIT_BYTES + 1),
            b"*2\r\n$%d\r\n" % ANSWER_LIMIT_BYTES,
            b"x" * 5000,
        ],
    )
    def test_what_is_no_reply_is_garbled(self, said: bytes) -> None:
        assert asked(says(said)) == "garbled"

    @pytest.mark.parametrize(
        ("said", "reason"),
        [
            (b"-ERR unknown command 'HGETALL' 'answers:b'\r\n", "ERR"),
            (b"-LOADING Redis is loading\r\n", "LOADING"),
            (b"-CLUSTERDOWN Hash slot not served\r\n", "CLUSTERDOWN"),
            (b"-ASK 3999 127.0.0.1:6381\r\n", "ASK"),
            (b"-answers:b is wrong\r\n", "refused"),
        ],
    )
    def test_of_a_refusal_only_its_reason_is_told(self, said: bytes, reason: str) -> None:
        assert asked(says(said)) == reason

    @pytest.mark.parametrize("said", [b"", b"*2\r\n", b"$5\r\nab"])
    def test_a_server_that_leaves(self, said: bytes) -> None:
        def line(sock: socket.socket) -> None:
            says(said)(sock)
            leaves(sock)

        assert asked(line) == "ConnectionResetError"

    @pytest.mark.parametrize(
        "said", [b":1\r\n", b"+OK\r\n", b"$-1\r\n", b"*1\r\n" + bulk(b"w1"), b"*2\r\n" + bulk(b"w1") + b":1\r\n"]
    )
    def test_a_reply_of_the_wrong_kind_is_garbled(self, said: bytes) -> None:
        with Actor(says(said)) as actor, closing(Server(actor.endpoint)) as client:
            assert why(lambda: RedisAnswers(client).read("b", LONG_S)) == "garbled"

    def test_replies_may_come_in_any_pieces(self) -> None:
        data = b"*2\r\n" + bulk("日本\r\n語".encode()) + b"$0\r\n\r\n"
        with (
            Actor(says(*(bytes([byte]) for byte in data))) as actor,
            closing(Server(actor.endpoint)) as client,
        ):
            assert client.ask(("HGETALL", "b"), limit_s=LONG_S) == [["日本\r\n語".encode(), b""]]

    def test_a_connection_with_something_left_on_it_answers_no_other_call(self) -> None:
        with Actor(says(b":1\r\n:2\r\n"), says(b":3\r\n")) as actor, closing(Server(actor.endpoint)) as client:
            assert [client.ask(("DEL", "a"), limit_s=LONG_S) for _ in range(2)] == [[1], [3]]

    def test_commands_cannot_be_broken_out_of(self) -> None:
        with Actor(says(b":1\r\n")) as actor, closing(Server(actor.endpoint)) as client:
            client.ask(("DEL", "a\r\n*1\r\n$8\r\nFLUSHALL\r\n", 7, b"\x00"), limit_s=LONG_S)
            assert actor.asked == [
                b"*4\r\n$3\r\nDEL\r\n$21\r\na\r\n*1\r\n$8\r\nFLUSHALL\r\n\r\n$1\r\n7\r\n$1\r\n\x00\r\n"
            ]


class TestCluster:
    def test_a_redirection_is_followed_with_all_of_a_call(self) -> None:
        with Actor(says(NOTHING), says(b":1\r\n:1\r\n")) as other:
            moved = b"-MOVED 3999 127.0.0.1:%d\r\n" % other.port
            with Actor(says(moved), says(moved * 2)) as first, closing(Server(first.endpoint)) as client:
                RedisAnswers(client).write("b", answer(), LONG_S)
                assert other.asked == first.asked
                assert len(other.asked) == 2

    def test_an_empty_host_is_the_one_that_redirects(self) -> None:
        with (
            Actor(says(NOTHING)) as other,
            Actor(says(b"-MOVED 3999 :%d\r\n" % other.port)) as first,
            closing(Server(first.endpoint)) as client,
        ):
            assert RedisAnswers(client).read("b", LONG_S) == []

    def test_two_nodes_that_name_each_other_are_asked_once_each(self) -> None:
        with (
            Actor(says(b"-MOVED 3999 :1\r\n")) as other,
            Actor(says(b"-MOVED 3999 :%d\r\n" % other.port)) as first,
            closing(Server(first.endpoint)) as client,
        ):
            assert why(lambda: client.ask(("GET", "b"), limit_s=LONG_S)) == "MOVED"
            assert (len(first.asked), len(other.asked)) == (1, 1)

    @pytest.mark.parametrize("said", [b"-MOVED\r\n", b"-MOVED 3999 nowhere\r\n", b"-MOVED 3999 host:port\r\n"])
    def test_a_redirection_to_nowhere_is_garbled(self, said: bytes) -> None:
        assert asked(says(said)) == "garbled"
