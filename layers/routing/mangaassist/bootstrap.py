"""The composition root: the only module that reads the environment and makes clients, each once, on first use.

What a function does not use it does not import: the parts are imported where they are put together.
"""

from __future__ import annotations

import gc
import os
from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from mangaassist.errors import KnowledgeUnavailable
from mangaassist.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient
    from mypy_boto3_dynamodb import DynamoDBClient

    from mangaassist.advice.advisor import Advisor
    from mangaassist.capacity.steps import Steps
    from mangaassist.capacity.utilisation import Utilisation
    from mangaassist.chat.connections import Channel, ConnectionStore
    from mangaassist.chat.reception import Reception
    from mangaassist.chat.rehearsal import Rehearsals
    from mangaassist.chat.research import Research
    from mangaassist.knowledge.cache.answers import AnswerStore
    from mangaassist.knowledge.cache.kept import KeptAnswers
    from mangaassist.knowledge.calls import TableCaller
    from mangaassist.knowledge.loading.backoff import Backoff
    from mangaassist.knowledge.loading.intake import Intake
    from mangaassist.knowledge.loading.search import SearchIndex
    from mangaassist.knowledge.shelf import Shelf
    from mangaassist.money.bookkeeper import Bookkeeper
    from mangaassist.money.books import BookReader
    from mangaassist.money.ledger import Ledger
    from mangaassist.routing.backends import Backend
    from mangaassist.routing.failover import Failover
    from mangaassist.routing.lifecycle.guard import LifecycleGuard
    from mangaassist.routing.store import SituationStore
    from mangaassist.signing import SearchSigner
    from mangaassist.transport import Transport

MOST_TURNS_AT_ONCE = 64  # in one process: one on Lambda, many in the twin

# A table that does not answer must not hold a turn up: the turn goes on without it. The legacy mode waits 50 ms before
# the second try of a DynamoDB call, the standard mode up to a second.
TABLE_CALLS = Config(
    connect_timeout=0.5,
    read_timeout=0.6,
    retries={"mode": "legacy", "total_max_attempts": 2},
    max_pool_connections=MOST_TURNS_AT_ONCE,
    parameter_validation=False,  # the service does it again, and a turn makes a dozen calls
)
BRIEF = Config(connect_timeout=0.2, read_timeout=0.4, retries={"total_max_attempts": 1})
# The chain is the retry, and our transport keeps the time.
MODEL_CALLS = Config(retries={"total_max_attempts": 1})
# Nobody waits for the workflow, and buying has no hurry; the workflow repeats what fails.
CONTROL = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})
# An upload has no hurry either. The SDK waits for a busy table; embeddings and search have a back-off of their own.
LOADING = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 5})
EMBEDDING = Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}, max_pool_connections=16)
# A post that hangs is repeated by the delivery, with more text behind it.
POSTS = Config(
    connect_timeout=0.3,
    read_timeout=0.5,
    retries={"total_max_attempts": 1},
    max_pool_connections=MOST_TURNS_AT_ONCE,
    parameter_validation=False,
)


@cache
def settings() -> Settings:
    """The deployment's settings; raises pydantic's ValidationError naming each missing or wrong variable."""
    return Settings.from_env(os.environ)


@cache
def session() -> boto3.Session:
    """The one session: a second one costs 45 ms of every start."""
    return boto3.Session()


@cache
def dynamodb() -> DynamoDBClient:
    """The tables' client."""
    return session().client("dynamodb", config=TABLE_CALLS)


@cache
def dynamodb_unrepeated() -> DynamoDBClient:
    """The tables' client for additions, which must not be repeated, and for reads that must not hold an answer up."""
    return session().client("dynamodb", config=TABLE_CALLS.merge(BRIEF))


@cache
def connections() -> ConnectionStore:
    """Shoppers' connections and limits."""
    from mangaassist.chat.connections import ConnectionStore

    return ConnectionStore(dynamodb(), settings().connections_table, is_gone=lambda it: channel().is_gone(it))


