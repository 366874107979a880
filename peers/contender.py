"""Runs in the peers' own environment and imports nothing of ours: asks Bedrock as a peer's users would.

It is told one thing a line on standard input, and answers a line of JSON each.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import resource
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from peers.portkey import Portkey

REGION = "ap-northeast-1"
PATIENCE_S = 10.0  # of who asks, unless it is told otherwise
PAST_IT_S = 60.0  # how long the end is waited for after that, unless it is told otherwise
NO_END = "no end"
MEGABYTE = 1024 if sys.platform == "linux" else 1024 * 1024  # of what the system counts memory in
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "peer",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_EC2_METADATA_DISABLED": "true",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or its import asks the network for prices
}


class Client(Protocol):
    """A peer as its users call it, alone in this process unless it says otherwise."""

    def ask(self, question: str) -> Iterator[str]:
        """The pieces of an answer, each when it is there."""
        ...

    def ask_whole(self, question: str) -> None:
        """One answer to its end, by the way that costs least."""
        for _ in self.ask(question):
            pass

    def gateway_cpu_s(self) -> float:
        """Processor seconds so far of a process that it runs beside this one."""
        return 0.0

    def gateway_memory_mb(self) -> float:
        """What that process holds."""
        return 0.0


class Boto3(Client):
    """The SDK alone: one model, one try, and a limit for each read."""

    def __init__(self, address: str, chain: list[str], limit_s: float) -> None:
        import boto3
        from botocore.config import Config

        limits = Config(connect_timeout=1, read_timeout=limit_s, retries={"total_max_attempts": 1})
        self._model = chain[0]
        self._client = boto3.client("bedrock-runtime", REGION, endpoint_url=address, config=limits)

    def ask(self, question: str) -> Iterator[str]:
        """The pieces of an answer."""
        messages: list[Any] = [{"role": "user", "content": [{"text": question}]}]
        answer = self._client.converse_stream(
            modelId=self._model, messages=messages, inferenceConfig={"maxTokens": 1024}
        )
        for event in answer["stream"]:
            yield event.get("contentBlockDelta", {}).get("delta", {}).get("text", "")


class LiteLlm(Client):
    """LiteLLM's Router with the chain as its fallbacks; `settings` are the Router's."""

    def __init__(self, address: str, chain: list[str], limit_s: float, **settings: Any) -> None:
        import litellm

        litellm.telemetry = False
        litellm.suppress_debug_info = True
        self._model = chain[0]
        self._router = litellm.Router(
            model_list=[
                {
                    "model_name": model,
                    "litellm_params": {
                        "model": f"bedrock/converse/{model}",
                        "aws_bedrock_runtime_endpoint": address,
                        "aws_region_name": REGION,
                        "timeout": limit_s,
                        "stream_timeout": limit_s,
                    },
                }
                for model in chain
            ],
            fallbacks=[{chain[0]: chain[1:]}] if chain[1:] else [],
            **settings,
        )

    def _call(self, question: str) -> dict[str, Any]:
        messages = [{"role": "user", "content": question}]
        return {"model": self._model, "messages": messages, "stream": True, "max_tokens": 1024}

    def ask(self, question: str) -> Iterator[str]:
        """The pieces of an answer."""
        for chunk in self._router.completion(**self._call(question)):
            yield chunk.choices[0].delta.content or ""


class LiteLlmAsync(LiteLlm):
    """The same by its asynchronous interface."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def ask(self, question: str) -> Iterator[str]:
        """The pieces of an answer, each when it is there."""
        stream = self._here(self._router.acompletion(**self._call(question)))
        pieces = aiter(stream)
        while True:
            try:
                chunk = self._here(anext(pieces))
            except StopAsyncIteration:
                return
            yield chunk.choices[0].delta.content or ""

    def ask_whole(self, question: str) -> None:
        """One answer without leaving the loop: what its pieces take to reach another thread is not its cost."""

        async def asked() -> None:
            async for _ in await self._router.acompletion(**self._call(question)):
                pass

        self._here(asked())

    def _here(self, awaitable: Any) -> Any:
        async def awaited() -> Any:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result()


def _without_retries(*given: Any) -> LiteLlm:
    return LiteLlm(*given, num_retries=0)


def _gateway(*given: Any) -> Portkey:
    client: Portkey = importlib.import_module("portkey").Portkey(*given)  # beside this file
    return client


MAKERS: dict[str, Callable[[str, list[str], float], Client]] = {
    "boto3": Boto3,
    "litellm": LiteLlm,
    "litellm-async": LiteLlmAsync,
    "litellm-no-retries": _without_retries,
    "portkey": _gateway,
}


def asked(client: Client, question: str, patience_s: float, past_it_s: float) -> dict[str, Any]:
    """Ask once: what came, when and how it ended.

    The next question waits for the end, for at most `past_it_s` more than the patience: what goes on takes the
    processor from it.
    """
    began = time.perf_counter()
    told: dict[str, Any] = {"first_text_s": None, "total_s": patience_s + past_it_s, "text": "", "error": NO_END}
    asking = threading.Thread(target=_listen, args=(client, question, began, told), daemon=True)
    asking.start()
    asking.join(patience_s + past_it_s)
    return dict(told)


def _listen(client: Client, question: str, began: float, told: dict[str, Any]) -> None:
    error = ""
    try:
        for piece in client.ask(question):
            told["text"] += piece
            if piece and told["first_text_s"] is None:
                told["first_text_s"] = time.perf_counter() - began
    except Exception as failure:  # a peer's failures are what is compared
        error = getattr(failure, "name", "") or type(failure).__name__
    told.update(total_s=time.perf_counter() - began, error=error)


def costs(client: Client, question: str, rounds: int) -> dict[str, Any]:
    """Ask many times: processor milliseconds of an answer, of all threads and of a gateway, and how long each took."""
    walls, cpu_s = [], _cpu_s(client)
    for _ in range(rounds):
        began = time.perf_counter()
        client.ask_whole(question)
        walls.append((time.perf_counter() - began) * 1000)
    return {"cpu_ms": (_cpu_s(client) - cpu_s) * 1000 / rounds, "wall_ms": walls}


def _cpu_s(client: Client) -> float:
    return time.process_time() + client.gateway_cpu_s()


def _memory_mb(client: Client) -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE + client.gateway_memory_mb()


def main(name: str) -> None:
    """Do what the lines say."""
    os.environ |= ENVIRONMENT
    began = time.perf_counter()
    client = MAKERS[name]("http://127.0.0.1:9", ["none"], 1.0)  # imports what it needs
    limits_s = PATIENCE_S, PAST_IT_S
    memory_mb = _memory_mb(client)
    print(json.dumps({"import_s": time.perf_counter() - began, "memory_mb": memory_mb}), flush=True)
    for line in sys.stdin:
        told = json.loads(line)
        match told.pop("do"):
            case "begin":
                client = MAKERS[name](told["address"], told["chain"], told["limit_s"])
                limits_s = told.get("patience_s", PATIENCE_S), told.get("past_it_s", PAST_IT_S)
                answer: dict[str, Any] = {}
            case "costs":
                answer = costs(client, told["question"], told["rounds"])
            case _:
                answer = asked(client, told["question"], *limits_s)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
