"""docs/protocol.yaml is sound AsyncAPI 3.0 and says neither more nor less than the code does."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

import mangaassist
from mangaassist.chat import frames, phrases, replies
from mangaassist.errors import InvalidRequest
from tools import protocol

DOCUMENT: dict[str, Any] = yaml.safe_load(protocol.DOCUMENT.read_text("utf-8"))
COMPONENTS = DOCUMENT["components"]
SCHEMAS = COMPONENTS["schemas"]
MODELS = {model.__name__: model for model in protocol.models()}
IN = ("Ask", "Resume", "Cancel", "Feedback", "Forget", "Ping")
EXAMPLES = [
    pytest.param(name, example["payload"], id=f"{name}-{example['name']}")
    for name, message in COMPONENTS["messages"].items()
    for example in message["examples"]
]


def validator(name: str) -> Draft7Validator:
    return Draft7Validator({"$ref": f"#/components/schemas/{name}", "components": COMPONENTS})


def resolved(reference: str) -> Any:
    assert reference.startswith("#/")
    found: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in references(value)]
    if isinstance(node, list):
        return [found for value in node for found in references(value)]
    return []


def test_the_file_is_what_the_code_makes_of_it() -> None:
    assert protocol.DOCUMENT.read_text("utf-8") == protocol.text(), "run: python -m tools.protocol"


def test_the_check_tells_a_file_that_is_missing_or_differs(tmp_path: Path) -> None:
    file, run = tmp_path / "protocol.yaml", CliRunner().invoke
    assert run(protocol.main, ["--check", "--file", str(file)]).exit_code == 1
    assert not file.exists()
    assert run(protocol.main, ["--file", str(file)]).exit_code == 0
    assert run(protocol.main, ["--check", "--file", str(file)]).exit_code == 0
    file.write_text(file.read_text("utf-8") + "#", "utf-8")
    assert run(protocol.main, ["--check", "--file", str(file)]).exit_code == 1


# ---- the shape of AsyncAPI 3.0


def test_the_document_has_the_parts_that_asyncapi_3_requires() -> None:
    known = {"asyncapi", "id", "info", "servers", "defaultContentType", "channels", "operations", "components"}
    assert {part for part in DOCUMENT if not part.startswith("x-")} <= known
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"]["title"]
    assert DOCUMENT["info"]["version"]
    assert DOCUMENT["channels"]
    assert DOCUMENT["operations"]
    assert set(COMPONENTS) == {"securitySchemes", "messages", "schemas"}


def test_every_reference_leads_somewhere() -> None:
    found = references(DOCUMENT)
    assert len(found) > 50
    for reference in found:
        assert resolved(reference)


@pytest.mark.parametrize("server", DOCUMENT["servers"].values(), ids=list(DOCUMENT["servers"]))
def test_servers_name_their_protocol_and_explain_their_variables(server: dict[str, Any]) -> None:
    assert {"host", "protocol"} <= set(server)
    assert server["protocol"] in ("ws", "wss")
    assert all(f"{{{name}}}" in server["host"] for name in server["variables"])
    assert all(variable["description"] for variable in server["variables"].values())
    schemes = [resolved(scheme["$ref"]) for scheme in server["security"]]
    assert {(scheme["type"], scheme["in"], scheme["name"]) for scheme in schemes} == {
        ("httpApiKey", "query", "token"),
        ("httpApiKey", "header", "Sec-WebSocket-Protocol"),
    }


def test_the_channel_carries_every_message_and_its_handshake() -> None:
    (channel,) = DOCUMENT["channels"].values()
    assert channel["address"] == "/live"
    assert {name: resolved(message["$ref"]) for name, message in channel["messages"].items()} == COMPONENTS["messages"]
    handshake = channel["bindings"]["ws"]
    assert set(handshake) == {"method", "query", "headers", "bindingVersion"}
    assert handshake["query"]["properties"]["token"]["type"] == "string"


@pytest.mark.parametrize("operation", DOCUMENT["operations"].values(), ids=list(DOCUMENT["operations"]))
def test_operations_use_messages_of_their_channel(operation: dict[str, Any]) -> None:
    assert operation["action"] in ("send", "receive")
    parts = [operation, operation["reply"]] if "reply" in operation else [operation]
    for part in parts:
        assert resolved(part["channel"]["$ref"])
        assert part["messages"]
        assert all(m["$ref"].startswith(f"{part['channel']['$ref']}/messages/") for m in part["messages"])


def test_every_frame_that_a_client_may_send_is_received_by_one_operation() -> None:
    received = [o["messages"] for o in DOCUMENT["operations"].values() if o["action"] == "receive"]
    assert sorted(name(message) for messages in received for message in messages) == sorted(IN)
    assert all(len(messages) == 1 for messages in received)


def test_every_frame_that_a_client_may_get_is_an_answer_to_something() -> None:
    answers = {name(m) for o in DOCUMENT["operations"].values() for m in o.get("reply", {"messages": []})["messages"]}
    assert answers == set(MODELS) - set(IN)


def name(message: dict[str, str]) -> str:
    return message["$ref"].rsplit("/", 1)[-1]


# ---- what it says


def test_every_model_of_the_code_is_a_message() -> None:
    assert set(COMPONENTS["messages"]) == {*MODELS, "Notice"}
    for message_name, message in COMPONENTS["messages"].items():
        assert message["payload"] == {"$ref": f"#/components/schemas/{message_name}"}
        assert message["summary"]
        assert message["examples"]


def test_every_field_has_words() -> None:
    for schema in SCHEMAS.values():
        assert all(field["description"] for field in schema["properties"].values())


@pytest.mark.parametrize(("message", "payload"), EXAMPLES)
def test_examples_fit_their_schema(message: str, payload: dict[str, Any]) -> None:
    validator(message).validate(payload)


@pytest.mark.parametrize(("message", "payload"), [param for param in EXAMPLES if param.values[0] in MODELS])
def test_examples_fit_the_code(message: str, payload: dict[str, Any]) -> None:
    if message in IN:
        assert type(frames.parse(frames.encode(payload).decode())) is MODELS[message]
    else:
        frame = replies.FRAME.validate_python(payload)
        assert type(frame) is MODELS[message]
        assert frame.model_dump(exclude_unset=True) == payload


def test_examples_add_up() -> None:
    for example in COMPONENTS["messages"]["End"]["examples"]:
        end = replies.End.model_validate(example["payload"])
        assert end.cost_usd == pytest.approx(sum(attempt.cost_usd for attempt in end.attempts))
        assert end.usage.output_tokens == sum(attempt.usage.output_tokens for attempt in end.attempts)


POOL: dict[str, list[Any]] = {
    "action": ["ask", "resume", "cancel", "feedback", "forget", "ping", "stop", "", None, 1],
    "message": ["なに?", "", 1, None, ["x"], {}],
    "session_id": ["s-1", "-s", "a" * 128, "a" * 129, "", "s 1", "é", None, 1, True],
    "message_id": ["m:1", "漫", None, 0],
    "complexity": [0, 1, 0.5, 1.01, -0.1, "simple", "complex", "hard", None, True, []],
    "turn_id": ["t.1", "", "t/1", None, 7],
    "after": [-1, 0, 17, -2, 0.5, "1", None, True],
    "rating": ["up", "down", "UP", None, 1],
    "unknown": [1, None, "x"],
}


@given(
    st.fixed_dictionaries({}, optional={field: st.sampled_from(values) for field, values in POOL.items()}),
)
def test_the_schemas_accept_what_the_code_accepts(body: dict[str, Any]) -> None:
    try:
        accepted = type(frames.parse(frames.encode(body).decode())).__name__
    except InvalidRequest:
        accepted = None
    fitting = [message for message in IN if validator(message).is_valid(body)]
    assert fitting == ([accepted] if accepted else [])


# ---- error codes and limits


def test_the_error_codes_are_those_of_the_code() -> None:
    documented = {error["code"]: error for error in DOCUMENT["x-error-codes"]}
    assert set(documented) == set(phrases.SENTENCES)
    assert {code for code, _ in raised()} <= set(documented)
    for code, retryable in raised():
        assert documented[code]["retryable"] is retryable, code


def raised() -> set[tuple[str, bool]]:
    """The codes that InvalidRequest is raised with anywhere in the layer, and whether it is retryable there."""
    found = set()
    for file in Path(str(mangaassist.__file__)).parent.rglob("*.py"):
        for call in (node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call)):
            if isinstance(call.func, ast.Name) and call.func.id == "InvalidRequest":
                keywords = {keyword.arg: keyword.value for keyword in call.keywords}
                retryable = keywords.get("retryable", ast.Constant(value=False))
                found.add((ast.literal_eval(call.args[0]), ast.literal_eval(retryable)))
    return found


def test_the_codes_raised_are_found() -> None:
    assert {("bad_json", False), ("rate_limited", True), ("turn_unknown", False)} <= raised()


def test_the_limits_are_those_of_the_code() -> None:
    limits = DOCUMENT["x-limits"]
    assert limits == protocol.limits()
    assert (limits["question_characters"], limits["frame_bytes"]) == (4000, 32 * 1024)
    assert "4000 characters" in SCHEMAS["Ask"]["properties"]["message"]["description"]
