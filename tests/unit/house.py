"""The message function's application with doubles at its ports: every table in memory, scripted models and time."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from mangaassist.chat.conversation import Conversation
from mangaassist.chat.followup import Followup
from mangaassist.chat.gathering import Stores
from mangaassist.chat.reception import Reception
from mangaassist.chat.replies import FRAME
from mangaassist.chat.research import Research
from mangaassist.chat.sessions import Session
from mangaassist.chat.turn import Shopper
from mangaassist.chat.turns import Record, Wish
from mangaassist.clock import Clock
from mangaassist.deadline import Deadline
from mangaassist.errors import InvalidRequest, StoreUnavailable
from mangaassist.knowledge import catalogue
from mangaassist.knowledge.cache.kept import KeptAnswers
from mangaassist.knowledge.product import Product
from mangaassist.knowledge.search import Search
from mangaassist.routing import policy
from mangaassist.routing.backends import Message
from mangaassist.routing.backends.traced import Traced
from mangaassist.routing.estimates import Estimates
from mangaassist.routing.failover import Failover
from mangaassist.routing.situation import Capacity, Situation
from mangaassist.routing.store import View
from tests.unit.fakes import (
    After,
    FakeClock,
    FakePoster,
    FakeProbes,
    FakePurse,
    FakeShelf,
    MemoryAnswers,
    ScriptedBackend,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mangaassist.capacity.use import Use
    from mangaassist.money.ledger import TurnAccount
    from mangaassist.routing.backends.traced import Span

POLICY = policy.preset("current")
PRODUCTS = {
    work.id: Product(work, volumes=10, price_yen=500 + place, stock=9, synopsis_ja="物語")
    for place, work in enumerate(catalogue.works().values())
}
ALICE, BOB = Shopper("alice", "conn-a"), Shopper("bob", "conn-b")
SIMPLE = "営業時間は?"
LONG = "これは二十四文字よりもずっと長い最初の回答の文です。"


@dataclass
class World:
    """Every table in memory; `down` names those out of reach."""

    clock: FakeClock
    scripts: dict[str, list[list[After]]]
    situation_now: Situation = field(default_factory=Situation)
    down: set[str] = field(default_factory=set)
    wait_s: float = 0.0
    wishes: list[tuple[float, Wish]] = field(default_factory=list)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    memory: dict[str, Session] = field(default_factory=dict)
    forgotten: int = 0  # how often the sessions were, since they were loaded
    accounts: list[TurnAccount] = field(default_factory=list)
    uses: list[tuple[Capacity, Use]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    answered: dict[str, str] = field(default_factory=dict)
    purse: FakePurse = field(default_factory=FakePurse)
    store_s: float = 0.005
    policy: policy.Policy = POLICY
    touched: list[str] = field(default_factory=list)

    def touch(self, part: str, limit_s: float = 1.3) -> None:
        self.touched.append(part)
        self.clock.sleep(limit_s if part in self.down else self.store_s)
        if part in self.down:
            raise StoreUnavailable(part)

    # the situation table
    def view(self) -> View:
        self.touch("situation")
        return View(self.situation_now, self.policy, 0)

    def note_failure(self, target: str, outcome: str, view: View) -> None:
        self.touch("situation")
        self.failures.append((target, outcome))

    def note_success(self, target: str, view: View) -> None:
        self.touch("situation")

    # the connections table
    def admit_turn(self, user_id: str, per_minute: int, burst: int) -> float:
        self.touch("connections")
        return self.wait_s

    # idempotency
    def run(self, key: str, work: Callable[[], None], context: object) -> str:
        self.touch("idempotency")
        if key in self.answered:
            return self.answered[key]
        self.answered[key] = "running"
        try:
            work()
        except BaseException:
            del self.answered[key]
            raise
        self.answered[key] = "repeated"
        return "done"

    # the turns table
    def begin(self, turn_id: str, **fields: Any) -> None:
        self.touch("turns")
        self.records[turn_id] = {**fields, "deadline_s": self.clock.now_s() + fields["left_s"]}

    def wish(self, turn_id: str) -> Wish:
        self.touch("wishes", 0.6)
        return next((wish for at_s, wish in reversed(self.wishes) if at_s <= self.clock.monotonic()), Wish())

    def finish(self, turn_id: str, frames: list[str]) -> Wish:
        self.touch("turns")
        self.records[turn_id]["frames"] = list(frames)
        return self.wish(turn_id)

    def drop(self, turn_id: str, session_id: str) -> None:
        self.touch("turns")
        del self.records[turn_id]

    def resume(self, turn_id: str, owner: str, *, wish_id: str, connection_id: str, after: int) -> Record:
        record = self._of_owner(turn_id, owner)
        return Record("frames" in record, record.get("frames", []), record["deadline_s"])

    def cancel(self, turn_id: str, owner: str) -> None:
        self._of_owner(turn_id, owner)["cancelled"] = True

    def rate(self, turn_id: str, owner: str, rating: str) -> None:
        self._of_owner(turn_id, owner)["rating"] = rating

    def _of_owner(self, turn_id: str, owner: str) -> dict[str, Any]:
        record = self.records.get(turn_id)
        if record is None or record["owner"] != owner:
            raise InvalidRequest("turn_unknown")
        return record

    def forget(self, session_id: str, owner: str, *, in_time: Callable[[], bool] | None = None) -> None:
        """Both tables' way to forget a session; that of turns is told how much time there is."""
        if in_time is None and session_id in self.memory and self.memory[session_id].owner == owner:
            del self.memory[session_id]

    # sessions
    def load(self, session_id: str, owner: str, history_tokens: int) -> Session:
        self.touch("sessions")
        session = self.memory.get(session_id, Session(session_id, owner))
        if session.owner != owner:
            raise InvalidRequest("session_unavailable")
        return session

    def append(
        self, session: Session, question: str, answer: str, history_tokens: int, *, in_time: Callable[[], bool]
    ) -> bool:
        if not in_time():
            return True
        self.touch("sessions")
        if session.forgotten != self.forgotten:
            return False
        exchange = (Message("user", question), Message("assistant", answer))
        self.memory[session.id] = replace(session, history=(*session.history, *exchange))
        return True

    def was_forgotten(self, session: Session) -> bool:
        self.touch("sessions")
        return session.forgotten != self.forgotten

    # the ledger
    def settle(self, account: TurnAccount, *, in_time: Callable[[], bool]) -> None:
        if not in_time():
            raise StoreUnavailable("late")
        self.touch("ledger", 0.6)
        self.accounts.append(account)

    # the use of published capacity
    def note(self, capacity: Capacity, use: Use) -> None:
        self.touch("utilisation", 0.6)
        self.uses.append((capacity, use))


