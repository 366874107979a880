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
from typing import Any

REGION = "ap-northeast-1"
PATIENCE_S = 10.0  # of who asks, unless it is told otherwise
GIVEN_UP_S = 60.0  # how long what was given up may go on before the next question
MEGABYTE = 1024 if sys.platform == "linux" else 1024 * 1024  # of what the system counts memory in
os.environ |= {
    "AWS_ACCESS_KEY_ID": "peer",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_EC2_METADATA_DISABLED": "true",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or its import asks the network for prices
}


class Boto3:
    """The SDK alone: one model, one try, and a limit for each read."""

    def __init__(self, address: str, chain: list[str], limit_s: float) -> None:
        import boto3
        from botocore.config import Config

        limits = Config(connect_timeout=1, read_timeout=limit_s, retries={"total_max_attempts": 1})
        self._model = chain[0]
        self._client = boto3.client("bedrock-runtime", REGION, endpoint_url=address, config=limits)

    def ask(self, question: str) -> Any:
        """The pieces of an answer."""
        messages: list[Any] = [{"role": "user", "content": [{"text": question}]}]
        answer = self._client.converse_stream(
            modelId=self._model, messages=messages, inferenceConfig={"maxTokens": 1024}
        )
        for event in answer["stream"]:
            yield event.get("contentBlockDelta", {}).get("delta", {}).get("text", "")


class LiteLlm:
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

    def ask(self, question: str) -> Any:
        """The pieces of an answer."""
        for chunk in self._router.completion(**self._call(question)):
            yield chunk.choices[0].delta.content or ""


class LiteLlmAsync(LiteLlm):
    """The same by its asynchronous interface."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def ask(self, question: str) -> Any:
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


def _gateway(*given: Any) -> Any:
    return importlib.import_module("portkey").Portkey(*given)  # beside this file


MAKERS: dict[str, Any] = {
    "boto3": Boto3,
    "litellm": LiteLlm,
    "litellm-async": LiteLlmAsync,
    "litellm-no-retries": _without_retries,
    "portkey": _gateway,
}


def asked(peer: Any, question: str, patience_s: float) -> dict[str, Any]:
    """Ask once: what came, when, and how it ended; what has not ended after that patience is told as it is then.

    It goes on for itself, and the next question waits for it: it must not take the processor from another's.
    """
    began = time.perf_counter()
    told: dict[str, Any] = {"first_text_s": None, "total_s": patience_s, "text": "", "error": ""}

    def ask() -> None:
        try:
            for piece in peer.ask(question):
                told["text"] += piece
                if piece and told["first_text_s"] is None:
                    told["first_text_s"] = time.perf_counter() - began
        except Exception as failure:  # a peer's failures are what is compared
            told["error"] = getattr(failure, "name", "") or type(failure).__name__
        told["total_s"] = time.perf_counter() - began

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(patience_s)
    heard = dict(told) | ({"error": "no end"} if asking.is_alive() else {})
    asking.join(GIVEN_UP_S)
    return heard


def costs(peer: Any, question: str, rounds: int) -> dict[str, Any]:
    """Ask many times: processor milliseconds of an answer, of all threads and of a gateway, and how long each took."""
    walls, cpu = [], _cpu_s(peer)
    for _ in range(rounds):
        began = time.perf_counter()
        _hear_out(peer, question)
        walls.append((time.perf_counter() - began) * 1000)
    return {"cpu_ms": (_cpu_s(peer) - cpu) * 1000 / rounds, "wall_ms": walls}


def _hear_out(peer: Any, question: str) -> None:
    if hasattr(peer, "ask_whole"):
        peer.ask_whole(question)
        return
    for _ in peer.ask(question):
        pass


def _cpu_s(peer: Any) -> float:
    """Of this process, and of the one that a gateway runs in beside it."""
    return time.process_time() + (peer.process.cpu_s() if hasattr(peer, "process") else 0.0)


def main(name: str) -> None:
    """Do what the lines say."""
    began = time.perf_counter()
    peer, patience_s = MAKERS[name]("http://127.0.0.1:9", ["none"], 1.0), PATIENCE_S  # imports what it needs
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE
    memory_mb += peer.process.memory_mb() if hasattr(peer, "process") else 0.0
    print(json.dumps({"import_s": time.perf_counter() - began, "memory_mb": memory_mb}), flush=True)
    for line in sys.stdin:
        told = json.loads(line)
        match told.pop("do"):
            case "begin":
                peer = MAKERS[name](told["address"], told["chain"], told["limit_s"])
                patience_s = told.get("patience_s", PATIENCE_S)
                answer: dict[str, Any] = {}
            case "costs":
                answer = costs(peer, told["question"], told["rounds"])
            case _:
                answer = asked(peer, told["question"], patience_s)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
