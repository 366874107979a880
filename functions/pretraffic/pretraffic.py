"""CodeDeploy's hook before traffic: a release that fails its rehearsal never gets any, and is rolled back."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from botocore.config import Config
from pydantic import BaseModel, Field

from mangaassist import bootstrap
from mangaassist.observability import logger
from release import LambdaVersions, Release, ReleaseFaulty

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_codedeploy import CodeDeployClient

    from release import Versions

# A turn takes up to 29 s, and the release repeats what is worth it.
VERSION_CALLS = Config(connect_timeout=2, read_timeout=35, retries={"total_max_attempts": 1})
VERDICTS = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 5})


class Hook(BaseModel):
    """What CodeDeploy tells its hooks."""

    deployment_id: str = Field(alias="DeploymentId")
    execution_id: str = Field(alias="LifecycleEventHookExecutionId")


@cache
def versions() -> Versions:
    """The way to the new versions."""
    return LambdaVersions(bootstrap.session().client("lambda", config=VERSION_CALLS))


@cache
def codedeploy() -> CodeDeployClient:
    """Who waits for the verdict."""
    return bootstrap.session().client("codedeploy", config=VERDICTS)


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, str]:
    """Check the release and tell CodeDeploy; without a verdict the deployment would wait for an hour."""
    hook = Hook.model_validate(event)
    fault = _fault(hook)
    verdict: Literal["Failed", "Succeeded"] = "Failed" if fault else "Succeeded"
    logger.info("release checked", extra={"deployment": hook.deployment_id, "verdict": verdict, "fault": fault})
    codedeploy().put_lifecycle_event_hook_execution_status(
        deploymentId=hook.deployment_id,
        lifecycleEventHookExecutionId=hook.execution_id,
        status=verdict,
    )
    return {"verdict": verdict, "fault": fault}


def _fault(hook: Hook) -> str:
    """What is wrong with the release, or nothing."""
    try:
        Release(
            versions(),
            hook.deployment_id,
            message=bootstrap.version("message"),
            authorizer=bootstrap.version("authorizer"),
        ).check()
    except ReleaseFaulty as fault:
        return str(fault)
    except Exception as error:
        # the boundary of the hook: a check that breaks down has not passed, and the operators get the stack
        logger.exception("the check broke down")
        return f"the check broke down: {type(error).__name__}"
    return ""