class House:
    """The message function's application over a world."""

    def __init__(
        self,
        scripts: dict[str, list[list[After]]],
        *,
        begin: Callable[[str], Span] | None = None,
        logged_percent: int = 100,
        **world: Any,
    ) -> None:
        self.clock = FakeClock()
        self.world = World(self.clock, scripts, **world)
        self.poster = FakePoster(self.clock)
        self.backend = ScriptedBackend(self.clock, scripts)
        fake = cast("Any", self.world)
        clock = Clock(self.clock.now_s, self.clock.monotonic, self.clock.sleep)
        followup = Followup(fake, fake, self.poster, now_s=clock.now_s, monotonic=clock.monotonic, sleep=clock.sleep)
        self.shelf, self.answers = FakeShelf(self.clock, dict(PRODUCTS)), MemoryAnswers(self.clock)
        search = Search(cast("Any", self.shelf), None, None, self.clock.monotonic)
        research = Research(search, KeptAnswers(self.answers, cast("Any", self.shelf), clock))
        conversation = Conversation(
            stores=Stores(fake, fake, _SituationPort(self.world), fake, fake, fake, fake, research),  # type: ignore[arg-type]
            failover=Failover(
                backends={"bedrock": Traced(self.backend, begin) if begin else self.backend},
                estimates=Estimates(),
                purse=_PursePort(self.world),
                probes=FakeProbes(),
            ),
            followup=followup,
            poster=self.poster,
            turns_per_minute=20,
            logged_percent=logged_percent,
            clock=clock,
        )
        self.reception = Reception(conversation, followup, self.poster, sleep=clock.sleep)

    def say(self, body: object, shopper: Shopper = ALICE) -> list[dict[str, Any]]:
        """Send a frame and give what came back to this shopper's connection for it."""
        inbox = self.poster.inbox.setdefault(shopper.connection_id, [])
        before = len(inbox)
        began = self.clock.monotonic()
        self.began = began
        deadline = Deadline(at=began + 27, arrived_at=began, monotonic=self.clock.monotonic)
        text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        self.reception.receive(text, shopper, deadline, cast("Any", None))
        frames = inbox[before:]
        for frame in frames:
            FRAME.validate_python(frame)
        return frames

    def ask(self, message: str = SIMPLE, shopper: Shopper = ALICE, **fields: Any) -> list[dict[str, Any]]:
        return self.say({"action": "ask", "message": message, **fields}, shopper)


@dataclass
class _SituationPort:
    world: World

    @property
    def policy(self) -> policy.Policy:
        return self.world.policy

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)


@dataclass
class _PursePort:
    world: World

    def reserve(self, nano_usd: int, limit_nano_usd: int) -> Any:
        self.world.touch("ledger")
        return self.world.purse.reserve(nano_usd, limit_nano_usd)


def types(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["type"] for frame in frames]
