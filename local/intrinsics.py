"""CloudFormation's intrinsic functions, as far as one machine needs them: names for ids, defaults for parameters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REGION = "ap-northeast-1"
ACCOUNT = "123456789012"
PSEUDO_PARAMETERS = {
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "twin",
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/twin/twin",
    "AWS::NotificationARNs": "",
}
ARNS = {
    "AWS::DynamoDB::Table": "dynamodb:{region}:{account}:table/{name}",
    "AWS::IAM::Role": "iam::{account}:role/{name}",
    "AWS::Lambda::Function": "lambda:{region}:{account}:function:{name}",
    "AWS::Logs::LogGroup": "logs:{region}:{account}:log-group:{name}:*",
    "AWS::S3::Bucket": "s3:::{name}",
    "AWS::SNS::Topic": "sns:{region}:{account}:{name}",
    "AWS::SQS::Queue": "sqs:{region}:{account}:{name}",
    "AWS::StepFunctions::StateMachine": "states:{region}:{account}:stateMachine:{name}",
}
GIVEN_NAMES = {"AWS::S3::Bucket": "BucketName", "AWS::SSM::Parameter": "Name"}
NO_VALUE = object()


class Intrinsics:
    """Resolves the expressions of one translated template; a resource's name is its logical id unless it gives one."""

    def __init__(self, template: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
        declared = template.get("Parameters", {})
        self._template = template
        self._parameters = {name: parameters.get(name, spec.get("Default", "")) for name, spec in declared.items()}
        self._resources: Mapping[str, Any] = template.get("Resources", {})
        self._functions: dict[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Fn::GetAtt": self._get_att,
            "Fn::Sub": self._sub,
            "Fn::If": self._if,
            "Fn::Join": lambda value: str(value[0]).join(str(part) for part in self.resolve(value[1])),
            "Fn::Select": lambda value: self.resolve(value[1])[int(value[0])],
            "Fn::Split": lambda value: str(self.resolve(value[1])).split(value[0]),
            "Fn::FindInMap": self._find_in_map,
            "Fn::Base64": self.resolve,
            "Fn::Equals": lambda value: self.resolve(value[0]) == self.resolve(value[1]),
            "Fn::Not": lambda value: not self.resolve(value[0]),
            "Fn::And": lambda value: all(self.resolve(part) for part in value),
            "Fn::Or": lambda value: any(self.resolve(part) for part in value),
            "Condition": self.condition,
        }

    def resolve(self, value: Any) -> Any:
        """Give a value with every intrinsic in it replaced; members that resolve to AWS::NoValue are left out."""
        if isinstance(value, dict):
            if len(value) == 1:
                ((name, argument),) = value.items()
                if name in self._functions:
                    return self._functions[name](argument)
            members = {key: self.resolve(member) for key, member in value.items()}
            return {key: member for key, member in members.items() if member is not NO_VALUE}
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not NO_VALUE]
        return value

    def condition(self, name: str) -> bool:
        """Whether a named condition of the template holds."""
        return bool(self.resolve(self._template["Conditions"][name]))

    def name_of(self, logical_id: str) -> str:
        """A resource's physical name: the one it gives itself, else its logical id, a bucket's in lower case."""
        resource = self._resources[logical_id]
        kind = resource["Type"]
        given = resource.get("Properties", {}).get(GIVEN_NAMES.get(kind))
        if given:
            return str(self.resolve(given))
        return logical_id.lower() if kind == "AWS::S3::Bucket" else logical_id

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in PSEUDO_PARAMETERS:
            return PSEUDO_PARAMETERS[name]
        if name in self._parameters:
            return self._parameters[name]
        resource = self._resources[name]
        match resource["Type"]:
            case "AWS::Lambda::Alias":
                properties = resource["Properties"]
                return f"{self._arn(self.resolve(properties['FunctionName']))}:{self.resolve(properties['Name'])}"
            case "AWS::Lambda::Version":
                return self._arn(self.resolve(resource["Properties"]["FunctionName"])) + ":1"
            case "AWS::SNS::Topic" | "AWS::StepFunctions::StateMachine":
                return self._arn(name)
            case "AWS::SQS::Queue":
                return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"
            case _:
                return self.name_of(name)

    def _get_att(self, value: Any) -> str:
        logical_id, attribute = value.split(".", 1) if isinstance(value, str) else value
        return self._arn(logical_id) if attribute.endswith("Arn") else f"{self.name_of(logical_id)}.{attribute}"

    def _arn(self, logical_id: str) -> str:
        kind = self._resources[logical_id]["Type"]
        tail = ARNS.get(kind, str(kind).split("::")[1].lower() + ":{region}:{account}:{name}")
        return "arn:aws:" + tail.format(region=REGION, account=ACCOUNT, name=self.name_of(logical_id))

    def _sub(self, value: Any) -> str:
        text, given = value if isinstance(value, list) else (value, {})

        def fill(match: re.Match[str]) -> str:
            name = match.group(1)
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in given:
                return str(self.resolve(given[name]))
            return str(self._get_att(name) if "." in name else self._ref(name))

        return re.sub(r"\$\{([^}]+)\}", fill, text)

    def _if(self, value: Any) -> Any:
        name, then, otherwise = value
        return self.resolve(then if self.condition(name) else otherwise)

    def _find_in_map(self, value: Any) -> Any:
        name, top, second = (self.resolve(part) for part in value[:3])
        return self._template["Mappings"][name][top][second]
