"""Promises of the provisioned-throughput workflow: its states, its schedule, and what it may do when it fails."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, get_args

import pytest
from samtranslator.yaml_helper import yaml_parse

from mangaassist.capacity import steps
from mangaassist.capacity.workflow import Closing
from mangaassist.routing.policy import LONGEST_WINDOW_MINUTES, Window
from tests.infrastructure.cloudformation import ROOT, chosen_by

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.infrastructure.cloudformation import Template

DEFINITION = ROOT / "statemachines" / "provisioned_throughput.asl.json"
TEXT = DEFINITION.read_text("utf-8")
MACHINE: dict[str, Any] = json.loads(TEXT)
WINDOWS = set(get_args(Window.model_fields["name"].annotation))
ASKED = {"Plan", "Sweep"}  # before these are done there is no plan to report on
# What passes by itself. Everything else goes into the report, and the next tick decides anew.
NOTICES = {"Sns.ThrottledException", "Sns.InternalErrorException", "Sns.SdkClientException"}
PASSING = {
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "Lambda.Unknown",
    "Sandbox.Timedout",
    "States.Timeout",
    "Bedrock.ThrottlingException",
    "Bedrock.InternalServerException",
    "Bedrock.SdkClientException",
    "StoreUnavailable",
}


def machines(machine: dict[str, Any] = MACHINE) -> Iterator[dict[str, Any]]:
    """The machine and those inside its Maps."""
    yield machine
    for state in machine["States"].values():
        if "ItemProcessor" in state:
            yield from machines(state["ItemProcessor"])


STATES = {name: state for machine in machines() for name, state in machine["States"].items()}
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}


def successors(state: dict[str, Any]) -> set[str]:
    following = {state[key] for key in ("Next", "Default") if key in state}
    following |= {choice["Next"] for choice in state.get("Choices", ())}
    return following | {catch["Next"] for catch in state.get("Catch", ())}


def reached(machine: dict[str, Any], start: str) -> set[str]:
    found, waiting = {start}, [start]
    while waiting:
        fresh = successors(machine["States"][waiting.pop()]) - found
        found |= fresh
        waiting += fresh
    return found


def texts(value: Any) -> Iterator[str]:
    """Every text in a document."""
    match value:
        case str():
            yield value
        case dict():
            for key, member in value.items():
                yield from (key, *texts(member))
        case list():
            for member in value:
                yield from texts(member)


def source() -> dict[str, Any]:
    """The workflow's resource as it is written."""
    document: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text("utf-8"))
    properties: dict[str, Any] = document["Resources"]["ProvisionedThroughput"]["Properties"]
    return properties


@pytest.fixture
def schedules(template: Template) -> dict[str, dict[str, Any]]:
    """Those of the workflow."""
    schedules = template.of_type("AWS::Scheduler::Schedule")
    return {name: it for name, it in schedules.items() if name.startswith("ProvisionedThroughput")}


@pytest.fixture
def machine(template: Template) -> dict[str, Any]:
    ((_, properties),) = template.of_type("AWS::StepFunctions::StateMachine").items()
    return properties


# -- states ------------------------------------------------------------------------------------------------------------


def test_names_of_states_are_told_apart_in_histories() -> None:
    assert sum(len(machine["States"]) for machine in machines()) == len(STATES)
    assert all(state.get("Comment") for state in STATES.values() if state["Type"] not in ("Succeed", "Fail"))


@pytest.mark.parametrize("machine", list(machines()), ids=["workflow", "closing"])
def test_every_state_can_be_reached_and_leads_to_one_that_there_is(machine: dict[str, Any]) -> None:
    assert reached(machine, machine["StartAt"]) == set(machine["States"])


@pytest.mark.parametrize("machine", list(machines()), ids=["workflow", "closing"])
def test_from_every_state_there_is_a_way_to_an_end(machine: dict[str, Any]) -> None:
    ends = {
        name for name, state in machine["States"].items() if state.get("End") or state["Type"] in ("Succeed", "Fail")
    }
    assert all(reached(machine, name) & ends for name in machine["States"])


@pytest.mark.parametrize("name", TASKS)
def test_every_task_gives_up_in_time_but_not_before_its_function_does(name: str, template: Template) -> None:
    function = template.of_type("AWS::Lambda::Function")["CapacityFunction"]
    assert function["Timeout"] < TASKS[name]["TimeoutSeconds"] <= 120


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_repeated_for_what_passes_by_itself_and_for_nothing_else(name: str) -> None:
    (retry,) = TASKS[name]["Retry"]
    assert set(retry["ErrorEquals"]) == PASSING | (NOTICES if name == "Report" else set())
    assert retry["MaxAttempts"] >= 3
    assert retry["BackoffRate"] > 1
    assert retry["JitterStrategy"] == "FULL"


@pytest.mark.parametrize("name", TASKS)
def test_whatever_a_task_fails_with_is_caught_and_kept(name: str) -> None:
    catches = TASKS[name]["Catch"]
    assert catches[-1]["ErrorEquals"] == ["States.ALL"]
    assert {catch["ResultPath"] for catch in catches} == {"$.failure"}, "beside what is known, not in its place"


