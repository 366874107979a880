"""Every metric that the application records: the one description that code, alarms and dashboard share.

A metric's name is its name in CloudWatch, in the namespace `MangaAssist`, always with the dimension `service`. `by`
names further dimensions, under which it is recorded besides or instead.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

type Unit = Literal["Count", "Milliseconds", "Percent"]  # CloudWatch's names


class Metric(Enum):
    """A metric: its unit, what it means, and the further dimensions that it is recorded by."""

    # A turn
    Turns = "Count", "turns that ended, whoever answered"
    TurnFailed = "Count", "turns, and other messages, that ended in an internal error: the log has the stack"
    TurnDied = "Count", "turns that were asked for again and had ended without a last frame"
    TurnPartFailed = "Count", "parts of a turn's ending that failed: the log has the stack"
    TurnRepeated = "Count", "messages that came again and got the answer that they had got"
    AnswerLost = "Count", "turns that did not reach their shopper, who had gone"
    FirstText = "Milliseconds", "from a message's arrival to the post of its first text"
    TotalTime = "Milliseconds", "from a message's arrival to the end of its turn"
    Posts = "Count", "posts to shoppers' connections"
    FramesUndelivered = "Count", "frames outside turns that could not be posted"
    PostsForbidden = "Count", "posts that the gateway's management API forbade"
    PriceCorrected = "Count", "answers that stated wrong prices, and were followed by the right ones"
    FeedbackUp = "Count", "answers rated up"
    FeedbackDown = "Count", "answers rated down"
    CancelRequested = "Count", "turns that a shopper stopped"
    SessionsForgotten = "Count", "sessions deleted at a shopper's wish"
    InvalidRequests = "Count", "frames that were refused, at no cost"

    # Who answers
    Answers = "Count", "turns by who answered", "target"
    Attempts = "Count", "calls to models in a turn: the depth of its chain"
    Fallbacks = "Count", "turns that called more than one target"
    Downgrades = "Count", "complex questions that the fast class answered"
    CatalogueAnswers = "Count", "turns that no model answered"
    TargetFailed = "Count", "calls that failed and that another target may cure"
    TargetThrottled = "Count", "calls that were throttled, of those that failed"
    TargetRefused = "Count", "calls that a target refused (denied, invalid, retired): no other model cures that"
    AttemptsFailed = "Count", "calls that failed, by the target", "target"

    # Money
    CostNanoUsd = "Count", "what turns cost, in billionths of a dollar"
    AttemptCostNanoUsd = "Count", "what calls cost, by the target", "target"
    SpendPace = "Percent", "what is committed, of what the day's curve allows by now"
    BudgetTiers = "Count", "turns for which a tier of the budget was in force"
    BudgetGuarded = "Count", "turns for which the budget left the fast class or nothing"
    LedgerWriteFailed = "Count", "accounts that could not be settled: the log has their lines"
    LedgerDrift = "Percent", "how far the ledger is from what Bedrock counted"

    # Knowledge and kept answers
    KnowledgePartial = "Count", "turns that looked something up and did not find all of it in time"
    CacheHits = "Count", "turns answered by a kept answer"
    CacheMisses = "Count", "turns that a kept answer could have answered, had there been one"
    CacheOutdated = "Count", "kept answers that the catalogue had overtaken"
    CacheUnavailable = "Count", "times that the cache could not be asked"

    # Tables
    StoreUnavailable = "Count", "times that a table was out of reach"
    SituationUnreadable = "Count", "times that the routing situation could not be read: the last one stays in force"
    IdempotencyWriteFailed = "Count", "turns whose end could not be marked: the same message would be answered anew"
    InvalidPolicy = (
        "Count",
        "times that the stored policy was found invalid: the last good one, or the preset, stays in force",
    )

    # The door
    Handshakes = "Count", "handshakes judged"
    HandshakesRefused = "Count", "handshakes refused; also by the reason", "reason"
    HandshakeFailed = "Count", "handshakes that could not be judged"
    IssuerUnreachable = "Count", "times that the token issuer's keys could not be fetched"
    OriginsUnreadable = "Count", "times that the allowed origins could not be read"
    Connects = "Count", "connections opened"
    ConnectFailed = "Count", "connections that could not be opened: a table was out of reach"
    ConnectsUnauthorized = "Count", "connections that came without the authorizer's word"
    ConnectionsRefused = "Count", "connections over a shopper's limit"
    Disconnects = "Count", "connections closed"

    # Provisioned throughput
    CapacitySteps = "Count", "steps of the workflow"
    CapacityFailed = "Count", "steps of the workflow that failed"
    CapacityNotServing = "Count", "windows that have begun and are not served by provisioned throughput"
    CapacityStray = "Count", "purchases alive outside their window"
    CapacityUtilisation = "Percent", "how full a window's capacity is", "window"
    CapacityServing = "Count", "whether a window's capacity serves (1) or not (0)", "window"
    ProvisionedRequests = "Count", "calls to a window's capacity", "window"
    ProvisionedTokens = "Count", "tokens of a window's capacity", "window"
    ProvisionedThrottles = "Count", "calls that a window's capacity throttled", "window"
    SpillOver = "Count", "simple questions kept off a window's capacity because it was full", "window"

    # Models and catalogue
    ModelEndOfLifeDays = "Count", "days until the first of the policy's models ends"
    ModelProbeFailed = "Count", "targets that did not answer their daily probe"
    IngestRows = "Count", "rows of uploads"
    IngestBadRows = "Count", "rows of uploads that are wrong"
    IngestFailedRows = "Count", "rows of uploads that were right and could not be loaded"
    EmbeddingTokens = "Count", "tokens of texts that were embedded"

    # Releases
    VersionFailed = "Count", "failures by the function's version, which end its canary", "function", "version"

    def __init__(self, unit: Unit, meaning: str, *by: str) -> None:
        self.unit = unit
        self.meaning = meaning
        self.by = by
