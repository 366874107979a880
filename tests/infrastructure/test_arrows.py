"""The rules that keep the architecture: who may read the environment, and what happens at import (nothing).

`make check` holds the rules between modules of the layer (pyproject.toml, import-linter); here is what that tool cannot
see: the functions, which are no package, and what statements do.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.infrastructure import code

if TYPE_CHECKING:
    from pathlib import Path

SHIPPED = [*code.modules(), *code.handlers()]
OURS_FOR_HANDLERS = ("mangaassist.bootstrap", "mangaassist.chat", "mangaassist.deadline", "mangaassist.errors")
WORLDLY = {"open", "read_text", "read_bytes", "client", "resource", "Session", "getenv", "request", "urlopen", "sleep"}
# The start of the message function: no garbage collection during imports; the work is that of Lambda's init phase.
START = {"gc.disable()", "bootstrap.warm_up()", "gc.enable()"}


def _name(file: Path) -> str:
    return str(file.relative_to(code.ROOT))


@pytest.mark.parametrize("file", SHIPPED, ids=_name)
def test_only_bootstrap_reads_the_environment(file: Path) -> None:
    assert ("os" in set(code.imported(code.parsed(file)))) == (file == code.BOOTSTRAP)


@pytest.mark.parametrize("file", SHIPPED, ids=_name)
def test_only_bootstrap_makes_clients(file: Path) -> None:
    assert ("boto3" in set(code.imported(code.parsed(file)))) == (file == code.BOOTSTRAP)


@pytest.mark.parametrize("file", SHIPPED, ids=_name)
def test_nothing_happens_at_import_but_definitions(file: Path) -> None:
    for statement in code.parsed(file).body:
        assert _defines(statement), f"line {statement.lineno}: {ast.unparse(statement)}"


@pytest.mark.parametrize("file", code.handlers(), ids=_name)
def test_handlers_ask_the_conversation_and_never_what_lies_below_it(file: Path) -> None:
    ours = {name for name in code.imported(code.parsed(file)) if name.startswith("mangaassist.")}
    allowed = (*OURS_FOR_HANDLERS, "mangaassist.observability", "mangaassist.metric")
    assert {name for name in ours if not name.startswith(allowed)} == set()


@pytest.mark.parametrize("file", code.modules(), ids=_name)
def test_the_layer_knows_nothing_of_functions_tools_and_the_twin(file: Path) -> None:
    functions = {handler.stem for handler in code.handlers()}
    names = {name.partition(".")[0] for name in code.imported(code.parsed(file))}
    assert not names & (functions | {"local", "tools", "tests"})


@pytest.mark.parametrize("file", sorted((code.ROOT / "tests" / "unit").rglob("*.py")), ids=_name)
def test_unit_tests_are_of_our_code_alone(file: Path) -> None:
    names = {name.partition(".")[0] for name in code.imported(code.parsed(file))}
    assert not names & {"boto3", "botocore", "moto"}


def _defines(statement: ast.stmt) -> bool:
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.FunctionDef() | ast.ClassDef() | ast.TypeAlias():
            return True
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.Expr():
            return ast.unparse(statement) in START
        case ast.Assign() | ast.AnnAssign():
            return not any(_touches_the_world(node) for node in ast.walk(statement))
        case ast.If():
            return code.is_for_type_checking(statement)
    return False


def _touches_the_world(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            return name in WORLDLY
        case ast.Attribute(attr="environ"):
            return True
    return False
