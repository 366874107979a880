"""`make policy`: what operators see, what they are asked, and that mistakes write nothing."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from click.testing import CliRunner
from moto.server import ThreadedMotoServer

from mangaassist.routing import policy
from mangaassist.routing.policies import InForce, PolicyStore
from tests.integration import tables
from tests.integration.tables import SITUATION
from tools.policy import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result
    from mypy_boto3_dynamodb import DynamoDBClient

type Run = Callable[..., Result]
CURRENT: dict[str, Any] = json.loads(policy.preset_document("current"))
RESOURCES = {
    "SituationTable": {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "TableName": SITUATION + "-of-the-stack",
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        },
    }
}


@pytest.fixture
def run(dynamodb: DynamoDBClient) -> Run:
    """Call the command as an operator called akira would, at the tables in memory; `says` is typed in."""

    def call(*arguments: str, says: str | BytesIO = "", at: tuple[str, ...] = ("--table", SITUATION)) -> Result:
        environment = {"LOGNAME": "akira", "AWS_DEFAULT_REGION": "ap-northeast-1"}
        runner = CliRunner(env=environment, mix_stderr=False)
        result = runner.invoke(main, [*at, *arguments], input=says)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    return call


@pytest.fixture
def policies(dynamodb: DynamoDBClient) -> PolicyStore:
    return PolicyStore(dynamodb, SITUATION)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A valid policy: the current preset with another name and threshold."""
    return written(tmp_path / "night.json", name="night", complexity_threshold=0.8)


def written(path: Path, **changes: object) -> Path:
    path.write_text(json.dumps(CURRENT | changes, indent=2, ensure_ascii=False), "utf-8")
    return path


# -- looking -----------------------------------------------------------------------------------------------------------


def test_show_prints_the_whole_policy_in_force(run: Run, policies: PolicyStore, file: Path) -> None:
    shown = run("show")
    assert (shown.exit_code, shown.stderr) == (0, "preset current is in force\n")
    assert policy.load(shown.stdout) == policy.preset("current")
    policies.put(file.read_text(), 0, "yuki")
    shown = run("show")
    assert shown.stderr == "version 1 is in force\n"
    assert policy.load(shown.stdout) == policy.load(file.read_text())
    assert '"ahead_minutes": 120' in shown.stdout, "with the defaults"


def test_show_prints_a_kept_version_or_a_preset(run: Run, policies: PolicyStore, file: Path) -> None:
    policies.put(file.read_text(), 0, "yuki", "先週の値")
    policies.withdraw(1, "akira")
    kept = run("show", "--version", "1")
    assert json.loads(kept.stdout)["name"] == "night"
    assert "by yuki: 先週の値 (withdrawn" in kept.stderr
    assert json.loads(run("show", "--preset", "claude-3").stdout)["name"] == "claude-3"


def test_what_is_shown_can_be_edited_and_put(run: Run, tmp_path: Path, policies: PolicyStore) -> None:
    edited = tmp_path / "edited.json"
    edited.write_text(run("show").stdout.replace('"ahead_minutes": 120', '"ahead_minutes": 60'))
    assert run("put", str(edited), "--yes").exit_code == 0
    assert policy.load(policies.in_force().document or "").budget.ahead_minutes == 60


def test_diff_shows_only_what_differs(run: Run, policies: PolicyStore, file: Path) -> None:
    told = run("diff", str(file)).stdout.splitlines()
    assert told[:2] == ["--- preset current", f"+++ {file}"]
    assert [line for line in told[2:] if line[0] in "+-"] == [
        '-  "complexity_threshold": 0.7,',
        '+  "complexity_threshold": 0.8,',
        '-  "name": "current",',
        '+  "name": "night",',
    ]
    policies.put(file.read_text(), 0, "yuki")
    assert run("diff", str(file)).stdout == f"no difference between version 1 and {file}\n"
    assert run("diff", "1").stdout == "no difference between version 1 and 1\n"


def test_history_is_listed_newest_first_with_the_one_in_force_marked(
    run: Run, policies: PolicyStore, file: Path
) -> None:
    assert run("history").stdout == "* preset current\n"
    policies.put(file.read_text(), 0, "yuki", "quieter nights")
    policies.put(json.dumps(CURRENT | {"name": "day"}), 1, "akira")
    newest, oldest = run("history").stdout.splitlines()
    assert newest.startswith("* version 2  day  written 20")
    assert oldest.startswith("  version 1  night  written 20")
    assert oldest.endswith("by yuki: quieter nights")
    policies.withdraw(2, "akira")
    assert run("history").stdout.splitlines()[0] == "* preset current"


