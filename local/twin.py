"""The composition root of the twin: puts gateway, functions and emulators together and runs them in one process."""

from __future__ import annotations

import asyncio
import errno
import json
import random
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import uvicorn
import uvloop

from local import foundation_models, log, profiles, shop, surroundings, template
from local.aws import INSIDER, RUNTIME, SEARCHING, Aws
from local.bedrock import Bedrock
from local.bedrock_metrics import ModelMetrics
from local.clock import Clock
from local.cloudwatch import CloudWatch
from local.codedeploy import CodeDeploy
from local.control_plane import ControlPlane
from local.controls import Controls
from local.endpoint import Fleet
from local.endpoint_metrics import Metrics
from local.environments import Environments
from local.faults import Faults
from local.functions import Functions
from local.gateway import FRAME_BYTES, MESSAGE_BYTES, Gateway, Limits
from local.intrinsics import REGION
from local.invocations import Invocations
from local.issuer import AUDIENCE, Issuer
from local.opensearch import GENERATIONS, OpenSearch
from local.pages import Front
from local.parameters import ParameterStore
from local.provisioned import ProvisionedThroughput
from local.redis import Redis
from local.sagemaker import SageMaker
from local.sagemaker_control import Hosted
from local.schedules import Schedules
from local.service_quotas import ServiceQuotas
from local.surroundings import Endpoints
from local.wire import ClosableProtocol
from local.workflow import Workflow
from local.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from local.aws import Service
    from local.opensearch import Generation
    from local.profiles import Endpoint
    from local.template import Application, Parameter

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
KEEP_ALIVE_S = 75  # as patient as AWS with clients that keep their connections
ENDPOINT_NAMES = {"stepfunctions": "SFN"}  # where botocore's variables name a service otherwise than its clients
ENDPOINT_NAME = "manga-assist-fm"  # of the SageMaker endpoint, where nobody says
FUNCTION = ":function:"  # in the ARN of one
STOPPING_S = 1  # how long open requests may hold up the end


class CannotStart(Exception):
    """The twin cannot run here; the text says why and what helps."""


@dataclass(frozen=True)
class Options:
    """What the command line decides."""

    port: int = 8080
    template: Path = Path("template.yaml")
    variables: dict[str, str] = field(default_factory=dict)  # of the functions' environment, set over everything else
    limits: Limits = field(default_factory=Limits)
    seed: int | None = None
    environments: int = 0  # processes in which shoppers' functions run; 0: in the twin's own
    pace: float = 1  # of the emulated models
    quotas: float = 1  # of the account, in times of what profiles.json gives a model
    verbose: bool = False
    endpoint: dict[str, str] | None = None  # settings of the SageMaker endpoint; without them it is as it ships
    daily: bool = True  # whether schedules start functions, beside state machines
    containers: str | None = None  # where emulated AWS listens besides loopback; page and controls never do

    @property
    def log(self) -> Path:
        return ROOT / ".twin" / f"twin-{self.port}.log"


