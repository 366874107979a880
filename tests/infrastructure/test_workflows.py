"""Promises of the workflows: what runs is what was looked at, and prod gets what staging has answered with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.infrastructure.cloudformation import ROOT, nested

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTION = ROOT / ".github" / "actions" / "deploy" / "action.yml"
USES = re.compile(r"uses: (\S+)(?: # (\S+))?$")
PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40}")


def read(file: Path) -> dict[str, Any]:
    """A workflow; YAML takes its word `on` for a boolean."""
    document: dict[Any, Any] = yaml.safe_load(file.read_text("utf-8"))
    return {"on" if name is True else name: value for name, value in document.items()}


@pytest.fixture(scope="module")
def main() -> dict[str, Any]:
    return read(ROOT / ".github/workflows/main.yml")


@pytest.fixture(scope="module")
def pull_request() -> dict[str, Any]:
    return read(ROOT / ".github/workflows/pull-request.yml")


def commands(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("file", [*WORKFLOWS, ACTION], ids=lambda file: file.name)
def test_actions_are_pinned_by_commit_with_their_version_beside(file: Path) -> None:
    found = [USES.search(line.strip()) for line in file.read_text("utf-8").splitlines() if "uses:" in line]
    assert found
    for match in found:
        assert match is not None
        action, version = match.groups()
        if action.startswith("./"):
            assert (ROOT / action / "action.yml").is_file()
        else:
            assert PINNED.fullmatch(action), action
            assert re.fullmatch(r"v\d+\.\d+\.\d+", version), action


def test_one_action_is_one_commit_everywhere() -> None:
    pins: dict[str, set[str]] = {}
    for file in (*WORKFLOWS, ACTION):
        for action, commit in re.findall(r"uses: ([\w/-]+)@(\S+)", file.read_text("utf-8")):
            pins.setdefault(action, set()).add(commit)
    assert {action: len(commits) for action, commits in pins.items()} == dict.fromkeys(pins, 1)


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_jobs_may_read_and_only_those_that_deploy_may_become_somebody(file: Path) -> None:
    workflow = read(file)
    assert workflow["permissions"] == {}
    assert "pull_request_target" not in workflow["on"]
    for job in workflow["jobs"].values():
        deploys = {"id-token": "write"} if "environment" in job else {}
        assert job["permissions"] == {"contents": "read"} | deploys
        assert job["timeout-minutes"] <= 90


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_no_credentials_stay_in_a_checkout(file: Path) -> None:
    for step in _steps(read(file)):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_a_pull_request_is_proved_as_everything_else_and_audited(pull_request: dict[str, Any]) -> None:
    assert commands(pull_request["jobs"]["prove"]) == [".ci/run"]
    assert commands(pull_request["jobs"]["audit"]) == ["make audit"]
    assert "make check validate build test" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_no_secret_and_no_environment_is_within_a_pull_requests_reach(pull_request: dict[str, Any]) -> None:
    assert "secrets." not in (ROOT / ".github/workflows/pull-request.yml").read_text("utf-8")
    assert not [job for job in pull_request["jobs"].values() if "environment" in job]


def test_prod_comes_after_staging_which_comes_after_the_proof(main: dict[str, Any]) -> None:
    jobs = main["jobs"]
    assert main["on"] == {"push": {"branches": ["main"]}}
    assert list(jobs) == ["build", "staging", "prod"]
    assert (jobs["staging"]["needs"], jobs["prod"]["needs"]) == ("build", "staging")
    for name in ("staging", "prod"):
        assert jobs[name]["environment"] == name
        (deploying,) = (step for step in jobs[name]["steps"] if step.get("uses") == "./.github/actions/deploy")
        assert deploying["with"]["environment"] == name


def test_what_waits_for_approval_keeps_nothing_from_staging(main: dict[str, Any]) -> None:
    assert "concurrency" not in main
    for name in ("build", "staging", "prod"):
        assert main["jobs"][name]["concurrency"] == {"group": name, "cancel-in-progress": False}


def test_it_is_built_once_and_that_is_what_is_deployed(main: dict[str, Any]) -> None:
    (kept,) = (step for step in main["jobs"]["build"]["steps"] if "upload-artifact" in step.get("uses", ""))
    steps = read(ACTION)["runs"]["steps"]
    (fetched,) = (step for step in steps if "download-artifact" in step.get("uses", ""))
    assert kept["with"]["name"] == fetched["with"]["name"]
    runs = [step["run"] for step in steps if "run" in step]
    *_, deploys, proves = runs
    assert deploys == 'make deploy ENV="$ENVIRONMENT" ARGS="--built --forward --yes"'
    assert 'make deploy ENV="$ENVIRONMENT" ARGS="--question"' in proves
    assert "TOKEN_URL" in proves  # the token is fetched here: one from before the canary may be over
    assert not [step for name in ("staging", "prod") for step in commands(main["jobs"][name])]


def test_what_is_approved_late_never_takes_prod_back(main: dict[str, Any]) -> None:
    """Whether a commit follows the deployed one takes the whole history to tell."""
    for name in ("staging", "prod"):
        (checkout,) = (step for step in main["jobs"][name]["steps"] if "checkout@" in step["uses"])
        assert checkout["with"]["fetch-depth"] == 0
    (deploys,) = (step for step in read(ACTION)["runs"]["steps"] if "--built" in step.get("run", ""))
    assert "--forward" in deploys["run"]


def test_an_approval_on_its_last_day_still_finds_the_build(main: dict[str, Any]) -> None:
    (kept,) = (step for step in main["jobs"]["build"]["steps"] if "upload-artifact" in step.get("uses", ""))
    assert kept["with"]["retention-days"] >= 35  # GitHub ends runs that are older, and approvals after 30


def test_the_stacks_name_is_said_by_samconfig_alone() -> None:
    for file in (*WORKFLOWS, ACTION):
        assert "mangaassist-" not in file.read_text("utf-8")


def test_what_a_deployment_is_told_is_in_variables_that_make_deploy_reads() -> None:
    *_, deploys, _ = read(ACTION)["runs"]["steps"]
    told = deploys["env"]
    source = (ROOT / "tools" / "deploy.py").read_text("utf-8")
    for name in ("MANGAASSIST_STACK_ROLE", "MANGAASSIST_ARTIFACTS"):
        assert name in told
        assert f'envvar="{name}"' in source
    assert 'envvar="MANGAASSIST_TOKEN"' in source


def test_nothing_from_outside_is_pasted_into_a_script() -> None:
    for file in (*WORKFLOWS, ACTION):
        document = read(file)
        steps = document["runs"]["steps"] if file == ACTION else _steps(document)
        assert not [step for step in steps if "${{" in step.get("run", "")]


def test_what_the_set_up_gives_is_what_the_workflow_asks_for() -> None:
    workflow = (ROOT / ".github/workflows/main.yml").read_text("utf-8")
    outputs = nested("stacks/setup.yaml").document["Outputs"].values()
    named = {variable for output in outputs for variable in re.findall(r"AWS_[A-Z_]+", output["Description"])}
    assert named == set(re.findall(r"vars\.(AWS_[A-Z_]+)", workflow))


def _steps(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job["steps"]
