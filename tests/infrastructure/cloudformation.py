"""Reads a translated template: resources by type, and texts with their references filled in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[2]
PSEUDO_PARAMETERS = {
    "AWS::Partition": "aws",
    "AWS::Region": "ap-northeast-1",
    "AWS::AccountId": "123456789012",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "mangaassist",
}


@dataclass(frozen=True)
class Template:
    """A translated template."""

    document: dict[str, Any]

    @property
    def resources(self) -> dict[str, dict[str, Any]]:
        resources: dict[str, dict[str, Any]] = self.document["Resources"]
        return resources

    @property
    def parameters(self) -> dict[str, dict[str, Any]]:
        parameters: dict[str, dict[str, Any]] = self.document["Parameters"]
        return parameters

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of all resources of a type, by logical id."""
        return {name: it.get("Properties", {}) for name, it in self.resources.items() if it["Type"] == kind}

    def variables(self, function: str) -> dict[str, str]:
        """A function's environment as the defaults of all parameters make it."""
        variables = self.of_type("AWS::Lambda::Function")[function]["Environment"]["Variables"]
        chosen = {name: chosen_by(value, ()) for name, value in variables.items()}
        return {name: self.filled(value) for name, value in chosen.items() if value != {"Ref": "AWS::NoValue"}}

    def statements(self, role: str, *held: str) -> list[dict[str, Any]]:
        """A role's own policy statements, with the choices made that the conditions `held` mean."""
        policies = self.resources[role]["Properties"].get("Policies", [])
        chosen = [
            chosen_by(statement, held) for policy in policies for statement in policy["PolicyDocument"]["Statement"]
        ]
        return [statement for statement in chosen if "Effect" in statement]

    def filled(self, value: Any, **parameters: str) -> str:
        """A text with references filled in: parameters by value, resources by their logical ids."""
        match value:
            case str():
                return value
            case {"Ref": name}:
                return self._named(name, parameters)
            case {"Fn::GetAtt": [name, "Arn"]}:
                return f"arn:{name}"
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{([^}]+)\}", lambda match: self._named(match[1], parameters), text)
        raise AssertionError(f"no text: {value}")

    def _named(self, name: str, parameters: dict[str, str]) -> str:
        if name in PSEUDO_PARAMETERS:
            return PSEUDO_PARAMETERS[name]
        if name in self.parameters:
            return parameters.get(name, str(self.parameters[name].get("Default", "")))
        assert name in self.resources, name
        return name


def nested(path: str) -> Template:
    """A nested template, which SAM leaves as it is."""
    return Template(yaml_parse((ROOT / path).read_text("utf-8")))


def chosen_by(value: Any, held: tuple[str, ...]) -> Any:
    """A value with every Fn::If decided by which conditions hold."""
    match value:
        case {"Fn::If": [condition, then, otherwise]}:
            return chosen_by(then if condition in held else otherwise, held)
        case dict():
            return {name: chosen_by(member, held) for name, member in value.items()}
        case list():
            return [chosen_by(member, held) for member in value]
    return value


def listed(value: Any) -> list[Any]:
    """CloudFormation and IAM take one thing or a list of things."""
    return value if isinstance(value, list) else [value]


def role_named_by(policy: dict[str, Any]) -> str:
    """The parameter with the ARN that a policy takes its role's name from."""
    match policy["RoleName"]:
        case {"Fn::Select": [1, {"Fn::Split": ["/", {"Ref": str(name)}]}]}:
            return name
    raise AssertionError(policy["RoleName"])
