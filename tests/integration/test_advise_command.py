"""The advisor as it is used: a command with a page, a function with JSON, from a profile or from a day's ledger."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

import advisor
from mangaassist import bootstrap
from mangaassist.advice.advisor import Advisor
from mangaassist.money.books import BookReader
from mangaassist.money.ledger import Attempt, Ledger, TurnAccount
from mangaassist.money.prices import Usage
from mangaassist.routing import policy
from mangaassist.routing.store import SituationStore
from tests.integration import environment
from tests.integration.tables import SITUATION, TURNS
from tools.advise import main
from tools.place import Place

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result
    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.unit.fakes import FakeClock

NOON_S = 1_795_575_600.0  # 2026-11-25T12:00:00+09:00
TOMORROW_S = NOON_S + 86_400


class Shop(Place):
    """A deployment whose tables are the test's."""

    def __init__(self, dynamodb: DynamoDBClient | None) -> None:
        super().__init__(None, "http://127.0.0.1:1", None)
        self.dynamodb = dynamodb
        self.situation_table, self.turns_table = SITUATION, TURNS

    def client(self, service: Any, region: str | None = None) -> Any:
        assert service == "dynamodb"
        return self.dynamodb


def advised(*arguments: str, dynamodb: DynamoDBClient | None = None) -> Result:
    return CliRunner(mix_stderr=False).invoke(main, arguments, obj=Shop(dynamodb))


@pytest.fixture
def sold(dynamodb: DynamoDBClient, clock: FakeClock) -> None:
    """A day of four turns: one complex, two about the catalogue of which one was kept, one simple."""
    clock.elapsed_s += NOON_S - clock.now_s()
    ledger = Ledger(dynamodb, unrepeated=dynamodb, situation_table=SITUATION, turns_table=TURNS, now_s=clock.now_s)
    turns: list[tuple[str, tuple[int, int] | None]] = [
        ("complex", (700, 300)),
        ("catalogue", (400, 100)),
        ("catalogue", None),
        ("simple", (100, 50)),
    ]
    for number, (kind, tokens) in enumerate(turns):
        attempts: tuple[Attempt, ...] = ()
        if tokens:
            usage = Usage(tokens[0] - 20, tokens[1], cache_read_tokens=20)
            attempts = (Attempt("ondemand-haiku", "m", "answered", 400, 900, usage, 30, ledger.reserve(30, 10**12)),)
        account = TurnAccount(f"turn-{number}", "run-1", "alice", "offpeak_simple", "complete", 400, 900, attempts)
        ledger.settle(replace(account, kind=kind, kept="" if tokens else "exact"))


def test_a_page_says_which_pattern_to_run_and_stands_alone(tmp_path: Path) -> None:
    out = tmp_path / "advice.html"
    told = advised("--out", str(out))
    assert told.exit_code == 0, told.output
    assert "Run on demand, for $" in told.stdout
    page = out.read_text("utf-8")
    assert not re.search(r"(src|href)=\"?https?:", page)
    assert page.count("<svg") == 6
    for heading in ("Cost by pattern", "Break-even by volume", "Utilisation", "Latency", "The brief&#39;s figures"):
        assert heading in page
    assert "cannot be reconciled" in page


def test_programs_get_the_whole_advice() -> None:
    document = json.loads(advised("--messages", "20000", "--bursty", "--team", "2", "--json").stdout)
    assert document["profile"]["messages_per_day"] == 20_000
    assert document["profile"]["predictable"] is False
    assert document["recommended"] == "on-demand"
    assert document["flowchart"]["leaf"] == "on-demand"


def test_an_impossible_profile_computes_nothing_and_names_each_field(tmp_path: Path) -> None:
    out = tmp_path / "advice.html"
    told = advised("--messages", "-3", "--complex", "1.5", "--set", "curve=[0.5]", "--out", str(out))
    assert told.exit_code == 2
    for field in ("messages_per_day", "complex_share", "curve"):
        assert f"{field}: " in told.stderr
    assert not out.exists()


