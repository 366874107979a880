"""Writes docs/protocol.yaml, the WebSocket contract as AsyncAPI 3.0.

The schemas are the pydantic models that the function parses with, the words are those of protocol.in.yaml, so the
document cannot promise what the code does not do. `--check` writes nothing and fails when the file differs.
"""

from __future__ import annotations

import string
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
import yaml
from pydantic.json_schema import models_json_schema

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "layers" / "routing"))

from mangaassist.chat import frames, once, phrases, replies, report, turns  # noqa: E402
from mangaassist.routing import policy, router  # noqa: E402
from mangaassist.settings import Settings  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

SOURCE = Path(__file__).with_name("protocol.in.yaml")
DOCUMENT = ROOT / "docs" / "protocol.yaml"
HEADER = "# Made by `python -m tools.protocol` from the code and tools/protocol.in.yaml: change those.\n"
SCHEMAS = "#/components/schemas/{model}"
CHANNEL = "#/channels/chat"

GATEWAY_MESSAGE_BYTES = 128 * 1024
GATEWAY_IDLE_S = 10 * 60
GATEWAY_CONNECTION_S = 2 * 60 * 60
FAILURES = (  # the outcomes of errors.py
    "throttled",
    "unavailable",
    "silent",
    "stalled",
    "cut",
    "garbled",
    "empty",
    "refused",
    "retired",
    "denied",
    "invalid",
)


def document() -> dict[str, Any]:
    """The whole contract."""
    source = _source()
    return {
        "asyncapi": "3.0.0",
        "info": source["info"],
        "defaultContentType": "application/json",
        "servers": _servers(source["servers"]),
        "channels": {"chat": _channel(source["channel"], [*source["messages"], "Notice"])},
        "operations": {name: _operation(name, words) for name, words in source["operations"].items()},
        "components": {
            "securitySchemes": _security(source["channel"]["handshake"]),
            "messages": _messages(source),
            "schemas": _schemas(source),
        },
        "x-error-codes": [_error(code, words) for code, words in source["errors"].items()],
        "x-limits": limits(),
    }


def limits() -> dict[str, int]:
    """What bounds a client, with units in the names."""
    answer, settings = policy.preset("current").answer, Settings.model_fields
    return {
        "question_characters": answer.max_question_chars,
        "frame_bytes": frames.FRAME_BYTES,
        "message_bytes": GATEWAY_MESSAGE_BYTES,
        "idle_s": GATEWAY_IDLE_S,
        "connection_s": GATEWAY_CONNECTION_S,
        "connections_per_user": settings["connections_per_user"].default,
        "turns_per_minute": settings["turns_per_minute"].default,
        "turn_ms": policy.preset("current").limits.turn_ms,
    }


def text() -> str:
    """The document as it is kept: the same bytes for the same code."""
    return HEADER + yaml.dump(document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=112)


def _source() -> dict[str, Any]:
    bounds, allowed = limits(), policy.preset("current").limits
    filled = string.Template(SOURCE.read_text("utf-8")).substitute(
        question_characters=bounds["question_characters"],
        frame_kb=bounds["frame_bytes"] // 1024,
        message_kb=bounds["message_bytes"] // 1024,
        connections_per_user=bounds["connections_per_user"],
        gone_grace_s=allowed.gone_grace_ms // 1000,
        turn_life_h=turns.TURN_LIFE_S // 3600,
        remembered_h=once.REMEMBERED_S // 3600,
        targets=_listed([*policy.TARGETS, policy.CATALOGUE, policy.KEPT]),
        reasons=_listed([*(rule.reason for rule in router.RULES), report.KEPT_ANSWER]),
        failures=_listed(FAILURES),
        codes="see `x-error-codes`",
    )
    source: dict[str, Any] = yaml.safe_load(filled)
    return source


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _servers(servers: Mapping[str, Any]) -> dict[str, Any]:
    security = [{"$ref": f"#/components/securitySchemes/{name}"} for name in ("queryToken", "subprotocolToken")]
    return {name: {**server, "security": security} for name, server in servers.items()}


def _channel(words: Mapping[str, Any], messages: Iterable[str]) -> dict[str, Any]:
    handshake = {
        part: {
            "type": "object",
            "properties": {name: {"type": "string", "description": says} for name, says in fields.items()},
        }
        for part, fields in words["handshake"].items()
    }
    return {
        **{key: value for key, value in words.items() if key != "handshake"},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": {"method": "GET", **handshake, "bindingVersion": "0.1.0"}},
    }


