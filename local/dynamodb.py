"""DynamoDB is moto's, asked without a web server in between, and with transactions at the price of what they touch.

moto copies whole tables before each transaction, to be able to undo it, so that every turn would be slower than the one
before. It is asked one request at a time here: checking every condition first and writing afterwards is then as atomic.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from moto.core import responses, utils
from moto.dynamodb.comparisons import get_filter_expression
from moto.dynamodb.exceptions import (
    ConditionalCheckFailed,
    MultipleTransactionsException,
    TooManyTransactionsException,
    TransactionCanceledException,
    TransactWriteSingleOpException,
)
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.responses import DynamoHandler
from moto.moto_server.werkzeug_app import BackendRequest

if TYPE_CHECKING:
    from moto.dynamodb.models.table import Table

type Reason = tuple[str | None, str | None, dict[str, Any] | None]

MOST_ACTIONS = 100


def ask(environ: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Answer one request, given as WSGI's environment; one at a time."""
    _install()
    request = BackendRequest(environ)
    status, headers, body = DynamoHandler.dispatch(request, request.url, dict(request.headers))
    return status, headers, body.encode() if isinstance(body, str) else body


@cache
def _install() -> None:
    """Replace what is slow in moto: transactions, and a look through a class's methods at every request."""
    DynamoDBBackend.transact_write_items = _transact_write_items  # type: ignore[assignment]
    responses.method_names_from_class = cache(utils.method_names_from_class)  # type: ignore[attr-defined]


def _transact_write_items(backend: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
    if len(transact_items) > MOST_ACTIONS:
        raise TooManyTransactionsException
    actions = []
    for item in transact_items:
        if len(item) != 1:
            raise TransactWriteSingleOpException
        ((kind, action),) = item.items()
        table = backend.get_table(action["TableName"])
        actions.append((kind, action, table, _key(kind, action, table)))
    touched = {(table.name, str(sorted(key.items()))) for _, _, table, key in actions}
    if len(touched) < len(actions):
        raise MultipleTransactionsException
    reasons = [_judge(backend, action, key) for _, action, _, key in actions]
    if any(code for code, _, _ in reasons):
        raise TransactionCanceledException(reasons)
    for kind, action, table, key in actions:
        _write(backend, kind, action, table, key)


def _key(kind: str, action: dict[str, Any], table: Table) -> dict[str, Any]:
    if kind != "Put":
        key: dict[str, Any] = action["Key"]
        return key
    return {name: action["Item"][name] for name in (table.hash_key_attr, table.range_key_attr) if name}


def _judge(backend: DynamoDBBackend, action: dict[str, Any], key: dict[str, Any]) -> Reason:
    """Whether an action's condition holds: (None, None, None), or the reason why it does not."""
    condition = action.get("ConditionExpression")
    if condition is None:
        return None, None, None
    current = backend.get_item(action["TableName"], key)
    names, values = action.get("ExpressionAttributeNames"), action.get("ExpressionAttributeValues")
    if get_filter_expression(condition, names, values).expr(current):
        return None, None, None
    tell = action.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" and current is not None
    return "ConditionalCheckFailed", str(ConditionalCheckFailed().message), _attributes(current) if tell else None


def _attributes(item: Any) -> dict[str, Any]:
    attributes: dict[str, Any] = item.to_json()["Attributes"]
    return attributes


def _write(backend: DynamoDBBackend, kind: str, action: dict[str, Any], table: Table, key: dict[str, Any]) -> None:
    match kind:
        case "Put":
            backend.put_item(table.name, action["Item"])
        case "Delete":
            backend.delete_item(table.name, key)
        case "Update":
            backend.update_item(
                table.name,
                key,
                update_expression=action["UpdateExpression"],
                expression_attribute_names=action.get("ExpressionAttributeNames", {}),
                expression_attribute_values=action.get("ExpressionAttributeValues", {}),
            )