@pytest.mark.parametrize("name", [name for name in MACHINE["States"] if name in TASKS and name != "Report"])
def test_a_failure_is_reported_or_fails_the_execution(name: str) -> None:
    for catch in TASKS[name]["Catch"]:
        next_state = MACHINE["States"][catch["Next"]]
        if name in ASKED and catch["ErrorEquals"] == ["States.ALL"]:
            assert next_state["Parameters"]["failure.$"] == "$.failure"
            assert next_state["Next"] == "Report"
        else:
            assert catch["Next"] == "Report" or next_state["Type"] == "Fail"


def test_a_report_that_fails_fails_the_execution_with_its_reason() -> None:
    (catch,) = MACHINE["States"]["Report"]["Catch"]
    assert MACHINE["States"][catch["Next"]] == {
        "Type": "Fail",
        "ErrorPath": "$.failure.Error",
        "CausePath": "$.failure.Cause",
    }


def test_every_way_but_a_wrong_input_leads_through_the_report() -> None:
    without = {"States": {name: state for name, state in MACHINE["States"].items() if name != "Report"}}
    without["States"]["Report"] = {"Type": "Fail"}
    assert {
        name for name in reached(without, "WhatToDo") if MACHINE["States"][name]["Type"] in ("Succeed", "Fail")
    } == {"InputInvalid"}


def test_an_execution_ends_well_only_when_its_report_says_so() -> None:
    ended = MACHINE["States"]["EndedWell"]
    assert ended["Choices"] == [{"Variable": "$.report.ok", "BooleanEquals": True, "Next": "Done"}]
    assert MACHINE["States"][ended["Default"]]["Type"] == "Fail"


def test_one_closing_that_fails_keeps_no_other_alive() -> None:
    (_, inner) = machines()
    for name, state in inner["States"].items():
        assert state["Type"] != "Fail", name
        if state["Type"] == "Task":
            (catch,) = state["Catch"]
            assert inner["States"][catch["Next"]] == {
                "Type": "Pass",
                "Comment": "Its failure goes into the report",
                "End": True,
            }


def test_nothing_is_deleted_before_it_was_withdrawn_and_drained() -> None:
    (_, inner) = machines()
    assert inner["StartAt"] == "Withdraw"
    assert inner["States"]["Withdraw"]["Next"] == "Drain"
    assert inner["States"]["Drain"]["Type"] == "Wait"
    assert {name for name, state in inner["States"].items() if "Delete" in successors(state)} == {"Drain"}


def test_nothing_is_bought_that_was_not_guarded_and_nothing_published_that_was_not_seen_to_serve() -> None:
    def before(name: str) -> set[str]:
        return {other for other, state in MACHINE["States"].items() if name in successors(state)}

    assert before("Create") == {"MayBuy"}
    assert before("MayBuy") == {"Guard"}
    assert before("Publish") == {"Inspected"}
    assert before("Inspected") == {"Inspect"}
    (buys,) = MACHINE["States"]["MayBuy"]["Choices"]
    assert (buys["Variable"], buys["StringEquals"]) == ("$.opening.outcome", "buy")
    (serves,) = [it for it in MACHINE["States"]["Inspected"]["Choices"] if it["Next"] == "Publish"]
    assert serves["StringEquals"] == "in_service"


def test_what_failed_is_discarded_as_a_closing_that_the_function_takes() -> None:
    (made,) = MACHINE["States"]["Discard"]["Parameters"]["closing"]
    fields = {name.removesuffix(".$") for name in made}
    wanted = {name for name, field in Closing.model_fields.items() if field.is_required()}
    assert wanted <= fields <= set(Closing.model_fields)
    assert {"leaves", "gives_up_s"} <= fields


def test_waiting_times_come_from_the_data() -> None:
    waits = [state for state in STATES.values() if state["Type"] == "Wait"]
    assert len(waits) == 2
    for wait in waits:
        assert wait["SecondsPath"].endswith(".wait_s")
        assert "Seconds" not in wait


def test_an_execution_does_not_run_for_ever() -> None:
    assert 4 * 3600 < MACHINE["TimeoutSeconds"] <= 24 * 3600, "longer than the longest give_up_minutes"


# -- the function ------------------------------------------------------------------------------------------------------


def test_every_step_that_a_state_asks_for_is_one_that_the_function_takes_and_the_other_way_round() -> None:
    asked = {state["Parameters"]["step"] for state in TASKS.values()}
    taken = {
        step
        for document in (steps.Look, steps.Open, steps.Close, steps.Tell)
        for step in get_args(document.model_fields["step"].annotation)
    }
    assert asked == taken


@pytest.mark.parametrize("name", TASKS)
def test_a_state_hands_its_step_exactly_what_it_takes(name: str) -> None:
    given = TASKS[name]["Parameters"]
    takers = {
        step: document
        for document in (steps.Look, steps.Open, steps.Close, steps.Tell)
        for step in get_args(document.model_fields["step"].annotation)
    }
    assert {key.removesuffix(".$") for key in given} == set(takers[given["step"]].model_fields)
    assert name.lower() == given["step"]


