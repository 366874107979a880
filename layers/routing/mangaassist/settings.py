"""What a deployment decides, read once from the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Mapping

Name = Annotated[str, Field(min_length=1, max_length=255)]
Url = Annotated[str, Field(pattern=r"^https?://")]
Region = Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]


class Settings(BaseModel):
    """The environment of every function, typed; names are the upper-cased field names."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    stage: Literal["dev", "staging", "prod", "twin"]
    connections_table: Name
    turns_table: Name
    situation_table: Name
    idempotency_table: Name
    products_table: Name
    answers_table: Name
    connections_endpoint: Url
    policy_preset: Literal["current", "claude-3"] = "current"
    token_issuer: Url
    token_audience: Name
    token_class_claim: str = ""
    token_jwks_url: Url
    allowed_origins_parameter: Name
    connections_per_user: int = Field(default=5, ge=1, le=1000)
    turns_per_minute: int = Field(default=20, ge=1, le=6000)
    session_ttl_days: int = Field(default=30, ge=1, le=365)
    guardrail_id: str = ""
    guardrail_version: str = ""
    tracing: Literal["on", "off"] = "off"
    turn_log_percent: int = Field(default=100, ge=1, le=100)  # of turns without trouble
    capacity_mode: Literal["off", "dry-run", "live"] = "dry-run"
    capacity_region: Region = "us-east-1"
    capacity_lead_minutes: int = Field(default=30, ge=0, le=90)
    capacity_owner: Name = "mangaassist"
    notices_topic: str = ""
    search_endpoint: str = ""  # of the collection; empty where there is none
    search_index: Name = "products"
    search_generation: Literal["nextgen", "classic"] = "nextgen"
    embedding_model: Literal["amazon.titan-embed-text-v2:0", "cohere.embed-multilingual-v3"] = (
        "amazon.titan-embed-text-v2:0"
    )
    embedding_region: Region = "ap-northeast-1"
    answer_cache: Literal["dynamodb", "redis", "off"] = "dynamodb"
    cache_endpoint: str = ""  # rediss://host:port
    cache_name: str = ""  # of the cache, where IAM authenticates; empty for a server without
    cache_user: str = ""
    sagemaker_endpoint: str = ""  # the endpoint's name; empty where there is none
    sagemaker_component: str = ""  # the inference component's, on an endpoint that scales to zero
    sagemaker_region: Region = "ap-northeast-1"

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read the settings; raises pydantic's ValidationError naming each missing or wrong variable."""
        fields = {name: env[name.upper()] for name in cls.model_fields if env.get(name.upper())}
        return cls.model_validate(fields)
