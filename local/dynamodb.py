"""DynamoDB is moto's, asked without a web server in between, and with transactions at the price of what they touch.

moto copies whole tables before each transaction, to be able to undo it, so that every turn would be slower than the one
before. It is asked one request at a time here: checking every condition first and writing afterwards is then as atomic.
Operations on items, of which a turn makes a dozen, go past moto's general parser and writer of all of AWS's protocols,
which take five times as long as the operation: DynamoDB's wire is JSON that moto's operations speak as it is.
"""

from __future__ import annotations

import base64
import json
from collections import deque
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from moto.core import responses, utils
from moto.core.exceptions import ServiceException
from moto.dynamodb.comparisons import ConditionExpressionParser, get_filter_expression
from moto.dynamodb.exceptions import (
    ConditionalCheckFailed,
    MultipleTransactionsException,
    TooManyTransactionsException,
    TransactionCanceledException,
    TransactWriteSingleOpException,
)
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.parsing.expressions import UpdateExpressionParser  # type: ignore[attr-defined]
from moto.dynamodb.responses import DynamoHandler
from moto.moto_server.werkzeug_app import BackendRequest
from werkzeug.exceptions import HTTPException

from local.intrinsics import ACCOUNT, REGION
from local.wire import CREDENTIAL

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from moto.core.responses import ActionResult
    from moto.dynamodb.models.table import Table

type Reason = tuple[str | None, str | None, dict[str, Any] | None]

MOST_ACTIONS = 100
EXPRESSIONS = 1_000  # remembered; an application has some dozens
LEX = ConditionExpressionParser._lex_condition_expression
CONTENT_TYPE = "application/x-amz-json-1.0"


ITEM_OPERATIONS = {
    "BatchGetItem": DynamoHandler.batch_get_item,
    "BatchWriteItem": DynamoHandler.batch_write_item,
    "DeleteItem": DynamoHandler.delete_item,
    "GetItem": DynamoHandler.get_item,
    "PutItem": DynamoHandler.put_item,
    "Query": DynamoHandler.query,
    "TransactWriteItems": DynamoHandler.transact_write_items,
    "UpdateItem": DynamoHandler.update_item,
}


def ask(environ: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Answer one request, given as WSGI's environment with its whole body; one at a time."""
    _install()
    operation = ITEM_OPERATIONS.get(environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2])
    if operation is not None:
        try:
            return 200, {"Content-Type": CONTENT_TYPE}, _done(operation, environ)
        except (ServiceException, HTTPException, ValueError, LookupError, TypeError):
            pass  # nothing was done: it is refused again below, and told in all due form
    request = BackendRequest(environ)
    status, headers, answer = DynamoHandler.dispatch(request, request.url, dict(request.headers))
    return status, headers, answer.encode() if isinstance(answer, str) else answer


def items(table: str, partition: str, known: Container[str]) -> list[dict[str, Any]]:
    """A partition's items as plain values, past the wire, but for those whose sort keys are known."""
    from mangaassist.stores import from_item

    held = dynamodb_backends[ACCOUNT][REGION].get_table(table).items.get(DynamoType({"S": partition}), {})
    together = list(held.values())  # at once: others go on writing
    return [from_item(_attributes(it)) for it in together if it.range_key.value not in known]


def _done(operation: Callable[[DynamoHandler], ActionResult], environ: dict[str, Any]) -> bytes:
    handler = DynamoHandler()
    handler.body = handler.params = json.loads(environ["wsgi.input"].getvalue())
    handler.current_account, handler.region = ACCOUNT, _region(environ)
    result: Any = operation(handler).result
    told = {name: value for name, value in result.items() if value is not None}
    return json.dumps(told, default=_in_base64).encode()


def _region(environ: dict[str, Any]) -> str:
    signed = CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
    return signed[2] if signed else DynamoHandler.default_region


def _in_base64(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"{type(value).__name__} is nothing that an item holds")


@cache
def _install() -> None:
    """Replace what is slow in moto: transactions, and reading the same class and the same expressions at every request.

    What an expression is read into is not changed by those who use it: moto validates a copy of an update's tree, and a
    condition's words are tuples.
    """
    DynamoDBBackend.transact_write_items = _transact_write_items  # type: ignore[assignment]
    responses.method_names_from_class = cache(utils.method_names_from_class)  # type: ignore[attr-defined]
    UpdateExpressionParser.make = lru_cache(EXPRESSIONS)(UpdateExpressionParser.make)
    ConditionExpressionParser._lex_condition_expression = _words  # type: ignore[assignment,method-assign]


def _words(parser: ConditionExpressionParser) -> deque[Any]:
    return deque(_words_of(parser.condition_expression or ""))


@lru_cache(EXPRESSIONS)
def _words_of(condition: str) -> tuple[Any, ...]:
    return tuple(LEX(ConditionExpressionParser(condition, None, None)))


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