class Twin:
    """Everything, not yet running."""

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        self._say = say
        self._options = options
        embedded = f"http://{HOST}:{options.port + 1}"
        endpoints = Endpoints.read(embedded)
        surroundings.prepare(endpoints)
        self._application = template.read(options.template)
        issuer = Issuer(f"{embedded}/issuer")
        api = self._application.api
        known, models = profiles.load(), foundation_models.load()
        profile = _endpoint(known.endpoint, options.endpoint or {})
        variables = _variables(self._application, issuer, embedded, _mode(endpoints)) | options.variables
        variables |= _named(variables, profile, wanted=options.endpoint is not None)
        self._variables = variables
        surroundings.adopt(variables)
        dice = random.Random(options.seed)
        self._clock = Clock(endpoints.real)
        hosted = _hosted(variables, profile, self._clock)
        faults = Faults(dice, hosted.name if hosted else "")
        self._endpoints = endpoints
        held = _held_items if endpoints.is_embedded("DYNAMODB") else None
        self._world = World(self._insider("dynamodb"), variables, held)
        provisioned = ProvisionedThroughput(models, self._clock, known.creating_s)
        metered = ModelMetrics(lambda: self._clock.now().timestamp())
        bedrock = Bedrock(known, faults, self._world, provisioned, dice, metered, options.pace, options.quotas)
        sagemaker = SageMaker(hosted, faults, dice, known.jitter, options.pace)
        search = OpenSearch(known, dice, options.pace, generation=_generation(variables), clock=self._clock.passed_s)
        self._functions = Functions(self._application, self._say)
        self._workflow = Workflow(self._application, self._clock, options.port + 1, self._say)
        schedules = tuple(it for it in self._application.schedules if options.daily or FUNCTION not in it.target)
        self._schedules = Schedules(schedules, self._clock, self._start, self._say)
        self._environments = Environments(
            options.environments, options.template, None if options.verbose else options.log, self._clock, self._say
        )
        wanted = variables.get("ANSWER_CACHE") == "redis" and not variables.get("CACHE_ENDPOINT")
        self._redis = Redis(faults, self._clock.passed_s) if wanted else None
        runners = self._environments if options.environments else self._functions
        self._gateway = Gateway(api, runners, f"{HOST}:{options.port}", options.limits)
        controls = Controls(
            clock=self._clock,
            faults=faults,
            world=self._world,
            gateway=self._gateway,
            environments=self._environments,
            bedrock=bedrock,
            sagemaker=sagemaker,
            search=search,
            provisioned=provisioned,
            workflow=self._workflow,
            schedules=self._schedules,
            issuer=issuer,
        )
        front = Front(options.port, f"/{api.stage}", self._gateway, controls.routes())
        services: dict[str, Service] = {
            RUNTIME: bedrock,
            SEARCHING: search,
            "bedrock": ControlPlane(provisioned),
            "sagemaker": sagemaker,
            "monitoring": CloudWatch(hosted.metrics if hosted else None, metered),
            "lambda": Invocations(self._functions),
            "codedeploy": CodeDeploy(self._functions.report),
            "servicequotas": ServiceQuotas(models),
            "execute-api": self._gateway.manage,
            "ssm": ParameterStore(_parameters(self._application, variables, front.origins)),
        }
        aws = Aws(services, faults, issuer, self._workflow.prepared)
        sockets = ("websockets-sansio", {"ws_max_size": (MESSAGE_BYTES, FRAME_BYTES), "ws_per_message_deflate": False})
        self._servers = (_server(aws, "none", {}), _server(front, *sockets))

    async def run(self, began: float) -> None:
        """Serve until a signal says stop; `began` (perf_counter) is when the person started to wait."""
        options = self._options
        page_socket = _bound(HOST, options.port)
        aws_sockets = [_bound(host, options.port + 1) for host in (HOST, options.containers) if host]
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        aws, front = self._servers
        tasks = [asyncio.create_task(aws.serve(aws_sockets))]
        try:
            if self._redis:
                surroundings.adopt({"CACHE_ENDPOINT": await self._redis.begin(HOST)})
            await asyncio.to_thread(self._prepare)
            await self._environments.begin()
            tasks.append(asyncio.create_task(front.serve([page_socket])))
            tasks.append(asyncio.create_task(self._gateway.enforce_limits()))
            while not (aws.started and front.started):
                await asyncio.sleep(0.005)
            elsewhere = f" and {options.containers}" if options.containers else ""
            here, stage = f"{HOST}:{options.port}", self._application.api.stage
            seconds = time.perf_counter() - began
            self._say(
                f"ready in {seconds:.1f} s: chat at http://{here}/, WebSocket ws://{here}/{stage}, "
                f"emulated AWS {self._endpoints.embedded}{elsewhere}, log {_short(options.log)}"
            )
            self._schedules.begin()
            threading.Thread(target=self._workflow.prepare, name="workflow", daemon=True).start()
            await stop.wait()
        finally:
            await self._stop(tasks)

    def _prepare(self) -> None:
        """Make the tables and load the handlers, so that the first shopper waits for nothing."""
        if self._endpoints.is_embedded("DYNAMODB"):
            self._make_tables()
            if self._variables.get("SEARCH_ENDPOINT") == self._endpoints.embedded:
                self._open_shop()
        self._functions.load()

    def _open_shop(self) -> None:
        """Put the sample catalogue on the shelves."""
        generation = _generation(self._variables)
        endpoint = self._endpoints.embedded
        shop.open_with(shop.SAMPLE, self._insider("dynamodb"), endpoint, INSIDER, generation, self._variables)

    def _make_tables(self) -> None:
        dynamodb = self._insider("dynamodb")
        for table in self._application.tables:
            dynamodb.create_table(**table.create)
            if table.ttl_attribute:
                ttl = {"AttributeName": table.ttl_attribute, "Enabled": True}
                dynamodb.update_time_to_live(TableName=table.name, TimeToLiveSpecification=ttl)

    def _start(self, target: str, name: str, given: str) -> None:
        """What a schedule starts: a function, asynchronously, or an execution of a state machine."""
        _, is_function, function = target.partition(FUNCTION)
        if is_function:
            self._functions.start(function.partition(":")[0], json.loads(given))
            return
        self._workflow.prepared.wait()
        self._insider("stepfunctions").start_execution(stateMachineArn=target, name=name, input=given)

    def _insider(self, service: str) -> Any:
        """A client of the twin's own; at the emulators it is met by no fault."""
        name = ENDPOINT_NAMES.get(service, service.upper())
        if not self._endpoints.is_embedded(name):
            return boto3.client(service, endpoint_url=self._endpoints.of(name))  # type: ignore[call-overload]
        return boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=self._endpoints.embedded,
            region_name=REGION,
            aws_access_key_id=INSIDER,
            aws_secret_access_key=INSIDER,
        )

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        self._environments.stop()
        if self._redis:
            await self._redis.stop()
        for server in reversed(self._servers):
            server.should_exit = True
            for connection in list(server.server_state.connections):
                if isinstance(connection, ClosableProtocol):
                    connection.transport.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOPPING_S):
                await asyncio.gather(*tasks[:2], return_exceptions=True)
        for task in tasks:
            task.cancel()
        self._clock.reset()


