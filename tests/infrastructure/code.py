"""Reads our sources without running them: what a function reaches, and which AWS operations are in there."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
LAYER = ROOT / "layers" / "routing"
PACKAGE = LAYER / "mangaassist"
BOOTSTRAP = PACKAGE / "bootstrap.py"


@cache
def parsed(file: Path) -> ast.Module:
    """A file's syntax tree."""
    return ast.parse(file.read_text("utf-8"), str(file))


def modules() -> list[Path]:
    """Every module of the layer's package."""
    return sorted(PACKAGE.rglob("*.py"))


def handlers() -> list[Path]:
    """Every module of the functions."""
    return sorted((ROOT / "functions").glob("*/*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """The dotted names that code imports, those for type checking left out."""
    for node in _running(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reach(handler: Path) -> set[Path]:
    """The files that a handler can come to run; of bootstrap only the parts that it asks for."""
    files: set[Path] = set()
    parts: set[str] = set()
    waiting: list[tuple[Path, ast.AST]] = [(handler, parsed(handler))]
    while waiting:
        file, tree = waiting.pop()
        files.add(file)
        for part in _parts_asked_for(file, tree) - parts:
            parts.add(part)
            waiting.append((BOOTSTRAP, _function(BOOTSTRAP, part)))
        for found in filter(None, (_file(name, handler.parent) for name in imported(tree))):
            if found not in files and found != BOOTSTRAP:
                files.add(found)
                waiting.append((found, parsed(found)))
    return files


def measured() -> set[tuple[str, tuple[str, ...]]]:
    """The metrics that the shipped code records, each with the further dimensions that it is recorded by."""
    found: set[tuple[str, tuple[str, ...]]] = set()
    for file in (*modules(), *handlers()):
        for scope in (node for node in ast.walk(parsed(file)) if isinstance(node, ast.FunctionDef)):
            calls = [it for it in ast.walk(scope) if isinstance(it, ast.Call) and isinstance(it.func, ast.Name)]
            plain = {name for it in calls if _called(it) == "measure" for name in _metrics(it)}
            found |= {(name, ()) for name in plain}
            for call in calls:
                if _called(call) == "measure_by":
                    by = tuple(str(keyword.arg) for keyword in call.keywords)
                    found |= {(name, by) for name in _metrics(call) or _metrics(scope) - plain}
    return found


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _metrics(node: ast.AST) -> set[str]:
    """The metrics that code names."""
    return {
        it.attr
        for it in ast.walk(node)
        if isinstance(it, ast.Attribute) and isinstance(it.value, ast.Name) and it.value.id == "Metric"
    }


def _parts_asked_for(file: Path, tree: ast.AST) -> set[str]:
    """bootstrap's functions that code names: `bootstrap.x` elsewhere, plain `x` in bootstrap itself."""
    known = {node.name for node in parsed(BOOTSTRAP).body if isinstance(node, ast.FunctionDef)}
    if file == BOOTSTRAP:
        return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & known
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "bootstrap"
    } & known


def _function(file: Path, name: str) -> ast.FunctionDef:
    return next(node for node in parsed(file).body if isinstance(node, ast.FunctionDef) and node.name == name)


def _file(name: str, beside: Path) -> Path | None:
    path = name.replace(".", "/")
    for candidate in (LAYER / f"{path}.py", LAYER / path / "__init__.py", beside / f"{path}.py"):
        if candidate.is_file():
            return candidate
    return None


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under `if TYPE_CHECKING`."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not is_for_type_checking(child):
            yield from _running(child)


def is_for_type_checking(node: ast.AST) -> bool:
    """Whether a statement is seen by type checkers only."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
