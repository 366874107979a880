"""Loads products: each only as far as the table does not have it yet, so that a run that died is run again and goes on.

A product's text is embedded, indexed and then written with the hash that says so: in this order, because what the table
does not say is done again, and what it says must be true. Texts are embedded by many threads while this one reads,
indexes and writes; only a few hundred products are in memory at once.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING

from mangaassist.errors import IngestUnfinished, KnowledgeUnavailable
from mangaassist.knowledge import index as documents
from mangaassist.knowledge.loading.backoff import Refused
from mangaassist.knowledge.loading.changes import Change, Known, Wanted, after_facts, decide
from mangaassist.knowledge.loading.report import Problem, Report, counted
from mangaassist.knowledge.loading.search import Entry
from mangaassist.knowledge.product import stamp
from mangaassist.tokens import estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mangaassist.knowledge.embeddings import Vector
    from mangaassist.knowledge.loading.backoff import Backoff
    from mangaassist.knowledge.loading.embedding import Embeddings, Vectors
    from mangaassist.knowledge.loading.rows import Bad, Good
    from mangaassist.knowledge.loading.search import SearchIndex
    from mangaassist.knowledge.loading.table import ProductTable

THREADS = 16
READ_AT_ONCE = 100
INDEXED_AT_ONCE = 200
WAITING_MOST = 400  # texts that are embedded ahead of the index
HOPELESS = 100  # failures without one success between: the trouble is not with the rows
LOOK_S = 0.5  # how often a wait for an embedding looks at the time
LAST_S = 15.0  # for embeddings that are under way when the time is over


@dataclass(frozen=True, slots=True)
class Task:
    """A product that needs something done."""

    row: Good
    known: Known | None
    wanted: Wanted

    @property
    def id(self) -> str:
        """The product's id."""
        return self.row.product.id


type Waiting = deque[tuple[tuple[Task, ...], Future[Vectors | Refused]]]


class Loader:
    """Loads files one after the other; without an index, products go into the table alone."""

    def __init__(
        self,
        table: ProductTable,
        embeddings: Embeddings,
        search: SearchIndex | None,
        backoff: Backoff,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._embeddings = embeddings
        self._search = search
        self._backoff = backoff
        self._monotonic = monotonic

    def load(
        self,
        rows: Iterable[Good | Bad],
        progress: Callable[[Report], object] = lambda _: None,
        *,
        has_time: Callable[[], bool] = lambda: True,
        again: bool = False,
    ) -> Report:
        """Load rows, telling now and then how far it is; `again` embeds and indexes what is there already, too.

        Raises IngestUnfinished when `has_time` says no, StoreUnavailable, and KnowledgeUnavailable when embeddings or
        search refuse everything. What was done by then stays done.
        """
        self._backoff.restart()
        report, began = Report(self._embeddings.model), self._monotonic()
        try:
            with self._threads() as pool:
                run = _Run(self, report, pool, has_time)
                for batch in batched(counted(rows, report), READ_AT_ONCE, strict=False):
                    run.take(batch, again=again)
                    progress(report)
                run.finish(progress)
        finally:
            report.milliseconds = round((self._monotonic() - began) * 1000)
            progress(report)
        return report

    def survey(
        self, rows: Iterable[Good | Bad], progress: Callable[[Report], object] = lambda _: None, *, again: bool = False
    ) -> Report:
        """What loading would do, with the tokens estimated; raises StoreUnavailable and KnowledgeUnavailable."""
        report, began = Report(self._embeddings.model), self._monotonic()
        again = again or (self._search is not None and not self._search.exists())
        for batch in batched(counted(rows, report), READ_AT_ONCE, strict=False):
            for task, change in self._planned(batch, again=again):
                _count(report, change)
                if change is Change.TEXT:
                    report.embedding_tokens += estimate(documents.text(task.row.product))
            progress(report)
        report.milliseconds = round((self._monotonic() - began) * 1000)
        return report

    def _planned(self, rows: Sequence[Good], *, again: bool) -> Iterator[tuple[Task, Change]]:
        known = self._table.known(row.product.id for row in rows)
        for row in rows:
            hashed = documents.text_hash(row.product, self._embeddings.model)
            wanted = Wanted(stamp(row.product), hashed, self._search.place if self._search else "")
            task = Task(row, known.get(row.product.id), wanted)
            yield task, decide(task.known, wanted, again=again)

    @contextmanager
    def _threads(self) -> Iterator[ThreadPoolExecutor]:
        """Threads that end soon, whatever ends the run."""
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="embedding")
        try:
            yield pool
        finally:
            self._backoff.stop()
            pool.shutdown(cancel_futures=True)