def test_a_policy_in_force_that_is_invalid_is_shown_as_it_is(run: Run, dynamodb: DynamoDBClient) -> None:
    tables.put(dynamodb, SITUATION, pk="NOW", sk="POLICY", version=4, document="{oops")
    shown = run("show")
    assert (shown.exit_code, shown.stdout) == (0, "{oops\n")
    assert "every environment keeps its last good policy" in shown.stderr


# -- writing -----------------------------------------------------------------------------------------------------------


def test_put_shows_the_difference_asks_and_writes(run: Run, policies: PolicyStore, file: Path) -> None:
    put = run("put", str(file), "--note", "quieter nights", says="y\n")
    assert put.exit_code == 0
    assert '+  "complexity_threshold": 0.8,' in put.stdout
    assert f"Put {file} into force at table {SITUATION}? [y/N]" in put.stdout
    assert put.stdout.endswith("version 1 is in force\n")
    assert policies.in_force() == InForce(1, file.read_text())
    (version,) = policies.versions()
    assert (version.written_by, version.note) == ("akira", "quieter nights")


@pytest.mark.parametrize("says", ["n\n", "\n", ""])
def test_without_a_yes_nothing_is_written(run: Run, dynamodb: DynamoDBClient, file: Path, says: str) -> None:
    put = run("put", str(file), says=says)
    assert put.exit_code == 1
    assert tables.everything(dynamodb, SITUATION) == []


def test_what_is_in_force_already_is_not_put_again(run: Run, policies: PolicyStore, file: Path) -> None:
    run("put", str(file), "--yes")
    again = run("put", str(file), "--yes")
    assert (again.exit_code, again.stdout) == (0, f"no difference between version 1 and {file}\n")
    assert policies.in_force().version == 1


def test_rollback_puts_a_kept_version_again(run: Run, policies: PolicyStore, file: Path) -> None:
    policies.put(file.read_text(), 0, "yuki")
    policies.put(json.dumps(CURRENT), 1, "yuki")
    rolled = run("rollback", "1", says="y\n")
    assert rolled.exit_code == 0
    assert "--- version 2" in rolled.stdout
    assert policies.in_force() == InForce(3, file.read_text())


def test_withdraw_goes_back_to_the_preset(run: Run, policies: PolicyStore, file: Path) -> None:
    assert run("withdraw").stdout == "preset current is in force already: nothing to withdraw\n"
    policies.put(file.read_text(), 0, "yuki")
    assert run("withdraw", says="n\n").exit_code == 1
    assert policies.in_force().version == 1
    withdrawn = run("withdraw", "--yes")
    assert withdrawn.stdout.endswith("version 1 is withdrawn: preset current is in force\n")
    assert policies.in_force() == InForce()
    assert policies.version(1).withdrawn_by == "akira"


def test_an_invalid_override_can_be_withdrawn(run: Run, dynamodb: DynamoDBClient, policies: PolicyStore) -> None:
    tables.put(dynamodb, SITUATION, pk="NOW", sk="POLICY", version=4, document="{oops")
    assert run("withdraw", "--yes").exit_code == 0
    assert policies.in_force() == InForce()


# -- mistakes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["check", "put", "diff"])
def test_an_invalid_document_is_told_field_by_field(
    run: Run, dynamodb: DynamoDBClient, tmp_path: Path, command: str
) -> None:
    bad = written(tmp_path / "bad.json", complexity_threshold=2, colour="red", budget={"daily_usd": 0})
    told = run(command, str(bad))
    assert told.exit_code == 2
    assert told.stdout == ""
    first, *fields = told.stderr.splitlines()
    assert first == f"Error: {bad} is no valid policy:"
    assert [line.split(":")[0].strip() for line in fields] == ["complexity_threshold", "budget.daily_usd", "colour"]
    assert tables.everything(dynamodb, SITUATION) == []


