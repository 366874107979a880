"""The programs that make and name what is deployed."""

from __future__ import annotations

import gzip
import importlib.util
import json
import shutil
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from tools import artifact

if TYPE_CHECKING:
    from pathlib import Path

UNCHECKED_HASH = 0b01  # PEP 552
DEPLOYED = ("template.yaml", "functions/message/message.py", "layers/routing/mangaassist/x.py", "stacks/cache.yaml")


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build as sam leaves it, in small."""
    data = tmp_path / artifact.LAYER / "python" / "botocore" / "data"
    for service in (*artifact.SERVICES, "ec2", "iot"):
        model = {"metadata": {"endpointPrefix": f"api.{service}"}}
        (data / service / "2020-01-01").mkdir(parents=True)
        (data / service / "2020-01-01" / "service-2.json.gz").write_bytes(gzip.compress(json.dumps(model).encode()))
    endpoints = {"partitions": [{"services": {"api.ssm": {"here": 1}, "api.ec2": {"gone": 1}}}]}
    (data / "endpoints.json").write_text(json.dumps(endpoints))
    (data.parent / "session.py").write_text("X = 1\n")
    (data.parent.parent / "boto3" / "examples").mkdir(parents=True)
    (tmp_path / "MessageFunction").mkdir()
    (tmp_path / "MessageFunction" / "message.py").write_text("def handler(): return 1\n")
    return tmp_path


def test_slimming_keeps_the_services_in_use_and_what_all_share(build: Path) -> None:
    assert CliRunner().invoke(artifact.main, ["slim", str(build)]).exit_code == 0
    data = build / artifact.LAYER / "python" / "botocore" / "data"
    assert {it.name for it in data.iterdir()} == artifact.SERVICES | {"endpoints.json"}
    assert json.loads((data / "endpoints.json").read_text()) == {"partitions": [{"services": {"api.ssm": {"here": 1}}}]}
    assert not (build / artifact.LAYER / "python" / "boto3" / "examples").exists()


def test_everything_is_compiled_once_and_for_all_under_the_name_it_has_on_lambda(build: Path) -> None:
    CliRunner().invoke(artifact.main, ["slim", str(build)])
    source = build / "MessageFunction" / "message.py"
    compiled = build / "MessageFunction" / "__pycache__" / source.with_suffix(f".{_tag()}.pyc").name
    content = compiled.read_bytes()
    assert int.from_bytes(content[4:8], "little") == UNCHECKED_HASH
    assert b"/var/task/message.py" in content
    assert list((build / artifact.LAYER).rglob("session.*.pyc"))


def test_a_service_that_botocore_no_longer_names_so_stops_the_build(build: Path) -> None:
    layer = build / artifact.LAYER / "python"
    shutil.rmtree(layer / "botocore" / "data" / "ssm")
    with pytest.raises(click.ClickException, match="botocore has no data of ssm"):
        artifact.leave_out(layer)


def test_code_that_does_not_compile_stops_the_build(build: Path) -> None:
    (build / "MessageFunction" / "message.py").write_text("def handler(: pass\n")
    outcome = CliRunner().invoke(artifact.main, ["slim", str(build)])
    assert outcome.exit_code == 1
    assert "compiles" in outcome.output


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A project in small."""
    for file in DEPLOYED:
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file)
    return tmp_path


@pytest.mark.parametrize("file", DEPLOYED)
def test_the_hash_changes_with_everything_that_is_deployed(sources: Path, file: str) -> None:
    before = artifact.code_sha(sources, {})
    (sources / file).write_text("changed")
    assert artifact.code_sha(sources, {}) != before


def test_the_hash_changes_with_a_parameter_and_not_with_itself(sources: Path) -> None:
    before = artifact.code_sha(sources, {"MessageMemory": "1769"})
    assert artifact.code_sha(sources, {"MessageMemory": "2048"}) != before
    assert artifact.code_sha(sources, {"MessageMemory": "1769", "CodeSha": "x"}) == before


def test_the_hash_does_not_change_with_what_python_leaves_behind(sources: Path) -> None:
    before = artifact.code_sha(sources, {})
    cache = sources / "functions" / "message" / "__pycache__"
    cache.mkdir()
    (cache / "message.cpython-313.pyc").write_bytes(b"")
    assert artifact.code_sha(sources, {}) == before


def test_an_environment_is_deployed_with_its_parameters_and_ours_over_them() -> None:
    chosen = artifact.deployed_with("prod", ("Architecture=x86_64", "ReservedConcurrency=7"))
    assert chosen["Stage"] == "prod"
    assert chosen["Architecture"] == "x86_64"
    assert chosen["ReservedConcurrency"] == "7"
    assert len(chosen["CodeSha"]) == 64


def test_an_unknown_environment_is_refused_with_those_there_are() -> None:
    with pytest.raises(click.UsageError, match="dev, staging, prod"):
        artifact.deployed_with("production", ())


def test_a_build_says_what_it_was_made_from(build: Path) -> None:
    assert artifact.built_from(build) == ""
    CliRunner().invoke(artifact.main, ["slim", str(build)])
    assert artifact.built_from(build) == artifact.code_sha(artifact.ROOT, {})


def _tag() -> str:
    return importlib.util.cache_from_source("x.py").split(".")[-2]
