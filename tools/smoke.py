"""Ask a running MangaAssist one question, as a shopper would: its answer and account, or why there is none.

Of the twin that `make run` started, or of a deployment: its WebSocketUrl with a shopper's token.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import click
import httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from local.chat import Turn

TWIN = "ws://127.0.0.1:8080/live"
USER = "smoke"
QUESTION = "ワンピースに似た完結済みの作品は?"
PATIENCE_S = 35.0


@click.command()
@click.option("--url", default=TWIN, show_default=True, help="Where shoppers connect.")
@click.option(
    "--token", envvar="MANGAASSIST_TOKEN", help="A shopper's; the twin at the URL is asked for one otherwise."
)
@click.option("--question", default=QUESTION, show_default=True)
@click.option("--patience", "patience_s", default=PATIENCE_S, show_default=True, help="Seconds to wait for each frame.")
def main(url: str, token: str | None, question: str, patience_s: float) -> None:
    """Ask one question; the exit code is 0 when its answer came to its end."""
    prove(url, token, question, patience_s)


def prove(url: str, token: str | None, question: str = QUESTION, patience_s: float = PATIENCE_S) -> None:
    """Ask one question and print its answer and account; raises ClickException when it is not complete."""
    try:
        turn = ask(url, token or twin_token(url), question, patience_s)
    except (httpx.HTTPError, OSError, WebSocketException, ValueError, KeyError) as error:
        raise click.ClickException(f"{url} does not answer: {str(error) or type(error).__name__}") from error
    if turn.end is None:
        raise click.ClickException(f"no answer but an error: {json.dumps(turn.error, ensure_ascii=False)}")
    click.echo(turn.text)
    click.echo(json.dumps(account(turn.end), ensure_ascii=False))
    if not turn.text or turn.end["finish"] != "complete":
        raise click.ClickException(f"the answer is not complete: {turn.end['finish']}")


def twin_token(url: str) -> str:
    """A token of the twin whose WebSocket this is."""
    scheme = {"ws": "http", "wss": "https"}[urlsplit(url).scheme]
    answer = httpx.get(f"{scheme}://{urlsplit(url).netloc}/twin/token", params={"user": USER}, timeout=5)
    return str(answer.raise_for_status().json()["token"])


def ask(url: str, token: str, question: str, patience_s: float) -> Turn:
    """Ask and follow the frames up to the last one; the token travels as a subprotocol, which nobody logs."""
    turn = Turn(question, session_id=None)
    offered = [Subprotocol("mangaassist"), Subprotocol(token)]
    with connect(url, subprotocols=offered, compression=None, open_timeout=patience_s) as connection:
        connection.send(json.dumps(turn.wish(), ensure_ascii=False))
        while not turn.is_over:
            turn.follow(json.loads(connection.recv(timeout=patience_s)))
    return turn


def account(end: dict[str, Any]) -> dict[str, Any]:
    """What the last frame says of the answer, without what every frame says."""
    return {name: value for name, value in end.items() if name not in ("type", "turn_id", "seq", "citations")}


if __name__ == "__main__":
    main()