def _operation(name: str, words: Mapping[str, Any]) -> dict[str, Any]:
    operation = {"action": words["action"], "title": name, "channel": {"$ref": CHANNEL}, **words}
    operation["messages"] = _of_channel(words["messages"])
    if "reply" in words:
        operation["reply"] = {"channel": {"$ref": CHANNEL}, "messages": _of_channel(words["reply"])}
    return operation


def _of_channel(messages: Iterable[str]) -> list[dict[str, str]]:
    return [{"$ref": f"{CHANNEL}/messages/{name}"} for name in messages]


def _security(handshake: Mapping[str, Any]) -> dict[str, Any]:
    header = "Sec-WebSocket-Protocol"
    return {
        "queryToken": {
            "type": "httpApiKey",
            "in": "query",
            "name": "token",
            "description": handshake["query"]["token"],
        },
        "subprotocolToken": {
            "type": "httpApiKey",
            "in": "header",
            "name": header,
            "description": handshake["headers"][header],
        },
    }


def _messages(source: Mapping[str, Any]) -> dict[str, Any]:
    made = {name: _message(name, words) for name, words in source["messages"].items()}
    made["Notice"] = {
        "name": "Notice",
        "title": "Notice",
        "summary": source["operations"]["notice"]["summary"],
        "payload": {"$ref": SCHEMAS.format(model="Notice")},
        "examples": [source["notice_example"]],
    }
    return made


def _message(name: str, words: Mapping[str, Any]) -> dict[str, Any]:
    made = {"name": name, "payload": {"$ref": SCHEMAS.format(model=name)}}
    if "turn_id" in words["fields"]:
        made["correlationId"] = {"location": "$message.payload#/turn_id", "description": "The turn."}
    return made | {key: value for key, value in words.items() if key != "fields"}


def _schemas(source: Mapping[str, Any]) -> dict[str, Any]:
    """The models' schemas, each field with its words; raises KeyError for a field without any."""
    _, made = models_json_schema([(model, "validation") for model in models()], ref_template=SCHEMAS)
    words = {name: message["fields"] for name, message in source["messages"].items()} | source["parts"]
    schemas = {name: _schema(schema, words[name]) for name, schema in made["$defs"].items()}
    schemas["Error"]["dependencies"] = {"turn_id": ["seq"], "seq": ["turn_id"]}
    schemas["Notice"] = {
        "type": "object",
        "required": [*source["notice"]],
        "properties": {name: {"type": "string", "description": says} for name, says in source["notice"].items()},
    }
    return schemas


def models() -> list[type[BaseModel]]:
    """The models of all frames, those of the client first."""
    return [*get_args(frames.Request.__value__), *get_args(replies.Frame.__value__)]


def _schema(schema: dict[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    """A model's schema for readers: described fields, no made-up titles, and open to fields of later versions."""
    schema.pop("additionalProperties", None)
    for name, field in schema["properties"].items():
        field.pop("title", None)
        if "$ref" in field:  # whose siblings JSON Schema ignores
            schema["properties"][name] = {"allOf": [field], "description": words[name]}
        else:
            field["description"] = words[name]
    if "type" in schema["properties"]:
        del schema["properties"]["type"]["default"]
        schema["required"] = ["type", *schema.get("required", [])]
    return schema


def _error(code: str, words: Mapping[str, Any]) -> dict[str, Any]:
    blanks = {"field": "{field}", "limit": "{limit}", "seconds": "{seconds}"}
    said = {language: phrases.sentence(code, language, **blanks) for language in ("ja", "en")}
    return {"code": code, **words, "message": said}


class _Dumper(yaml.SafeDumper):
    """YAML for people: texts of several lines as such, nothing by reference."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _represent_text)


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 when the file differs.")
@click.option("--file", type=click.Path(dir_okay=False, path_type=Path), default=DOCUMENT, help="Which file.")
def main(*, check: bool, file: Path) -> None:
    """Write or check the document."""
    made = text()
    if not check:
        file.write_text(made, "utf-8")
    elif not file.is_file() or file.read_text("utf-8") != made:
        raise click.ClickException(f"{file.name} is not up to date: python -m tools.protocol writes it")


if __name__ == "__main__":
    main()