class _Run:
    """One file on its way."""

    def __init__(self, loader: Loader, report: Report, pool: ThreadPoolExecutor, has_time: Callable[[], bool]) -> None:
        self._table = loader._table
        self._embeddings = loader._embeddings
        self._search = loader._search
        self._backoff = loader._backoff
        self._planned = loader._planned
        self._report = report
        self._pool = pool
        self._has_time = has_time
        self._made = False
        self._begun = False
        self._texts: list[Task] = []
        self._waiting: Waiting = deque()
        self._embedded: list[tuple[Task, Vector]] = []
        self._failures = 0

    def take(self, rows: Sequence[Good], *, again: bool) -> None:
        """Do for some rows what can be done now, and send their texts to be embedded."""
        if not self._begun and self._search is not None:
            self._made = self._search.make_if_missing()
        self._begun = True
        self._check_time()
        facts = []
        for task, change in self._planned(rows, again=again or self._made):
            match change:
                case Change.NOTHING:
                    _count(self._report, change)
                case Change.FACTS:
                    facts.append((task, after_facts(task.known, task.wanted)))
                case Change.TEXT:
                    self._texts.append(task)
        self._write(facts, Change.FACTS)
        self._embed(self._embeddings.texts_at_once)
        while sum(len(tasks) for tasks, _ in self._waiting) > WAITING_MOST:
            self._collect()
            self._index()

    def finish(self, progress: Callable[[Report], object]) -> None:
        """Do the rest."""
        self._embed(1)
        while self._waiting:
            self._collect()
            self._index()
            progress(self._report)

    def _embed(self, least: int) -> None:
        """Send texts to be embedded, as long as at least so many wait for it."""
        while len(self._texts) >= least and self._texts:
            tasks = tuple(self._texts[: self._embeddings.texts_at_once])
            del self._texts[: len(tasks)]
            texts = [documents.text(task.row.product) for task in tasks]
            self._waiting.append((tasks, self._pool.submit(self._embeddings.of, texts)))

    def _collect(self) -> None:
        """Wait for the vectors of as many products as are indexed at once."""
        while self._waiting and len(self._embedded) < INDEXED_AT_ONCE:
            tasks, future = self._waiting[0]
            while not future.done():
                self._check_time()
                wait((future,), LOOK_S)
            self._waiting.popleft()
            self._keep(tasks, future.result())

    def _keep(self, tasks: Sequence[Task], result: Vectors | Refused) -> None:
        """Keep vectors until they are indexed; they are paid for."""
        if isinstance(result, Refused):
            for task in tasks:
                self._fail(task, result.reason)
            return
        self._report.embedding_tokens += result.tokens
        self._embedded += zip(tasks, result.vectors, strict=True)

    def _index(self) -> None:
        """Index the products that have vectors, and write those that the index has taken."""
        embedded, self._embedded = self._embedded, []
        if not embedded or self._search is None:
            return
        entries = [
            Entry(
                task.id,
                documents.document(task.row.product, vector, task.wanted.text_hash),
                task.known.index_id if task.known and task.known.indexed_in == task.wanted.indexed_in else "",
            )
            for task, vector in embedded
        ]
        results = self._search.put(entries)
        done = []
        for task, _ in embedded:
            result = results[task.id]
            if isinstance(result, Refused):
                self._fail(task, result.reason)
            else:
                wanted = task.wanted
                done.append((task, Known(wanted.stamp, wanted.text_hash, wanted.indexed_in, result)))
        self._write(done, Change.TEXT)

    def _write(self, tasks: Sequence[tuple[Task, Known]], change: Change) -> None:
        undone = self._table.put([(task.row.product, known) for task, known in tasks])
        for task, _ in tasks:
            if task.id in undone:
                self._fail(task, "table: too busy")
            else:
                self._failures = 0
                _count(self._report, change)

    def _fail(self, task: Task, reason: str) -> None:
        self._report.failed += 1
        self._report.tell(Problem(task.row.line, reason, task.id))
        self._failures += 1
        if self._failures >= HOPELESS:
            raise KnowledgeUnavailable("loading", f"{reason}, {HOPELESS} times without one success between")

    def _check_time(self) -> None:
        """Raise IngestUnfinished when the time is over, once what is embedded is indexed and written."""
        if self._has_time():
            return
        self._backoff.stop()
        under_way = [(tasks, future) for tasks, future in self._waiting if not future.cancel()]
        self._waiting.clear()
        wait([future for _, future in under_way], LAST_S)
        for tasks, future in under_way:
            if future.done() and not isinstance(result := future.result(), Refused):
                self._keep(tasks, result)
        self._index()
        done = self._report.settled
        raise IngestUnfinished(f"the time is over after {done} rows: the next run goes on from there")


def _count(report: Report, change: Change) -> None:
    match change:
        case Change.NOTHING:
            report.unchanged += 1
        case Change.FACTS:
            report.facts_only += 1
        case Change.TEXT:
            report.embedded += 1
