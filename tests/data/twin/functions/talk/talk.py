"""A message handler that does as the message says."""

import json
import os
import time
from typing import Any

import boto3


def handler(event: dict[str, Any], context: Any) -> Any:
    """Echo the event, wait, break, or say a word."""
    try:
        order = json.loads(event["body"])
    except ValueError:
        order = {}
    match order.get("do") if isinstance(order, dict) else None:
        case "wait":
            time.sleep(order["seconds"])
        case "break":
            raise RuntimeError("talk broke")
    if len(event["body"]) > 1000:
        event["body"] = len(event["body"])  # an echo must fit into one post
    word = {"said": "first", "event": event, "left_ms": context.get_remaining_time_in_millis()}
    _post(event["requestContext"]["connectionId"], word)
    return {"statusCode": 200, "body": "nobody hears this"}


def _post(connection_id: str, word: dict[str, Any]) -> None:
    client = boto3.client("apigatewaymanagementapi", endpoint_url=os.environ["CONNECTIONS_ENDPOINT"])
    client.post_to_connection(ConnectionId=connection_id, Data=json.dumps(word).encode())
