"""Reads from our sources which tables a function touches, and how: the stores' calls that its code can come to make.

A store is a class that is handed a DynamoDB client, or the caller of calls that are polled. bootstrap says which table
each one gets and under which names the rest of the code knows it, so that a method counts for a function only when
something in that function's reach names it.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore import xform_name

from tests.infrastructure import code

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Set
    from pathlib import Path

type Access = tuple[str, str]  # a client's method and the setting that names the table

PERSISTENCE = "DynamoDBPersistenceLayer"
PERSISTED_BY = ("get_item", "put_item", "update_item", "delete_item")
START = "__init__"
CLIENT, CALLER = "DynamoDBClient", "TableCaller"
ASKING = ("ask", "_ask")  # a caller's method, which takes the operation's name, and a store's own way to it


@dataclass
class Store:
    """What each method of a store calls, and which of its own methods it goes on to."""

    parameters: list[str]
    calls: dict[str, list[tuple[ast.Call, str, str]]] = field(default_factory=dict)  # call, client's method, parameter
    onward: dict[str, set[str]] = field(default_factory=dict)

    def reached_from(self, methods: Set[str]) -> set[str]:
        """The methods themselves and all that they lead to; what is made is initialised."""
        reached: set[str] = set()
        waiting = {START, *methods}
        while waiting:
            method = waiting.pop()
            reached.add(method)
            waiting |= self.onward[method] - reached
        return reached


def of(handler: Path, client_methods: Set[str]) -> set[Access]:
    """All that a handler's code can do to tables; fails at a call that no store makes."""
    trees = [code.parsed(file) for file in sorted(code.reach(handler) - {code.BOOTSTRAP})]
    stores = {name: store for tree in trees for name, store in _stores(tree)}
    _all_seen(trees, stores, client_methods)
    known_as, tables = _names(set(stores)), _tables(stores)
    done: set[Access] = set()
    for name, store in stores.items():
        named = {
            node.attr
            for tree in trees
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and known_as.get(_last_name(node.value)) == name
        }
        for method in store.reached_from(named & store.onward.keys()):
            done |= {(operation, tables[name][parameter]) for _, operation, parameter in store.calls[method]}
    return done


def _stores(tree: ast.Module) -> Iterator[tuple[str, Store]]:
    for kind in tree.body:
        if not isinstance(kind, ast.ClassDef):
            continue
        methods = {node.name: node for node in kind.body if isinstance(node, ast.FunctionDef)}
        start = methods.get(START)
        if start is None or not (clients := _handed(start, CLIENT)) | _handed(start, CALLER):
            continue
        parameters = [argument.arg for argument in (*start.args.args[1:], *start.args.kwonlyargs)]
        store = Store(parameters)
        held_clients, held_names = _held(start, clients), _held(start, set(parameters))
        for name, method in methods.items():
            store.calls[name] = list(_calls(method, set(held_clients), held_names))
            store.onward[name] = {
                node.attr for node in ast.walk(method) if isinstance(node, ast.Attribute) and _is_self(node.value)
            } & methods.keys()
        yield kind.name, store


def _handed(start: ast.FunctionDef, kind: str) -> set[str]:
    """The parameters that are of a kind, such as a client."""
    arguments = (*start.args.args, *start.args.kwonlyargs)
    return {it.arg for it in arguments if it.annotation and kind in ast.unparse(it.annotation)}


def _held(start: ast.FunctionDef, parameters: Set[str]) -> dict[str, str]:
    """The attributes that __init__ fills from parameters, by attribute."""
    return {
        target.attr: name.id
        for node in ast.walk(start)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Attribute)
        for name in ast.walk(node.value)
        if isinstance(name, ast.Name) and name.id in parameters
    }


