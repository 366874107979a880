"""Step Functions is moto's with its interpreter of state machines, whose waits follow the twin's clock.

All of it, and topics, queues and buckets with it, is made after the twin is ready: the interpreter takes seconds to
import, and who asks for it earlier waits for that.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections import deque
from datetime import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from local.clock import JST
from local.intrinsics import ACCOUNT, REGION

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.clock import Clock
    from local.template import Application

MOST_TOLD = 20
ROLE = f"arn:aws:iam::{ACCOUNT}:role/twin"


class Workflow:
    """The template's state machines, topics, queues and buckets; `prepared` is set when they are there."""

    def __init__(self, application: Application, clock: Clock, aws_port: int, report: Callable[[str], None]) -> None:
        self._application = application
        self._clock = clock
        self._aws_port = aws_port
        self._report = report
        self._executions: deque[Any] = deque(maxlen=MOST_TOLD)
        self._notices: deque[dict[str, Any]] = deque(maxlen=MOST_TOLD)
        self.prepared = threading.Event()

    def prepare(self) -> None:
        """Make everything; what cannot be made is reported."""
        try:
            if self._application.buckets:
                self._make_buckets()
            if self._application.topics or self._application.queues:
                self._make_topics()
            if self._application.machines:
                self._make_machines()
        finally:
            self.prepared.set()

    def executions(self) -> list[dict[str, Any]]:
        """The last executions, newest first, whatever the clock said when they began."""
        return [_told(run) for run in list(self._executions)]

    def notices(self) -> list[dict[str, Any]]:
        """The last messages published to the template's topics, newest first."""
        return list(self._notices)

    def _make_buckets(self) -> None:
        from moto.s3.models import s3_backends

        for name in self._application.buckets:
            s3_backends[ACCOUNT]["aws"].create_bucket(name, REGION)

    def _make_topics(self) -> None:
        from moto.sns.models import Topic, sns_backends
        from moto.sqs.models import sqs_backends

        _remember(Topic, self._published)
        for name in self._application.topics:
            sns_backends[ACCOUNT][REGION].create_topic(name)
        for name in self._application.queues:
            sqs_backends[ACCOUNT][REGION].create_queue(name, {})

    def _started(self, run: Any) -> None:
        if run not in self._executions:  # the same name and input again are the same execution
            self._executions.appendleft(run)

    def _published(self, topic: Any, message: str, subject: str | None) -> None:
        if topic.name in self._application.topics:
            notice = {"at": _when(self._clock.now()), "subject": subject, "message": message}
            self._notices.appendleft(notice)

    def _make_machines(self) -> None:
        _install(self._clock, self._aws_port, self._started)
        from moto.core.exceptions import AWSError

        for machine in self._application.machines:
            try:
                _states().create_state_machine(machine.name, machine.definition, ROLE, sm_type=machine.type)
            except AWSError as error:
                self._report(f"the state machine {machine.name} cannot be made: {error.message}")


def _states() -> Any:
    from moto.stepfunctions.parser.models import stepfunctions_parser_backends

    return stepfunctions_parser_backends[ACCOUNT][REGION]


def _install(clock: Clock, aws_port: int, started: Callable[[Any], None]) -> None:
    """Replace what moto's interpreter does by the machine's time or not at all.

    Wait states and the pauses before retries follow the clock, an instant to wait for is UTC's wherever the machine
    stands, every execution has a name and is told of, and a function that cannot be reached fails under the names
    that Step Functions has for that. Its tasks call the twin's own AWS.
    """
    from moto.core.config import default_user_config
    from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEventException
    from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_lambda import (
        StateTaskServiceLambda,
    )
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.state_task_lambda import StateTaskLambda
    from moto.stepfunctions.parser.asl.component.state.wait.wait_function.timestamp import Timestamp
    from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction
    from moto.stepfunctions.parser.models import StepFunctionsParserBackend

    def wait(_: Any, env: Any, wait_seconds: float) -> None:
        clock.sleep(wait_seconds, env.is_running)

    def until(timestamp: Any, env: Any) -> float:
        timestamp.string.eval(env=env)
        text = env.stack.pop()
        if not timestamp._is_valid_timestamp_pattern(text):
            raise FailureEventException(timestamp._create_failure_event(env, text))
        return (datetime.fromisoformat(text) - clock.now()).total_seconds()

    def start(backend: Any, state_machine_arn: str, name: str | None = None, *more: Any) -> Any:
        run = start_named(backend, state_machine_arn, name or str(uuid.uuid4()), *more)
        started(run)
        return run

    os.environ["MOTO_PORT"] = str(aws_port)
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    start_named = StepFunctionsParserBackend.start_execution
    WaitFunction._wait_interval = wait  # type: ignore[method-assign, assignment]
    Timestamp._get_wait_seconds = until  # type: ignore[method-assign, assignment]
    retrier_decl.time = SimpleNamespace(sleep=clock.sleep)  # type: ignore[attr-defined, assignment]
    StepFunctionsParserBackend.start_execution = start  # type: ignore[method-assign, assignment]
    for task in (StateTaskLambda, StateTaskServiceLambda):
        _name_errors(task)


def _name_errors(task: Any) -> None:
    """Name the errors of a call to Lambda itself: moto has one name for all, or none."""
    from botocore.exceptions import BotoCoreError, ClientError
    from moto.stepfunctions.parser.api import HistoryEventType
    from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
    from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent

    from_error = task._from_error

    def named(self: Any, env: Any, ex: Exception) -> Any:
        if isinstance(ex, ClientError):
            name = f"Lambda.{ex.response['Error']['Code']}"
        elif isinstance(ex, BotoCoreError):
            name = "Lambda.SdkClientException"
        else:
            return from_error(self, env, ex)
        details: Any = {"lambdaFunctionFailedEventDetails": {"error": name, "cause": str(ex)}}
        kind = HistoryEventType.LambdaFunctionFailed
        return FailureEvent(env=env, error_name=CustomErrorName(name), event_type=kind, event_details=details)

    task._from_error = named


def _remember(topic: Any, published: Callable[[Any, str, str | None], None]) -> None:
    """Have every publication told: moto keeps messages without the time."""
    publish = topic.publish

    def publish_and_tell(self: Any, message: str, subject: str | None = None, *more: Any, **named: Any) -> Any:
        message_id = publish(self, message, subject, *more, **named)
        published(self, message, subject)
        return message_id

    topic.publish = publish_and_tell


def _told(run: Any) -> dict[str, Any]:
    env = run.exec_worker.env if run.exec_worker else None
    return {
        "name": run.name,
        "machine": run.state_machine.name,
        "status": run.exec_status.value if run.exec_status else "RUNNING",
        "input": run.input_data,
        "state": env.next_state_name if env else None,
        "started_at": _when(run.start_date),
        "stopped_at": _when(run.stop_date) if run.stop_date else None,
        "error": run.error,
        "cause": run.cause,
    }


def _when(moment: datetime) -> str:
    return moment.astimezone(JST).isoformat(timespec="milliseconds")
