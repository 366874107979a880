"""Promises of stacks/knowledge.yaml: search by meaning."""

from __future__ import annotations

import fnmatch
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from mangaassist.knowledge.index import MAPPING
from tests.infrastructure.cloudformation import chosen_by, listed, role_named_by

if TYPE_CHECKING:
    from tests.infrastructure.cloudformation import Template

LONGEST = "n" * 24  # what the parameter Name allows
MESSAGE, INGEST = "arn:aws:iam::123456789012:role/message", "arn:aws:iam::123456789012:role/ingest"
READS = {"aoss:DescribeIndex", "aoss:ReadDocument"}


def mapping(knowledge: Template, *held: str) -> dict[str, Any]:
    """The index's mapping in OpenSearch's words, where CloudFormation writes SpaceType for space_type."""
    ((_, index),) = knowledge.of_type("AWS::OpenSearchServerless::Index").items()
    properties = chosen_by(index["Mappings"]["Properties"], held)
    return {field: _in_opensearch_words(it) for field, it in properties.items()}


def rules(template: Template, policy: str, **parameters: str) -> list[dict[str, Any]]:
    """The statements of an OpenSearch policy, a JSON text, with parameters filled in."""
    (properties,) = (
        it
        for kind in ("SecurityPolicy", "AccessPolicy")
        for name, it in template.of_type(f"AWS::OpenSearchServerless::{kind}").items()
        if name == policy
    )
    statements: list[dict[str, Any]] = listed(json.loads(template.filled(properties["Policy"], **parameters)))
    return statements


def test_names_fit_into_what_opensearch_allows(knowledge: Template) -> None:
    kinds = ("SecurityPolicy", "AccessPolicy", "CollectionGroup", "Collection")
    names = [it["Name"] for kind in kinds for it in knowledge.of_type(f"AWS::OpenSearchServerless::{kind}").values()]
    for name in names:
        for generation in ("nextgen", "classic"):
            filled = knowledge.filled(name, Name=LONGEST, Generation=generation)
            assert re.fullmatch(r"[a-z][a-z0-9-]{2,31}", filled)


@pytest.mark.parametrize("generation", ["nextgen", "classic"])
@pytest.mark.parametrize("policy", ["Encryption", "Network", "Data", "IndexCreatorData"])
def test_policies_are_for_the_collection_of_either_generation_and_for_no_other_stacks(
    knowledge: Template, policy: str, generation: str
) -> None:
    ((_, collection),) = knowledge.of_type("AWS::OpenSearchServerless::Collection").items()
    name = knowledge.filled(collection["Name"], Name="products-51af3dc0", Generation=generation)
    for statement in rules(knowledge, policy, Name="products-51af3dc0"):
        for rule in statement["Rules"]:
            (resource,) = rule["Resource"]
            kind, pattern, *index = resource.split("/")
            assert (kind, index) == (rule["ResourceType"], ["products"] if kind == "index" else [])
            assert fnmatch.fnmatchcase(name, pattern)
            assert pattern.startswith("products-51af3dc0-")


def test_a_collection_is_made_after_its_policies(knowledge: Template) -> None:
    assert knowledge.resources["Collection"]["DependsOn"] == ["Encryption", "Network", "Data"]


def test_the_message_function_only_reads_and_nobody_who_writes_may_delete_the_index(knowledge: Template) -> None:
    may = {
        principal: set(rule["Permission"])
        for statement in rules(knowledge, "Data", MessageRole=MESSAGE, IngestRole=INGEST)
        for principal in statement["Principal"]
        for rule in statement["Rules"]
    }
    assert may == {MESSAGE: READS, INGEST: {*READS, "aoss:CreateIndex", "aoss:WriteDocument"}}


def test_who_deploys_may_make_and_fill_the_one_index(knowledge: Template) -> None:
    (statement,) = rules(knowledge, "IndexCreatorData", IndexCreator="arn:aws:iam::123456789012:role/deployer")
    (rule,) = statement["Rules"]
    index = {f"aoss:{verb}Index" for verb in ("Create", "Describe", "Update", "Delete")}
    assert set(rule["Permission"]) == index | {"aoss:ReadDocument", "aoss:WriteDocument"}
    assert [it.rpartition("/")[2] for it in rule["Resource"]] == ["products"]