def test_every_placeholder_is_filled_in_and_nothing_else(template: Template, machine: dict[str, Any]) -> None:
    placeholders = set(re.findall(r"\$\{(\w+)\}", TEXT))
    assert placeholders == set(machine["DefinitionSubstitutions"])
    assert {state["Resource"] for state in TASKS.values()} == {"${CapacityFunction}"}
    assert machine["DefinitionSubstitutions"] == {"CapacityFunction": {"Ref": "CapacityFunctionAliaslive"}}
    assert "CapacityFunctionAliaslive" in template.of_type("AWS::Lambda::Alias")


def test_the_template_deploys_this_definition() -> None:
    assert source()["DefinitionUri"] == str(DEFINITION.relative_to(ROOT))


# -- what is seen of it ------------------------------------------------------------------------------------------------


def test_failures_are_logged_without_what_executions_carry(machine: dict[str, Any], template: Template) -> None:
    logging = machine["LoggingConfiguration"]
    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ERROR", False)
    ((destination,),) = ([it["CloudWatchLogsLogGroup"] for it in logging["Destinations"]],)
    assert destination["LogGroupArn"] == {"Fn::GetAtt": ["ProvisionedThroughputLogGroup", "Arn"]}
    assert "ProvisionedThroughputLogGroup" in template.of_type("AWS::Logs::LogGroup")


def test_executions_are_traced_and_remembered(machine: dict[str, Any]) -> None:
    assert machine["TracingConfiguration"] == {"Enabled": True}
    assert machine["StateMachineType"] == "STANDARD"


# -- the schedule ------------------------------------------------------------------------------------------------------


def test_the_schedule_is_japans(schedules: dict[str, dict[str, Any]]) -> None:
    assert len(schedules) == 3
    assert {it["ScheduleExpressionTimezone"] for it in schedules.values()} == {"Asia/Tokyo"}
    assert {it["FlexibleTimeWindow"]["Mode"] for it in schedules.values()} == {"OFF"}


def test_what_could_not_be_started_is_tried_again_and_then_kept(schedules: dict[str, dict[str, Any]]) -> None:
    for schedule in schedules.values():
        target = schedule["Target"]
        assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["CapacityDeadLetters", "Arn"]}}
        assert target["RetryPolicy"]["MaximumRetryAttempts"] >= 5
        assert 300 <= target["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 3600


def test_two_stacks_of_an_account_do_not_take_each_others_names(
    schedules: dict[str, dict[str, Any]], machine: dict[str, Any]
) -> None:
    assert not [name for name, it in schedules.items() if "Name" in it]
    assert "StateMachineName" not in machine


def test_the_windows_on_schedule_are_exactly_those_that_a_policy_may_have(schedules: dict[str, dict[str, Any]]) -> None:
    inputs = [json.loads(schedule["Target"]["Input"]) for schedule in schedules.values()]
    kept = [it["window"] for it in inputs if it == {"action": "keep", "window": it.get("window")}]
    assert sorted(kept) == sorted(WINDOWS)
    assert [it for it in inputs if it["action"] != "keep"] == [{"action": "sweep"}]


def test_windows_stand_nowhere_else_in_the_template(template: Template) -> None:
    inputs = {schedule["Target"]["Input"] for schedule in template.of_type("AWS::Scheduler::Schedule").values()}
    named = {
        text
        for text in texts(template.document)
        if re.search(rf"\b({'|'.join(WINDOWS)})\b", text, re.IGNORECASE) and text not in inputs
    }
    assert named == set()
    assert not re.search(rf"\b({'|'.join(WINDOWS)})\b", TEXT, re.IGNORECASE)


def test_with_provisioning_off_nothing_is_kept_and_everything_is_swept(
    schedules: dict[str, dict[str, Any]], template: Template
) -> None:
    assert template.document["Conditions"]["NeverBuys"] == {"Fn::Equals": [{"Ref": "CapacityMode"}, "off"]}
    for schedule in schedules.values():
        is_sweep = json.loads(schedule["Target"]["Input"])["action"] == "sweep"
        assert chosen_by(schedule.get("State", "ENABLED"), ("NeverBuys",)) == ("ENABLED" if is_sweep else "DISABLED")
        assert chosen_by(schedule.get("State", "ENABLED"), ()) == "ENABLED"


def test_money_is_spent_only_when_a_deployment_says_so(template: Template) -> None:
    mode = template.parameters["CapacityMode"]
    assert mode["Default"] == "dry-run"
    assert mode["AllowedValues"] == ["off", "dry-run", "live"]


def test_leads_are_short_enough_for_one_occurrence_at_a_time(template: Template) -> None:
    assert LONGEST_WINDOW_MINUTES + template.parameters["CapacityLeadMinutes"]["MaxValue"] < 24 * 60
