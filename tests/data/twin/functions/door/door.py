"""Handlers of the handshake and the end, which do as the query string says and write their events down."""

import json
import os
from pathlib import Path
from typing import Any


def authorize(event: dict[str, Any], context: Any) -> Any:
    """Decide by the token's own word."""
    _note("authorize", event, context)
    match event["queryStringParameters"]["token"]:
        case "unauthorized":
            raise Exception("Unauthorized")
        case "broken":
            raise ValueError("the authorizer broke")
        case "odd":
            return {"principalId": "odd"}
        case token:
            effect = "Deny" if token == "deny" else "Allow"
            statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": event["methodArn"]}
            return {
                "principalId": token,
                "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
                "context": {"user_id": token, "admin": True, "level": 3},
            }


def connect(event: dict[str, Any], context: Any) -> Any:
    """Accept, or answer the status that the query string asks for."""
    _note("connect", event, context)
    status = event["queryStringParameters"].get("status", "200")
    if status == "crash":
        raise RuntimeError("connect broke")
    headers = {name.lower(): value for name, value in event["headers"].items()}
    offered = headers.get("sec-websocket-protocol")
    chosen = {"headers": {"Sec-WebSocket-Protocol": offered.split(",")[0].strip()}} if offered else {}
    return {"statusCode": int(status), **chosen}


def disconnect(event: dict[str, Any], context: Any) -> Any:
    """Only write it down."""
    _note("disconnect", event, context)
    return {"statusCode": 200}


def _note(name: str, event: dict[str, Any], context: Any) -> None:
    line = {"name": name, "event": event, "function": context.function_name}
    with Path(os.environ["EVENTS"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
