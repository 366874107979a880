"""`make capacity`: what operators are asked, that an execution is followed to its end, and where it runs."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from click.testing import CliRunner

from tests.integration import tables
from tests.integration.capacity_shop import DAY, EXECUTION, NOVA_PRO, at, evening
from tests.integration.tables import SITUATION
from tools.capacity import main
from tools.place import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result
    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.integration.capacity_shop import Evening


@pytest.fixture
def run(dynamodb: DynamoDBClient) -> Iterator[Evening]:
    with evening(dynamodb) as made:
        yield made


# -- plan --------------------------------------------------------------------------------------------------------------


def test_plan_asks_the_workflow_for_every_window_and_lists_what_is_against_it(run: Evening) -> None:
    for window in ("business", "peak"):
        run.starts({"action": "plan", "window": window})
    why = ["the quota is 0", "the price is not verified"]
    run.reports(f"would buy 1 x it, 9.5 h for $47.50: {'; '.join(why)}", opening={"reasons": why})
    run.reports("would buy 2 x that", opening={"reasons": []})
    planned = run("plan")
    assert planned.exit_code == 0
    assert planned.stdout.splitlines() == [
        "business: would buy 1 x it, 9.5 h for $47.50",
        "  - the quota is 0",
        "  - the price is not verified",
        "peak: would buy 2 x that",
    ]


def test_plan_of_one_window_asks_for_that_alone(run: Evening) -> None:
    run.starts({"action": "plan", "window": "peak"})
    run.reports("would buy 2 x that")
    assert run("plan", "peak").stdout == "peak: would buy 2 x that\n"


def test_a_plan_that_fails_is_told_beside_those_that_do_not(run: Evening) -> None:
    for window in ("business", "peak"):
        run.starts({"action": "plan", "window": window})
    run.ends("FAILED", error="CapacityFailed", cause="plan failed: Bedrock.AccessDeniedException")
    run.reports("would buy 2 x that")
    planned = run("plan")
    assert (planned.exit_code, planned.stdout) == (1, "peak: would buy 2 x that\n")
    assert "Error: business: CapacityFailed: plan failed: Bedrock.AccessDeniedException" in planned.stderr


# -- open, close, sweep ------------------------------------------------------------------------------------------------


def test_an_opening_is_followed_state_by_state_to_its_summary(run: Evening) -> None:
    run.starts({"action": "open", "window": "peak", "live": True})
    run.runs()
    run.runs("WhatToDo", "Plan")
    run.runs("WhatToDo", "Plan")
    run.runs("WhatToDo", "Plan", "Creating")
    run.reports("2 x it serves until 00:00 JST")
    opened = run("open", "peak", "--live", "--yes")
    assert (opened.exit_code, opened.stdout) == (0, "2 x it serves until 00:00 JST\n")
    first, *states = opened.stderr.splitlines()
    assert first == f"started {EXECUTION}"
    assert [line.split()[1] for line in states] == ["starts", "Plan", "Creating"]
    assert run.slept == [1.0] * 4


def test_an_execution_that_is_not_yet_known_is_waited_for(run: Evening) -> None:
    run.starts({"action": "sweep"})
    run.states.add_client_error("describe_execution", "ExecutionDoesNotExist")
    run.reports("nothing is alive outside its window")
    assert run("sweep").stdout == "nothing is alive outside its window\n"


def test_without_live_nothing_is_bought_and_nobody_is_asked(run: Evening) -> None:
    run.starts({"action": "open", "window": "peak", "live": False})
    run.reports("would buy 2 x it")
    opened = run("open", "peak")
    assert (opened.exit_code, opened.stdout) == (0, "would buy 2 x it\n")
    assert opened.stderr.startswith("without --live nothing is bought")


def test_a_purchase_is_asked_about_with_its_price(run: Evening) -> None:
    run.starts({"action": "open", "window": "peak", "live": True})
    run.reports("2 x it serves until 00:00 JST")
    opened = run("open", "peak", "--live", says="y\n")
    assert f"Buy 2 x {NOVA_PRO} for peak, $46.00 an hour (assumed price)" in opened.stdout
    assert "at stack shop?" in opened.stdout
    assert opened.exit_code == 0


@pytest.mark.parametrize("command", [("open", "peak", "--live"), ("close", "peak")])
@pytest.mark.parametrize("says", ["n\n", "\n", ""])
def test_without_a_yes_nothing_is_started(run: Evening, command: tuple[str, ...], says: str) -> None:
    assert run(*command, says=says).exit_code == 1


def test_a_closing_and_a_sweep_end_with_their_summaries(run: Evening) -> None:
    run.starts({"action": "close", "window": "peak"})
    run.reports("shop-peak (closed by hand) is gone")
    assert run("close", "peak", says="y\n").stdout.endswith("shop-peak (closed by hand) is gone\n")
    run.starts({"action": "sweep"})
    run.reports("nothing is alive outside its window")
    assert run("sweep").stdout == "nothing is alive outside its window\n"


@pytest.mark.parametrize("command", [("open", "peak"), ("close", "peak", "--yes"), ("sweep",)])
def test_nobody_has_to_wait(run: Evening, command: tuple[str, ...]) -> None:
    request: dict[str, Any] = {"action": command[0]}
    request |= {"window": "peak"} if len(command) > 1 else {}
    request |= {"live": False} if command[0] == "open" else {}
    run.starts(request)
    assert run(*command, "--no-wait").stdout == f"started {EXECUTION}\n"


@pytest.mark.parametrize(
    ("status", "ending", "told"),
    [
        (
            "FAILED",
            {
                "error": "WorkflowInputInvalid",
                "cause": json.dumps({"errorMessage": "window peak is closed", "stackTrace": ["line 1"]}),
            },
            "Error: window peak is closed\n",
        ),
        ("FAILED", {"error": "CapacityFailed", "cause": "it is failed"}, "Error: CapacityFailed: it is failed\n"),
        (
            "FAILED",
            {"error": "StoreUnavailable", "cause": json.dumps({"errorMessage": "Query: Internal"})},
            "Error: StoreUnavailable: Query: Internal\n",
        ),
        ("TIMED_OUT", {}, "Error: it timed out\n"),
        ("ABORTED", {"cause": "by akira"}, "Error: it aborted: by akira\n"),
    ],
)
def test_what_failed_is_told_in_one_line(run: Evening, status: str, ending: dict[str, str], told: str) -> None:
    run.starts({"action": "sweep"})
    run.ends(status, **ending)
    swept = run("sweep")
    assert (swept.exit_code, swept.stdout) == (1, "")
    assert swept.stderr.endswith(told)


def test_who_stops_looking_leaves_the_execution_running(run: Evening) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    run.wake = interrupt
    run.starts({"action": "sweep"})
    run.runs("Sweep")
    left = run("sweep")
    assert left.exit_code == 130
    assert left.stderr.endswith(f"Error: it goes on without you: {EXECUTION}\n")


# -- mistakes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("open", "noon"), ("close", "noon", "--yes"), ("plan", "peak", "noon")])
def test_a_window_that_the_policy_does_not_have_is_told_and_nothing_started(
    run: Evening, command: tuple[str, ...]
) -> None:
    told = run(*command)
    assert told.exit_code == 2
    assert told.stderr.endswith("Error: there is no window noon: the policy in force has business, peak\n")


@pytest.mark.parametrize("command", [("report", "yesterday"), ("report", "--days", "0"), ("open",), ("buy",)])
def test_what_cannot_be_asked_for_is_told(run: Evening, command: tuple[str, ...]) -> None:
    assert run(*command).exit_code == 2


def test_a_denial_is_told_in_one_line(run: Evening) -> None:
    run.states.add_client_error("start_execution", "AccessDeniedException", "no states:StartExecution", 400)
    told = run("sweep")
    assert told.exit_code == 1
    assert told.stderr.startswith("Error: AWS refuses: An error occurred (AccessDeniedException)")
    assert len(told.stderr.splitlines()) == 1
    run.bedrock.add_client_error("list_provisioned_model_throughputs", "AccessDeniedException", "not you", 403)
    told = run("status")
    assert told.exit_code == 1
    assert "cannot ask Bedrock: Bedrock.AccessDeniedException: ListProvisionedModelThroughputs: not you" in told.stderr
    assert len(told.stderr.splitlines()) == 1


def test_an_override_that_is_invalid_is_told(run: Evening, dynamodb: DynamoDBClient) -> None:
    tables.put(dynamodb, SITUATION, pk="NOW", sk="POLICY", version=4, document="{oops")
    told = run("status")
    assert told.exit_code == 1
    assert told.stderr.startswith("Error: the policy in force (version 4) is invalid: ")


# -- which deployment --------------------------------------------------------------------------------------------------


def call(*arguments: str) -> Result:
    result = CliRunner(env={"AWS_DEFAULT_REGION": "ap-northeast-1"}, mix_stderr=False).invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def test_a_stack_knows_its_workflow(dynamodb: DynamoDBClient) -> None:
    machine = boto3.client("stepfunctions", region_name="ap-northeast-1").create_state_machine(
        name="throughput",
        definition='{"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}',
        roleArn="arn:aws:iam::123456789012:role/throughput",
    )["stateMachineArn"]
    boto3.client("cloudformation", region_name="ap-northeast-1").create_stack(
        StackName="shop",
        TemplateBody=json.dumps(
            {
                "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
                "Outputs": {"ProvisionedThroughput": {"Value": machine}},
            }
        ),
    )
    started = call("--stack", "shop", "sweep", "--no-wait")
    assert started.stdout.startswith(f"started {machine.replace('stateMachine', 'execution')}:sweep-all-")
    assert "has no output SituationTable: is it MangaAssist?" in call("--stack", "shop", "report", DAY).stderr
    nowhere = call("--stack", "nowhere", "sweep")
    assert nowhere.exit_code == 1
    assert "AWS refuses: " in nowhere.stderr


def test_a_twin_that_does_not_run_is_told() -> None:
    for command in (["status"], ["report"], ["plan"], ["sweep"]):
        told = call("--twin", "http://127.0.0.1:1", *command)
        assert told.exit_code == 1
        assert "Error: the twin at http://127.0.0.1:1 (make run starts it) does not answer" in told.stderr
        assert len(told.stderr.splitlines()) == 1


class Health(BaseHTTPRequestHandler):
    """A twin whose clock stands elsewhere."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status": "ok", "now": "2026-11-24T03:00:00.000+09:00"}')

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def twin() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Health)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_twins_day_is_that_of_its_own_clock() -> None:
    with twin() as address:
        assert Place(None, address, None).now_s() == at("03:00", "2026-11-24")
