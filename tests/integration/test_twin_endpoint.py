"""The emulated endpoint's instances over the twin's clock: places, scaling, cold starts, and the metrics of it all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local import answers
from tests.e2e.running import Running, running
from tests.integration.endpoint_calls import (
    NAME,
    SMALL,
    STARTED,
    TARGET,
    TEMPLATE,
    WHOLE,
    begin,
    chat,
    endpoint,
    failed,
    fast,
    lasting,
    parts,
    until,
)
from tests.integration.twin_calls import refused


def describe(twin: Running) -> tuple[str, int, int]:
    told = twin.client("sagemaker").describe_endpoint(EndpointName=NAME)
    (variant,) = told["ProductionVariants"]
    assert variant["VariantName"] == "main"
    return told["EndpointStatus"], variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]


def test_an_instance_has_so_many_places_and_load_makes_more_of_them() -> None:
    settings = SMALL + ",out_after_s=60,in_after_s=900"
    with running(*TEMPLATE, "--endpoint", settings) as twin, ExitStack() as streams, ThreadPoolExecutor() as others:
        twin.put("clock", {"advance_s": STARTED})
        runtime = twin.client("sagemaker-runtime")
        assert describe(twin) == ("InService", 1, 1)
        lasting(twin)
        first, _ = (streams.enter_context(closing(begin(runtime)["Body"])) for _ in range(2))
        third = others.submit(begin, runtime)
        until(lambda: endpoint(twin)["waiting"] == 1)
        status, _ = failed(lambda: begin(runtime))
        assert (status, endpoint(twin)["throttled"]) == (503, 1)
        twin.put("clock", {"advance_s": 50})
        assert describe(twin) == ("InService", 1, 1)
        twin.put("clock", {"advance_s": 10})
        assert describe(twin) == ("Updating", 1, 3)
        twin.put("clock", {"advance_s": 290})
        assert describe(twin) == ("Updating", 1, 3)
        assert not third.done()
        twin.put("clock", {"advance_s": 10})
        assert describe(twin) == ("InService", 3, 3)
        streams.enter_context(closing(third.result(timeout=5)["Body"]))  # the new ones have room
        first.close()
        until(lambda: endpoint(twin)["running"] == 2)
        twin.put("clock", {"advance_s": 890})
        assert describe(twin) == ("InService", 3, 3)
        twin.put("clock", {"advance_s": 10})
        assert describe(twin) == ("InService", 2, 2)
        streams.close()
        until(lambda: endpoint(twin)["running"] == 0)
        twin.put("clock", {"advance_s": 900})
        assert describe(twin) == ("InService", 1, 1)


def test_a_new_endpoint_is_not_ready() -> None:
    with running(*TEMPLATE, "--endpoint", "starting_s=300") as twin:
        runtime = twin.client("sagemaker-runtime")
        assert describe(twin) == ("Creating", 0, 1)
        assert refused(lambda: begin(runtime)) == (429, "ModelNotReadyException")
        twin.put("clock", {"advance_s": 300})
        fast(twin)
        assert parts(runtime)
        state = endpoint(twin)
        assert (state["status"], state["instances"]["in_service"]) == ("InService", 1)
        counts = {name: state[name] for name in ("calls", "served", "throttled", "running", "output_tokens")}
        assert counts == {
            "calls": 2,
            "served": 1,
            "throttled": 1,
            "running": 0,
            "output_tokens": len(answers.tokens(WHOLE)),
        }


def test_a_component_scales_to_zero_and_is_woken_by_who_finds_nobody() -> None:
    with running(*TEMPLATE, "--endpoint", "minimum=0,starting_s=300,out_after_s=60,in_after_s=900") as twin:
        runtime = twin.client("sagemaker-runtime")
        named = {"InferenceComponentName": NAME}
        assert refused(lambda: begin(runtime)) == (400, "ValidationError")  # who does not say which component
        twin.put("clock", {"advance_s": 300})
        fast(twin)
        assert parts(runtime, **named)
        twin.put("clock", {"advance_s": 900})
        assert describe(twin) == ("InService", 0, 0)
        with pytest.raises(ClientError, match="Inference Component has no capacity") as asleep:
            begin(runtime, **named)
        assert asleep.value.response["Error"]["Code"] == "ValidationError"
        assert describe(twin) == ("Updating", 0, 1)
        twin.put("clock", {"advance_s": 360})
        assert parts(runtime, **named)
        found = metric(twin, "NoCapacityInvocationFailures", "Sum", {"InferenceComponentName": NAME})
        assert sum(found) == 1
        assert metric(twin, "InvocationsPerCopy", "Sum", {"InferenceComponentName": NAME}) == [1, 1]


def metric(twin: Running, name: str, stat: str, dimensions: dict[str, str] | None = None, **more: Any) -> list[float]:
    """The values of the hours around the twin's now, the newest first."""
    now = datetime.fromisoformat(twin.get("clock")["now"])
    whose = dimensions or {"EndpointName": NAME, "VariantName": "main"}
    asked = {"Name": name, "Stat": stat, "Period": 60, **more}
    answer = twin.client("cloudwatch").get_metric_data(
        StartTime=now - timedelta(hours=2),
        EndTime=now + timedelta(hours=1),
        MetricDataQueries=[
            {
                "Id": "asked",
                "MetricStat": {
                    "Metric": {
                        "Namespace": asked.get("Namespace", "AWS/SageMaker"),
                        "MetricName": asked["Name"],
                        "Dimensions": [{"Name": key, "Value": value} for key, value in whose.items()],
                    },
                    "Period": asked["Period"],
                    "Stat": asked["Stat"],
                    **({"Unit": asked["Unit"]} if "Unit" in asked else {}),
                },
            }
        ],
    )
    (result,) = answer["MetricDataResults"]
    assert (result["Id"], result["StatusCode"], result["Label"]) == ("asked", "Complete", name)
    assert result["Timestamps"] == sorted(result["Timestamps"], reverse=True)
    values: list[float] = result["Values"]
    assert len(values) == len(result["Timestamps"])
    return values