def main(options: Options, began: float) -> int:
    """Run the twin; the exit status. What handlers print goes to their log, what people must know to the console."""
    console = sys.stdout

    def say(line: str) -> None:
        print(f"twin: {line}", file=console, flush=True)

    with nullcontext() if options.verbose else log.kept(options.log, say):
        try:
            asyncio.run(Twin(options, say).run(began), loop_factory=uvloop.new_event_loop)
        except (CannotStart, template.TemplateUnusable, surroundings.SurroundingsUnusable) as error:
            say(f"cannot start: {error}")
            return 1
    return 0


def _mode(endpoints: Endpoints) -> str:
    """Whether capacity is bought: what emulators sell costs nothing, and anything else is not ours to spend."""
    return "live" if all(map(endpoints.is_embedded, ("BEDROCK", "BEDROCK_RUNTIME"))) else "off"


def _held_items(table: str, partition: str, known: Container[str]) -> list[dict[str, Any]]:
    from local import dynamodb  # not before it is needed: moto takes a while to import

    return dynamodb.items(table, partition, known)


def _generation(variables: dict[str, str]) -> Generation:
    """The generation of the search collection that the functions are told of."""
    name = variables.get("SEARCH_GENERATION") or GENERATIONS[0]
    for known in GENERATIONS:
        if name == known:
            return known
    raise CannotStart(f"SEARCH_GENERATION is {name}, which is not one of {', '.join(GENERATIONS)}")


def _endpoint(ships: Endpoint, settings: dict[str, str]) -> Endpoint:
    """How the SageMaker endpoint behaves."""
    try:
        return ships.changed(settings)
    except ValueError as error:
        raise CannotStart(f"--endpoint: {error}") from error


def _named(variables: dict[str, str], profile: Endpoint, *, wanted: bool) -> dict[str, str]:
    """What the functions are told of the endpoint, named like its component, as the template does it."""
    name = variables.get("SAGEMAKER_ENDPOINT") or (ENDPOINT_NAME if wanted else "")
    zero = bool(name) and profile.minimum == 0  # which an endpoint with a component alone can scale to
    component = variables.get("SAGEMAKER_COMPONENT") or (name if zero else "")
    return {"SAGEMAKER_ENDPOINT": name, "SAGEMAKER_COMPONENT": component}


def _hosted(variables: dict[str, str], profile: Endpoint, clock: Clock) -> Hosted | None:
    """The SageMaker endpoint, if the functions are told of one."""
    name, component = variables["SAGEMAKER_ENDPOINT"], variables["SAGEMAKER_COMPONENT"]
    if not name:
        return None
    fleet = Fleet(profile, clock)
    return Hosted(name, component, fleet, Metrics(name, component, fleet))


def _variables(application: Application, issuer: Issuer, embedded: str, capacity_mode: str) -> dict[str, str]:
    """The functions' environment: the template's, with the twin in the place of the account."""
    variables: dict[str, str] = {}
    for function in application.functions.values():
        variables |= function.environment
    return variables | {
        "STAGE": "twin",
        "CAPACITY_MODE": capacity_mode,
        "CONNECTIONS_ENDPOINT": f"{embedded}/{application.api.stage}",
        "SEARCH_ENDPOINT": embedded if "SEARCH_ENDPOINT" in variables else "",
        "TOKEN_ISSUER": issuer.url,
        "TOKEN_AUDIENCE": AUDIENCE,
        "TOKEN_JWKS_URL": issuer.jwks_url,
    }


def _parameters(application: Application, variables: dict[str, str], origins: list[str]) -> Iterator[Parameter]:
    """The template's parameters, with the page's own origins allowed."""
    for parameter in application.parameters:
        if parameter.name == variables.get("ALLOWED_ORIGINS_PARAMETER"):
            yield replace(parameter, value=",".join(origins))
        else:
            yield parameter


class _Server(uvicorn.Server):
    """A server that leaves signals to the twin: two of them would fight over one Ctrl-C."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(application: Any, sockets: str, settings: dict[str, Any]) -> _Server:
    config = uvicorn.Config(
        application,
        http=ClosableProtocol,
        ws=sockets,
        ws_ping_interval=None,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOPPING_S,
        backlog=2048,
        **settings,
    )
    return _Server(config)


def _bound(host: str, port: int) -> socket.socket:
    # Without the protocol's number asyncio would leave Nagle's algorithm on: 40 ms for every answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise CannotStart(f"{host} is no address of this machine (does the container engine run?)") from error
        raise CannotStart(f"port {port} is in use; PORT= chooses others (it takes that one and the next)") from error
    return listener


def _short(path: Path) -> str:
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