def _calls(method: ast.FunctionDef, clients: Set[str], held: Mapping[str, str]) -> Iterator[tuple[ast.Call, str, str]]:
    for node in ast.walk(method):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name == PERSISTENCE:
                (table,) = (it.value for it in node.keywords if it.arg == "table_name")
                assert isinstance(table, ast.Name), ast.unparse(node)
                yield from ((node, operation, table.id) for operation in PERSISTED_BY)
            case ast.Call(
                func=ast.Attribute(
                    value=ast.Call(
                        func=ast.Attribute(value=ast.Attribute(value=holder, attr=client), attr="get_paginator"),
                        args=[ast.Constant(value=str(operation))],
                    ) as made
                )
            ) if _is_self(holder) and client in clients:
                yield made, operation, _table(node, held)
            case ast.Call(func=ast.Attribute(attr=name)) if name in ASKING:
                if operation := _operation(node):
                    yield node, operation, _table_told(method, held)
            case ast.Call(func=ast.Attribute(value=ast.Attribute(value=holder, attr=client), attr=operation)) if (
                _is_self(holder) and client in clients and operation != "get_paginator"
            ):
                yield node, operation, _table(node, held)


def _table(call: ast.Call, held: Mapping[str, str]) -> str:
    named = [it.value for it in call.keywords if it.arg == "TableName"]
    for it in call.keywords:
        if it.arg == "RequestItems" and isinstance(it.value, ast.Dict):
            named += filter(None, it.value.keys)
    match named:
        case [ast.Attribute(value=holder, attr=attribute)] if _is_self(holder):
            return held[attribute]
    raise AssertionError(f"line {call.lineno}: name the table as TableName=self._… or RequestItems={{self._…: …}}")


def _table_told(method: ast.FunctionDef, held: Mapping[str, str]) -> str:
    """The one table that the request in a method names, which a polled call is handed as a document."""
    told: list[ast.expr | None] = []
    for document in (node for node in ast.walk(method) if isinstance(node, ast.Dict)):
        for key, value in zip(document.keys, document.values, strict=True):
            match key, value:
                case ast.Constant(value="TableName"), _:
                    told.append(value)
                case ast.Constant(value="RequestItems"), ast.Dict(keys=tables):
                    told += tables
    match told:
        case [ast.Attribute(value=holder, attr=attribute)] if _is_self(holder):
            return held[attribute]
    raise AssertionError(f"line {method.lineno}: name one table, as {{'TableName': self._…}}")


def _all_seen(trees: list[ast.Module], stores: Mapping[str, Store], client_methods: Set[str]) -> None:
    seen = {id(call) for store in stores.values() for calls in store.calls.values() for call, _, _ in calls}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                is_ours = _operation(node) in client_methods
                assert not is_ours or id(node) in seen, f"line {node.lineno}: {ast.unparse(node.func)} in no store"


def _operation(call: ast.Call) -> str:
    """The client's method that is called, that a paginator is asked for, or whose operation is polled."""
    match call:
        case ast.Call(func=ast.Attribute(attr="get_paginator"), args=[ast.Constant(value=str(operation))]):
            return operation
        case ast.Call(func=ast.Attribute(attr=name), args=[ast.Constant(value=str(operation)), *_]) if name in ASKING:
            return str(xform_name(operation))
        case ast.Call(func=ast.Attribute(attr=name)) if name in ASKING:
            return ""  # the operation is its own caller's to say
        case ast.Call(func=ast.Attribute(attr=operation)):
            return operation
    return ""


def _names(stores: Set[str]) -> dict[str, str]:
    """The store behind each name that bootstrap gives one: of a function, a variable or an argument."""
    known: dict[str, str] = {}
    nodes = list(ast.walk(code.parsed(code.BOOTSTRAP)))
    for node in nodes:
        match node:
            case ast.FunctionDef(name=name, returns=ast.Name(id=kind)) if kind in stores:
                known[name] = kind
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id=kind))) if kind in stores:
                known[name] = kind
    for node in nodes:
        if isinstance(node, ast.keyword) and node.arg:
            kind = _last_name(node.value)
            if kind in known or kind in stores:
                known[node.arg] = known.get(kind, kind)
    return known


def _tables(stores: Mapping[str, Store]) -> dict[str, dict[str, str]]:
    """For each store the settings that its parameters are given, by parameter."""
    given: dict[str, dict[str, str]] = {}
    for node in ast.walk(code.parsed(code.BOOTSTRAP)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in stores:
            pairs = [*zip(stores[node.func.id].parameters, node.args, strict=False)]
            pairs += [(it.arg, it.value) for it in node.keywords if it.arg]
            given[node.func.id] = {name: value.attr for name, value in pairs if isinstance(value, ast.Attribute)}
    return given


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name.removeprefix("_")
        case ast.Call(func=function):
            return _last_name(function)
    return ""


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"