def test_what_is_no_text_or_no_policy_is_told(run: Run, tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(b"\x89PNG\xff")
    assert run("check", str(image)).exit_code == 2
    assert "is no text in UTF-8" in run("check", str(image)).stderr
    with_mark = tmp_path / "windows.json"
    with_mark.write_text(json.dumps(CURRENT), "utf-8-sig")
    assert run("check", str(with_mark)).stdout == f"{with_mark} is a valid policy: current\n"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("show", "--version", "7"), 2, "Error: there is no version 7"),
        (("show", "--preset", "gpt"), 2, "Error: there is no preset 'gpt'"),
        (("show", "--preset", "current", "--version", "1"), 2, "exclude each other"),
        (("rollback", "7"), 2, "Error: there is no version 7"),
        (("diff", "nothing.json"), 2, "neither a file nor the number of a version"),
        (("put", "nothing.json"), 2, "does not exist"),
    ],
)
def test_what_is_not_there_is_told(run: Run, arguments: tuple[str, ...], code: int, told: str) -> None:
    result = run(*arguments)
    assert result.exit_code == code
    assert told in result.stderr


class Thinks(BytesIO):
    """Says yes, but not before something else has happened."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__(b"y\n")
        self._meanwhile = meanwhile

    def read1(self, size: int | None = -1, /) -> bytes:
        self._meanwhile()
        return super().read1(size)


def test_a_policy_that_another_operator_put_while_this_one_looked_stays(
    run: Run, policies: PolicyStore, file: Path
) -> None:
    late = run("put", str(file), says=Thinks(lambda: policies.put(json.dumps(CURRENT), 0, "yuki")))
    assert late.exit_code == 1
    assert "has changed meanwhile: nothing was written" in late.stderr
    assert [version.written_by for version in policies.versions()] == ["yuki"]


# -- which deployment --------------------------------------------------------------------------------------------------


def stack(name: str, **parts: object) -> None:
    boto3.client("cloudformation", region_name="ap-northeast-1").create_stack(
        StackName=name, TemplateBody=json.dumps({"Resources": RESOURCES} | parts)
    )


def test_a_stack_knows_its_table_and_its_preset(run: Run, dynamodb: DynamoDBClient, file: Path) -> None:
    stack(
        "mangaassist-dev",
        Parameters={"PolicyPreset": {"Type": "String", "Default": "claude-3"}},
        Outputs={"SituationTable": {"Value": {"Ref": "SituationTable"}}},
    )
    at = ("--stack", "mangaassist-dev")
    assert run("show", at=at).stderr == "preset claude-3 is in force\n"
    assert run("put", str(file), "--yes", at=at).exit_code == 0
    table = RESOURCES["SituationTable"]["Properties"]["TableName"]  # type: ignore[index]
    assert PolicyStore(dynamodb, str(table)).in_force().version == 1
    assert "version 1 is in force" in run("show", at=at).stderr


def test_a_stack_of_something_else_is_told(run: Run) -> None:
    stack("another")
    told = run("show", at=("--stack", "another"))
    assert (told.exit_code, told.stderr) == (
        1,
        "Error: stack another has no output SituationTable: is it MangaAssist?\n",
    )
    assert "AWS refuses" in run("show", at=("--stack", "nowhere")).stderr


def test_the_preset_of_a_table_alone_may_be_told(run: Run) -> None:
    shown = run("show", at=("--table", SITUATION, "--deployed-preset", "claude-3"))
    assert json.loads(shown.stdout)["name"] == "claude-3"


def test_a_table_that_is_not_there_is_told(run: Run) -> None:
    told = run("show", at=("--table", "nowhere"))
    assert told.exit_code == 1
    assert "Error: AWS refuses: " in told.stderr
    assert "ResourceNotFoundException" in told.stderr


def test_one_deployment_at_a_time(run: Run) -> None:
    assert run("show", at=("--table", "a", "--stack", "b")).exit_code == 2


def test_without_another_place_it_is_the_twins_table_behind_the_port_after_its_own(run: Run, file: Path) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        client = boto3.client("dynamodb", endpoint_url=f"http://{host}:{port}", region_name="ap-northeast-1")
        tables.create(client, {name: name for name in tables.NAMES})
        at = ("--twin", f"http://{host}:{port - 1}/")
        assert run("put", str(file), "--yes", at=at).stdout.endswith("version 1 is in force\n")
        assert PolicyStore(client, "SituationTable").in_force().version == 1
    finally:
        server.stop()


def test_a_twin_that_does_not_run_is_told(run: Run) -> None:
    told = run("show", at=("--twin", "http://127.0.0.1:1"))
    assert told.exit_code == 1
    assert "the twin at http://127.0.0.1:1 (make run starts it) does not answer" in told.stderr
    assert "needs an address with a port" in run("show", at=("--twin", "http://127.0.0.1")).stderr