def test_a_quoted_price_counts_and_is_no_longer_marked() -> None:
    cheap = json.loads(advised("--price", "sagemaker.ml.g5.2xlarge=0.5", "--json").stdout)
    (hosted,) = (it for it in cheap["patterns"] if it["key"] == "sagemaker")
    (part,) = (it for it in hosted["costs"] if it["name"].startswith("ml."))
    assert part["verified"]
    assert part["source"] == "quoted to the operator"
    assert "no moon.rides" in advised("--price", "moon.rides=1", "--json").stderr


def test_sample_events_are_profiles_too() -> None:
    file = str(environment.EVENTS / "advisor-brief.json")
    told = advised("--profile", file, "--policy", "claude-3", "--as-of", "2026-01-15", "--json")
    assert json.loads(told.stdout)["profile"]["custom_model"] is True
    assert advised("--policy", "mine.json").exit_code == 2


def test_the_policy_can_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(policy.preset_document("claude-3").replace('"claude-3"', '"mine"', 1), "utf-8")
    assert json.loads(advised("--policy", str(file), "--json").stdout)["policy"] == "mine"
    file.write_text("{}", "utf-8")
    assert advised("--policy", str(file), "--json").exit_code == 2


@pytest.mark.usefixtures("sold")
def test_a_days_ledger_tells_its_traffic(dynamodb: DynamoDBClient) -> None:
    document = json.loads(advised("--books-of", "2026-11-25", "--json", dynamodb=dynamodb).stdout)
    its = document["profile"]
    assert its["messages_per_day"] == 4
    assert its["curve"][12] == 1
    assert (its["complex_share"], its["catalogue_share"], its["kept_share"]) == (0.25, 0.5, 0.25)
    assert (its["input_tokens"], its["output_tokens"]) == (400, 150)


@pytest.mark.usefixtures("sold")
def test_what_is_said_goes_before_what_the_ledger_tells(dynamodb: DynamoDBClient) -> None:
    told = advised("--books-of", "2026-11-25", "--messages", "1000", "--json", dynamodb=dynamodb)
    assert json.loads(told.stdout)["profile"]["messages_per_day"] == 1000


def test_a_day_without_a_turn_gives_no_advice(dynamodb: DynamoDBClient) -> None:
    told = advised("--books-of", "2026-11-20", "--json", dynamodb=dynamodb)
    assert told.exit_code == 2
    assert "no turn on 2026-11-20" in told.stderr
    assert "not over" in advised("--books-of", "2999-01-01", "--json", dynamodb=dynamodb).stderr


# -- the function ------------------------------------------------------------------------------------------------------


@pytest.fixture
def _deployed(monkeypatch: pytest.MonkeyPatch, dynamodb: DynamoDBClient) -> None:
    environment.enter(monkeypatch)
    reader = BookReader(dynamodb, situation_table=SITUATION, turns_table=TURNS)
    store = SituationStore(
        dynamodb,
        SITUATION,
        default_policy=policy.preset("current"),
        on_invalid_policy=lambda version, reason: None,
        backends=frozenset(("bedrock",)),
    )
    application = Advisor(store, reader, now_s=lambda: TOMORROW_S)
    monkeypatch.setattr(bootstrap, "advisor", lambda: application)


def answered(name: str) -> dict[str, Any]:
    event = json.loads((environment.EVENTS / f"{name}.json").read_text("utf-8"))
    told = advisor.handler(event, environment.Context())  # type: ignore[arg-type]
    assert json.loads(json.dumps(told, allow_nan=False)), "Lambda could not return it"
    return told


@pytest.mark.usefixtures("_deployed")
def test_the_function_advises_on_its_sample_profiles() -> None:
    assert answered("advisor-profile")["recommended"] == "on-demand"
    brief = answered("advisor-brief")
    assert brief["policy"] == "claude-3"
    assert brief["recommended"] == "hybrid"


@pytest.mark.usefixtures("_deployed", "sold")
def test_the_function_reads_yesterdays_ledger() -> None:
    assert answered("advisor-yesterday")["profile"]["messages_per_day"] == 4


@pytest.mark.usefixtures("_deployed")
def test_the_function_names_what_is_wrong_and_computes_nothing() -> None:
    told = answered("advisor-impossible")
    assert set(told) == {"errors"}
    assert set(told["errors"]) == {"messages_per_day", "curve", "complex_share", "team"}
