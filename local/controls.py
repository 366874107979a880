"""`/twin/*`: the controls for people and tests, JSON in and out, for this machine's own pages and tools only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route

from local import embeddings, process
from local.clock import ClockBound, instant
from local.faults import DEPENDENCIES, FaultUnknown
from local.world import shipped_models

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from local.bedrock import Bedrock
    from local.clock import Clock
    from local.environments import Environments
    from local.faults import Faults
    from local.gateway import Gateway
    from local.issuer import Issuer
    from local.opensearch import OpenSearch
    from local.provisioned import ProvisionedThroughput
    from local.sagemaker import SageMaker
    from local.schedules import Schedules
    from local.workflow import Workflow
    from local.world import World

USER = re.compile(r"^[A-Za-z0-9][A-Za-z0-9@._-]{0,63}$")
MOST_TURNS = 1000


class Unusable(Exception):
    """A control was asked for something that it cannot do; the text says why."""


class Controls:
    """The handlers of `/twin/*`; each answers a dictionary or raises Unusable."""

    def __init__(
        self,
        *,
        clock: Clock,
        faults: Faults,
        world: World,
        gateway: Gateway,
        environments: Environments,
        bedrock: Bedrock,
        sagemaker: SageMaker,
        search: OpenSearch,
        provisioned: ProvisionedThroughput,
        workflow: Workflow,
        schedules: Schedules,
        issuer: Issuer,
    ) -> None:
        self._clock = clock
        self._faults = faults
        self._world = world
        self._gateway = gateway
        self._environments = environments
        self._bedrock = bedrock
        self._sagemaker = sagemaker
        self._search = search
        self._provisioned = provisioned
        self._workflow = workflow
        self._schedules = schedules
        self._issuer = issuer

    def routes(self) -> list[Route]:
        """Where each control is found."""
        return [
            Route("/twin/health", _json(self._health), methods=["GET"]),
            Route("/twin/token", _json(self._token), methods=["GET"]),
            Route("/twin/process", _json(self._process), methods=["GET"]),
            Route("/twin/environments", _json(self._kill), methods=["GET", "DELETE"]),
            Route("/twin/clock", _json(self._time), methods=["GET", "PUT", "DELETE"]),
            Route("/twin/faults", _json(self._trouble), methods=["GET", "PUT", "DELETE"]),
            Route("/twin/faults/{key:path}", _json(self._trouble), methods=["DELETE"]),
            Route("/twin/limits", _json(self._limits), methods=["GET", "PUT"]),
            Route("/twin/turns", _json(self._turns), methods=["GET"]),
            Route("/twin/state", _json(self._state), methods=["GET"]),
            Route("/twin/route", _json(self._route), methods=["GET"]),
            Route("/twin/mailbox/{id}", _json(self._mailbox), methods=["GET"]),
        ]

    async def _health(self, request: Request) -> dict[str, Any]:
        return {"status": "ok", "now": self._clock.now().isoformat(timespec="milliseconds")}

    async def _process(self, request: Request) -> dict[str, Any]:
        return process.figures([it["pid"] for it in self._environments.listed()])

    async def _kill(self, request: Request) -> dict[str, Any]:
        if request.method == "GET":
            return {"environments": self._environments.listed()}
        if not self._environments.count:
            raise Unusable("functions share the twin's process; --environments 2 gives them their own")
        return {"killed": self._environments.kill(), "environments": self._environments.listed()}

    async def _token(self, request: Request) -> dict[str, Any]:
        user = request.query_params.get("user", "")
        if not USER.match(user):
            raise Unusable("user: 1 to 64 letters, digits and @ . _ - are expected, such as ?user=alice")
        life = _whole_number(request, "life_s")
        return {"token": self._issuer.token(user) if life is None else self._issuer.token(user, life)}

    async def _time(self, request: Request) -> dict[str, Any]:
        if request.method == "PUT":
            document = await _body(request)
            try:
                if "advance_s" in document:
                    self._clock.advance(_forward(document["advance_s"]))
                else:
                    self._clock.move(instant(document["now"]))
            except (TypeError, KeyError, ValueError, OverflowError) as error:
                raise Unusable(
                    '{"now": "2026-11-23T19:00:00+09:00"} is expected, an ISO 8601 instant, or {"advance_s": 300}'
                ) from error
            except ClockBound as error:
                raise Unusable(str(error)) from error
        elif request.method == "DELETE":
            self._clock.reset()
        return {"now": self._clock.now().isoformat(timespec="milliseconds"), "moved": self._clock.moved}

    async def _trouble(self, request: Request) -> dict[str, Any]:
        if request.method == "PUT":
            try:
                self._faults.put(await request.body(), await run_in_threadpool(self._fault_keys))
            except FaultUnknown as error:
                raise Unusable(str(error)) from error
        elif request.method == "DELETE":
            self._faults.clear(request.path_params.get("key"))
        return self._faults.listed()

    async def _limits(self, request: Request) -> dict[str, Any]:
        if request.method == "PUT":
            try:
                self._gateway.limits = self._gateway.limits.changed(await _body(request))
            except ValueError as error:
                raise Unusable(str(error)) from error
        return vars(self._gateway.limits)

    async def _turns(self, request: Request) -> dict[str, Any]:
        limit = _whole_number(request, "limit")
        return {"turns": await run_in_threadpool(self._world.turns, min(limit or 50, MOST_TURNS))}

    async def _state(self, request: Request) -> dict[str, Any]:
        world = await run_in_threadpool(self._world.state, self._clock.now())
        clock = {"now": self._clock.now().isoformat(timespec="milliseconds"), "moved": self._clock.moved}
        return {
            "clock": clock,
            **world,
            "connections": self._gateway.connections(),
            "emulator": self._bedrock.state(),
            "endpoint": self._sagemaker.state(),
            "search": self._search.state(),
            "provisioned": self._provisioned.state(),
            "schedules": self._schedules.state(),
            "executions": self._workflow.executions(),
            "notices": self._workflow.notices(),
            "faults": self._faults.listed(),
            "faults_met": self._faults.met,
        }

    async def _route(self, request: Request) -> dict[str, Any]:
        question = request.query_params.get("question", "").strip()
        if not question:
            raise Unusable("question: a text is expected")
        try:
            given = request.query_params.get("now", "").replace(" ", "+")  # what a query makes of a plus
            now = instant(given) if given else self._clock.now()
        except ValueError as error:
            raise Unusable(f"now: {error}") from error
        return await run_in_threadpool(self._decide, question, now)

    def _decide(self, text: str, now: Any) -> dict[str, Any]:
        from mangaassist.routing import question, router

        view = self._world.view(now)
        route = router.decide(question.read(text), view.situation, view.policy, now)
        return {
            "score": route.score,
            "complex": route.complex,
            "catalogue": route.catalogue,
            "chain": list(route.chain),
            "reason": route.reason,
        }

    async def _mailbox(self, request: Request) -> dict[str, Any]:
        return {"frames": self._gateway.mailbox(request.path_params["id"])}

    def _fault_keys(self) -> set[str]:
        view = self._world.view(self._clock.now())
        models = {model.id for model in view.policy.models.values()}
        arns = {capacity.arn for capacity in view.situation.capacity.values()} | self._provisioned.arns()
        named = {*arns, *self._sagemaker.names()}
        return {*view.policy.targets, *models, *shipped_models(), *named, *DEPENDENCIES, *embeddings.MODELS}


def _json(control: Callable[[Request], Awaitable[dict[str, Any]]]) -> Callable[[Request], Awaitable[JSONResponse]]:
    async def answer(request: Request) -> JSONResponse:
        try:
            return JSONResponse(await control(request))
        except Unusable as error:
            return JSONResponse({"error": str(error)}, status_code=400)

    return answer


async def _body(request: Request) -> Any:
    try:
        return await request.json()
    except ValueError as error:
        raise Unusable("the body is not JSON") from error


def _forward(seconds: Any) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        raise ValueError(seconds)
    return float(seconds)


def _whole_number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"-?\d{1,9}", text):
        raise Unusable(f"{name}: a whole number is expected")
    return int(text)