def test_the_index_is_created_in_a_name_that_may_or_not_at_all(knowledge: Template) -> None:
    for name in ("ProductsIndex", "IndexCreatorData"):
        assert knowledge.resources[name]["Condition"] == "CreatesIndex"
    assert knowledge.resources["ProductsIndex"]["DependsOn"] == "IndexCreatorData"
    named = {"Fn::Not": [{"Fn::Equals": [{"Ref": "IndexCreator"}, ""]}]}
    assert knowledge.document["Conditions"]["CreatesIndex"] == named


def test_iam_lets_both_functions_into_this_collection_alone(knowledge: Template) -> None:
    let_in = {}
    for policy in knowledge.of_type("AWS::IAM::RolePolicy").values():
        (statement,) = policy["PolicyDocument"]["Statement"]
        assert (statement["Effect"], statement["Action"]) == ("Allow", "aoss:APIAccessAll")
        let_in[role_named_by(policy)] = statement["Resource"]
    collection = {"Fn::GetAtt": ["Collection", "Arn"]}
    assert let_in == {"MessageRole": collection, "IngestRole": collection}


def test_the_index_has_the_fields_that_are_filtered_by_and_the_vectors_that_the_models_make(
    knowledge: Template,
) -> None:
    assert mapping(knowledge, "IsNextGen") == MAPPING
    hnsw = {"method": {"name": "hnsw", "engine": "faiss"}}
    assert mapping(knowledge) == MAPPING | {"embedding": MAPPING["embedding"] | hnsw}
    ((_, index),) = knowledge.of_type("AWS::OpenSearchServerless::Index").items()
    assert index["Settings"] == {"Index": {"Knn": True}}


def test_the_index_that_is_made_is_the_one_that_is_asked(template: Template, knowledge: Template) -> None:
    ((_, index),) = knowledge.of_type("AWS::OpenSearchServerless::Index").items()
    assert index["IndexName"] == template.variables("MessageFunction")["SEARCH_INDEX"]


def test_searches_stay_warm_as_chosen_and_the_bill_has_a_ceiling(template: Template, knowledge: Template) -> None:
    ((name, group),) = knowledge.of_type("AWS::OpenSearchServerless::CollectionGroup").items()
    assert (knowledge.resources[name]["Condition"], group["Generation"]) == ("IsNextGen", "NEXTGEN")
    limits = group["CapacityLimits"]
    assert limits["MinSearchCapacityInOcu"] == {"Ref": "MinimumOcu"}
    assert limits["MinIndexingCapacityInOcu"] == 0
    most = max(template.parameters["SearchMinimumOcu"]["AllowedValues"])
    assert (
        knowledge.parameters["MinimumOcu"]["AllowedValues"] == template.parameters["SearchMinimumOcu"]["AllowedValues"]
    )
    assert most <= limits["MaxSearchCapacityInOcu"] == limits["MaxIndexingCapacityInOcu"] == 8


def test_a_classic_collection_has_standby_replicas_in_prod_only(knowledge: Template) -> None:
    ((_, collection),) = knowledge.of_type("AWS::OpenSearchServerless::Collection").items()
    replicas = collection["StandbyReplicas"]
    assert chosen_by(replicas, ("IsNextGen",)) == "ENABLED"
    assert (chosen_by(replicas, ("IsProd",)), chosen_by(replicas, ())) == ("ENABLED", "DISABLED")
    assert chosen_by(collection["CollectionGroupName"], ()) == {"Ref": "AWS::NoValue"}


def _in_opensearch_words(value: Any) -> Any:
    match value:
        case dict():
            return {
                re.sub(r"(?<=.)(?=[A-Z])", "_", name).lower(): _in_opensearch_words(member)
                for name, member in value.items()
                if member != {"Ref": "AWS::NoValue"}
            }
    return value
