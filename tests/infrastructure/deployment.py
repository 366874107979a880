"""What CloudFormation makes of a template with its parameters chosen: conditions, functions and rules."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.infrastructure.cloudformation import PSEUDO_PARAMETERS, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.infrastructure.cloudformation import Template

STACK_ID = "arn:aws:cloudformation:ap-northeast-1:123456789012:stack/mangaassist/51af3dc0-da77-11e4-872e-1234567db123"
NOTHING = object()  # AWS::NoValue: what has this value is not there


@dataclass(frozen=True)
class Deployment:
    """A template with its parameters' defaults, and others over them; references to what is not made are mistakes."""

    template: Template
    chosen: dict[str, str] = field(default_factory=dict)

    @property
    def resources(self) -> dict[str, dict[str, Any]]:
        """The properties of what is made, by logical id."""
        return {
            name: self.value(it.get("Properties", {})) for name, it in self.template.resources.items() if self._is(it)
        }

    @property
    def outputs(self) -> dict[str, Any]:
        outputs: dict[str, dict[str, Any]] = self.template.document["Outputs"]
        return {name: self.value(it["Value"]) for name, it in outputs.items() if self._is(it)}

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of what is made of a type, by logical id."""
        return {name: it for name, it in self.resources.items() if self.template.resources[name]["Type"] == kind}

    def waits_for_what_is_made(self) -> bool:
        """Whether every DependsOn is of something that is made too."""
        made = self.resources
        return {other for name in made for other in listed(self.template.resources[name].get("DependsOn", []))} <= set(
            made
        )

    def refusals(self) -> list[str]:
        """What the template's rules say against the parameters."""
        return [
            assertion["AssertDescription"]
            for rule in self.template.document["Rules"].values()
            if "RuleCondition" not in rule or self.value(rule["RuleCondition"])
            for assertion in rule["Assertions"]
            if not self.value(assertion["Assert"])
        ]

    def parameter(self, name: str) -> str:
        return self.chosen[name] if name in self.chosen else str(self.template.parameters[name]["Default"])

    def holds(self, condition: str) -> bool:
        return bool(self.value(self.template.document["Conditions"][condition]))

    def value(self, value: Any) -> Any:
        """A value with every function in it resolved."""
        match value:
            case {"Condition": str(name), **rest} if not rest:
                return self.holds(name)
            case dict() if len(value) == 1 and next(iter(value)).startswith(("Fn::", "Ref")):
                ((function, argument),) = value.items()
                return self._called(function, argument)
            case dict():
                members = {name: self.value(member) for name, member in value.items()}
                return {name: member for name, member in members.items() if member is not NOTHING}
            case list():
                return [member for member in map(self.value, value) if member is not NOTHING]
        return value

    def _called(self, function: str, argument: Any) -> Any:
        name = function.removeprefix("Fn::")
        if name in ("Equals", "Not", "And", "Or", "Contains"):
            return self._decided(name, argument)
        if name in ("Select", "Split", "Join", "Sub"):
            return self._text(name, argument)
        match name, argument:
            case "Ref", str(referred):
                return self._named(referred)
            case "GetAtt", [str(referred), str(attribute)]:
                return self._made(referred, attribute)
            case "If", [str(condition), then, otherwise]:
                return self.value(then if self.holds(condition) else otherwise)
            case "FindInMap", [table, row, column]:
                return self.template.document["Mappings"][table][self.value(row)][column]
        raise AssertionError(f"{function}: {argument}")

    def _decided(self, function: str, argument: Any) -> bool:
        match function, argument:
            case "Equals", [left, right]:
                return str(self.value(left)) == str(self.value(right))
            case "Not", [it]:
                return not self.value(it)
            case "And", conditions:
                return all(map(self.value, conditions))
            case "Or", conditions:
                return any(map(self.value, conditions))
            case "Contains", [values, it]:
                return self.value(it) in values
        raise AssertionError(f"{function}: {argument}")

    def _text(self, function: str, argument: Any) -> Any:
        match function, argument:
            case "Sub", str(text):
                return self._filled(text, {})
            case "Sub", [str(text), dict(parts)]:
                return self._filled(text, {name: str(self.value(part)) for name, part in parts.items()})
            case "Select", [index, values]:
                return self.value(values)[int(index)]
            case "Split", [delimiter, text]:
                return self.value(text).split(delimiter)
            case "Join", [delimiter, texts]:
                return delimiter.join(self.value(texts))
        raise AssertionError(f"{function}: {argument}")

    def _filled(self, text: str, parts: dict[str, str]) -> str:
        def part(match: re.Match[str]) -> str:
            return parts[match[1]] if match[1] in parts else str(self._named(match[1]))

        return re.sub(r"\$\{([^}]+)\}", part, text)

    def _named(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NOTHING
        if name == "AWS::StackId":
            return STACK_ID
        if name in PSEUDO_PARAMETERS:
            return PSEUDO_PARAMETERS[name]
        if name in self.template.parameters:
            return self.parameter(name)
        return self._made(*name.split(".", 1))

    def _made(self, name: str, attribute: str = "") -> str:
        assert name in self.template.resources, f"there is no {name}"
        assert self._is(self.template.resources[name]), f"{name} is referred to and not made"
        if self.template.resources[name]["Type"] == "AWS::Lambda::Alias":
            return f"arn:aws:lambda:ap-northeast-1:123456789012:function:<{name}>:live"
        return f"<{name}.{attribute}>" if attribute else f"<{name}>"

    def _is(self, it: dict[str, Any]) -> bool:
        return "Condition" not in it or self.holds(it["Condition"])


def statements(deployment: Deployment) -> Iterator[dict[str, Any]]:
    """All that the roles of a deployment are allowed."""
    for role in deployment.of_type("AWS::IAM::Role").values():
        for policy in role.get("Policies", []):
            yield from policy["PolicyDocument"]["Statement"]
    for policy in deployment.of_type("AWS::IAM::RolePolicy").values():
        yield from policy["PolicyDocument"]["Statement"]