@cache
def channel() -> Channel:
    """The way back to the shoppers."""
    from mangaassist.chat.connections import Channel

    endpoint = settings().connections_endpoint
    return Channel(session().client("apigatewaymanagementapi", endpoint_url=endpoint, config=POSTS))


@cache
def rehearsals() -> Rehearsals:
    """The way back to the shoppers, and to whoever rehearses a turn."""
    from mangaassist.chat.rehearsal import Rehearsals

    return Rehearsals(channel())


@cache
def bedrock(region: str) -> BedrockRuntimeClient:
    """The models' client in a region."""
    return session().client("bedrock-runtime", region_name=region, config=MODEL_CALLS)


@cache
def transport() -> Transport:
    """What carries model calls; it trusts whom botocore trusts."""
    from mangaassist.transport import Transport

    return Transport(ca_bundle=trusted())


@cache
def situation() -> SituationStore:
    """What all environments know together."""
    from mangaassist.chat import report
    from mangaassist.routing import policy
    from mangaassist.routing.store import SituationStore

    return SituationStore(
        dynamodb(),
        settings().situation_table,
        default_policy=policy.preset(settings().policy_preset),
        on_invalid_policy=report.invalid_policy,
        backends=_backends(),
    )


def _backends() -> frozenset[str]:
    return frozenset(("bedrock", "sagemaker") if settings().sagemaker_endpoint else ("bedrock",))


@cache
def reception() -> Reception:
    """The message function's whole application."""
    from mangaassist.chat.conversation import Conversation
    from mangaassist.chat.followup import Followup
    from mangaassist.chat.gathering import Stores
    from mangaassist.chat.once import Once
    from mangaassist.chat.reception import Reception
    from mangaassist.chat.sessions import SessionStore
    from mangaassist.chat.turns import TurnStore
    from mangaassist.money.ledger import Ledger

    chosen, client = settings(), dynamodb()
    turns = TurnStore(client, chosen.turns_table, brief=dynamodb_unrepeated())
    sessions = SessionStore(client, chosen.turns_table, ttl_days=chosen.session_ttl_days)
    ledger = Ledger(
        client,
        unrepeated=dynamodb_unrepeated(),
        situation_table=chosen.situation_table,
        turns_table=chosen.turns_table,
    )
    stores = Stores(
        connections=connections(),
        once=Once(client, chosen.idempotency_table),
        situation=situation(),
        sessions=sessions,
        turns=turns,
        ledger=ledger,
        utilisation=utilisation(),
        research=_research(),
    )
    followup = Followup(turns, sessions, rehearsals())
    conversation = Conversation(
        stores=stores,
        failover=_failover(ledger),
        followup=followup,
        poster=rehearsals(),
        turns_per_minute=chosen.turns_per_minute,
        logged_percent=chosen.turn_log_percent,
    )
    return Reception(conversation, followup, rehearsals())


@cache
def utilisation() -> Utilisation:
    """What published capacity is used for."""
    from mangaassist.capacity.utilisation import Utilisation

    return Utilisation(dynamodb(), unrepeated=dynamodb_unrepeated(), situation_table=settings().situation_table)


@cache
def capacity() -> Steps:
    """The capacity function's whole application."""
    from datetime import timedelta

    from mangaassist.capacity.board import Topic
    from mangaassist.capacity.control_plane import ControlPlane
    from mangaassist.capacity.ports import Ports
    from mangaassist.capacity.register import Register
    from mangaassist.capacity.rules import Rules
    from mangaassist.capacity.steps import Steps

    chosen = settings()
    region = chosen.capacity_region
    ports = Ports(
        control_plane=ControlPlane(
            session().client("bedrock", region_name=region, config=CONTROL),
            session().client("service-quotas", region_name=region, config=CONTROL),
        ),
        register=Register(dynamodb(), chosen.situation_table),
        utilisation=utilisation(),
        board=Topic(session().client("sns", config=CONTROL), chosen.notices_topic),
        read_policy=lambda: situation().view().policy,
        is_policy_sound=lambda: not situation().view().ignored_version,
        rules=Rules(
            owner=chosen.capacity_owner,
            region=region,
            mode=chosen.capacity_mode,
            lead=timedelta(minutes=chosen.capacity_lead_minutes),
        ),
    )
    return Steps(ports)