def test_metrics_are_of_what_was_served_in_their_own_units() -> None:
    with running(*TEMPLATE, "--endpoint", SMALL + ",minimum=2,target=2") as twin:
        twin.put("clock", {"advance_s": STARTED})
        runtime = twin.client("sagemaker-runtime")
        fast(twin, first_token_ms=100)
        for _ in range(3):
            parts(runtime)
        failed(lambda: begin(runtime, chat(max_tokens=0)))
        twin.put("faults", {TARGET: {"fault": "unavailable", "count": 1}})
        assert refused(lambda: begin(runtime)) == (503, "ServiceUnavailable")
        twin.put("faults", {TARGET: {"fault": "throttle", "count": 1}})
        assert refused(lambda: begin(runtime)) == (400, "ThrottlingException")  # which never got there
        assert sum(metric(twin, "Invocations", "Sum")) == 5
        assert sum(metric(twin, "InvocationsPerInstance", "Sum")) == 2.5
        assert set(metric(twin, "InvocationsPerInstance", "Average")) == {0.5}
        assert sum(metric(twin, "Invocation4XXErrors", "Sum")) == sum(metric(twin, "Invocation5XXErrors", "Sum")) == 1
        median, most = metric(twin, "ModelLatency", "p50", Period=86400), metric(twin, "ModelLatency", "p99.9")
        assert all(100_000 <= value < 60_000_000 for value in median)  # microseconds
        assert most[0] > 0
        assert metric(twin, "ModelLatency", "p50", Unit="Microseconds")
        assert metric(twin, "ModelLatency", "p50", Unit="Seconds") == []
        assert max(metric(twin, "OverheadLatency", "Maximum")) < 100_000
        assert max(metric(twin, "ConcurrentRequestsPerModel", "Maximum")) == 0.5
        assert metric(twin, "Invocations", "Sum", {"EndpointName": NAME}) == []
        assert metric(twin, "Invocations", "Sum", Namespace="AWS/Bedrock") == []
        for wrong in ({"stat": "p101"}, {"stat": "Sum", "Period": 61}):
            assert refused(lambda wrong=wrong: metric(twin, "Invocations", **wrong)) == (400, "ValidationError")