@cache
def lifecycle() -> LifecycleGuard:
    """The lifecycle function's whole application; its probes go the way of turns, without their guardrail."""
    from mangaassist.clock import Clock
    from mangaassist.money.ledger import Ledger
    from mangaassist.routing.backends.bedrock import BedrockBackend
    from mangaassist.routing.lifecycle.board import FindingBoard
    from mangaassist.routing.lifecycle.guard import LifecycleGuard
    from mangaassist.routing.lifecycle.offers import Offers
    from mangaassist.routing.lifecycle.probe import Prober

    chosen = settings()
    ledger = Ledger(
        dynamodb(),
        unrepeated=dynamodb_unrepeated(),
        situation_table=chosen.situation_table,
        turns_table=chosen.turns_table,
    )
    return LifecycleGuard(
        situation=situation(),
        offers=Offers(lambda region: session().client("bedrock", region_name=region, config=CONTROL)),
        prober=Prober(BedrockBackend(clients=bedrock, transport=transport()), ledger, Clock()),
        board=FindingBoard(dynamodb(), chosen.situation_table),
        clock=Clock(),
    )


@cache
def ingest() -> Intake:
    """The ingest function's whole application."""
    from mangaassist.knowledge.loading.backoff import Backoff
    from mangaassist.knowledge.loading.embedding import Embeddings
    from mangaassist.knowledge.loading.intake import Intake
    from mangaassist.knowledge.loading.loader import Loader
    from mangaassist.knowledge.loading.table import ProductTable

    chosen, backoff = settings(), Backoff()
    table = ProductTable(session().client("dynamodb", config=LOADING), chosen.products_table, backoff)
    models = session().client("bedrock-runtime", region_name=chosen.embedding_region, config=EMBEDDING)
    search = _filled_index(backoff) if chosen.search_endpoint else None
    loader = Loader(table, Embeddings(models, chosen.embedding_model, backoff), search, backoff)
    return Intake(session().client("s3", config=LOADING), loader)


@cache
def book_reader() -> BookReader:
    """Reads days of the ledger."""
    from mangaassist.money.books import BookReader

    chosen, client = settings(), session().client("dynamodb", config=LOADING)
    return BookReader(client, situation_table=chosen.situation_table, turns_table=chosen.turns_table)


@cache
def advisor() -> Advisor:
    """The advisor function's whole application."""
    from mangaassist.advice.advisor import Advisor

    return Advisor(situation=situation(), reader=book_reader())


@cache
def bookkeeper() -> Bookkeeper:
    """The reconcile function's whole application."""
    from mangaassist.money.bookkeeper import Bookkeeper
    from mangaassist.money.reconciliation import Meter

    meter = Meter(lambda region: session().client("cloudwatch", region_name=region, config=LOADING))
    return Bookkeeper(situation=situation(), reader=book_reader(), meter=meter)


def version(function: str) -> str:
    """ARN of the version that a deployment publishes of a function; only the pre-traffic hook is told any."""
    return os.environ[f"{function.upper()}_VERSION"]


def warm_up() -> None:
    """Build the message function during Lambda's init phase, which has more CPU and may be snapshotted.

    Elsewhere (tests) importing a handler does nothing.
    """
    if "AWS_LAMBDA_INITIALIZATION_TYPE" in os.environ:
        from mangaassist import observability
        from mangaassist.routing import question

        question.read("")  # builds the lexicon
        if settings().tracing == "on":
            observability.tracer()
        reception()
        transport().warm_up()
        if settings().search_endpoint:
            search_signer().warm_up()
        bedrock(os.environ["AWS_REGION"])
        gc.freeze()  # what is there now stays, and no later collection need look at it


@cache
def search_signer() -> SearchSigner:
    """What signs for the collection; asks for credentials at each renewal, so they never go stale."""
    from mangaassist.signing import SearchSigner

    return SearchSigner(session().get_credentials, os.environ["AWS_REGION"])


def trusted() -> str:
    """The file of certificates that botocore trusts."""
    from botocore.httpsession import get_cert_path

    return os.environ.get("AWS_CA_BUNDLE") or str(get_cert_path(True))


def _research() -> Research:
    from mangaassist.chat.research import Research
    from mangaassist.knowledge.calls import Caller, TableCaller
    from mangaassist.knowledge.embeddings import Embedder
    from mangaassist.knowledge.index import Index
    from mangaassist.knowledge.search import Search
    from mangaassist.knowledge.shelf import Shelf
    from mangaassist.signing import SdkSigner

    chosen = settings()
    signer = SdkSigner(session().get_credentials, dynamodb().meta.region_name, "dynamodb")
    tables = TableCaller(transport(), dynamodb().meta.endpoint_url, signer, "dynamodb")
    shelf = Shelf(tables, chosen.products_table)
    embedder = index = None
    if chosen.search_endpoint:
        models = bedrock(chosen.embedding_region)
        embedding = SdkSigner(session().get_credentials, chosen.embedding_region, "bedrock")
        embedder = Embedder(
            Caller(transport(), models.meta.endpoint_url, embedding, "embeddings"), chosen.embedding_model
        )
        index = Index(Caller(transport(), chosen.search_endpoint, search_signer(), "search"), chosen.search_index)
    return Research(Search(shelf, embedder, index), _kept_answers(tables, shelf))


def _kept_answers(tables: TableCaller, shelf: Shelf) -> KeptAnswers | None:
    from mangaassist.knowledge.cache.kept import KeptAnswers

    chosen = settings()
    if chosen.answer_cache == "off":
        return None
    store: AnswerStore
    if chosen.answer_cache == "redis":
        from mangaassist.knowledge.cache.redis import RedisAnswers, SignedPassword
        from mangaassist.knowledge.cache.resp import Server

        login = None
        if chosen.cache_name:
            credentials, region = session().get_credentials, dynamodb().meta.region_name
            login = SignedPassword(credentials, region, chosen.cache_name, chosen.cache_user)
        server = Server(chosen.cache_endpoint, ca_bundle=trusted(), login=login)
        server.warm_up()
        store = RedisAnswers(server)
    else:
        from mangaassist.knowledge.cache.dynamodb import TableAnswers

        store = TableAnswers(tables, chosen.answers_table)
    return KeptAnswers(store, shelf)


def _failover(ledger: Ledger) -> Failover:
    from mangaassist.routing.backends.bedrock import BedrockBackend
    from mangaassist.routing.estimates import Estimates
    from mangaassist.routing.failover import Failover

    chosen = settings()
    models = BedrockBackend(
        clients=bedrock,
        transport=transport(),
        guardrail_id=chosen.guardrail_id,
        guardrail_version=chosen.guardrail_version,
    )
    backends: dict[str, Backend] = {"bedrock": models}
    if chosen.sagemaker_endpoint:
        backends["sagemaker"] = _endpoint()
    if chosen.tracing == "on":
        from mangaassist.observability import Subsegment
        from mangaassist.routing.backends.traced import Traced

        backends = {name: Traced(backend, Subsegment) for name, backend in backends.items()}
    return Failover(backends=backends, estimates=Estimates(), purse=ledger, probes=situation())


def _endpoint() -> Backend:
    from mangaassist.routing.backends.sagemaker import SageMakerBackend
    from mangaassist.signing import SdkSigner

    chosen = settings()
    client = session().client("sagemaker-runtime", region_name=chosen.sagemaker_region)
    return SageMakerBackend(
        transport(),
        SdkSigner(session().get_credentials, chosen.sagemaker_region, "sagemaker"),
        client.meta.endpoint_url,
        chosen.sagemaker_endpoint,
        component=chosen.sagemaker_component,
    )


def _filled_index(backoff: Backoff) -> SearchIndex:
    from mangaassist.knowledge.loading.search import SearchIndex, signed

    chosen, credentials = settings(), session().get_credentials()
    if credentials is None:
        raise KnowledgeUnavailable("search", "no credentials")
    signing = signed(credentials, os.environ["AWS_REGION"])
    return SearchIndex(signing, chosen.search_endpoint, chosen.search_index, chosen.search_generation, backoff)
