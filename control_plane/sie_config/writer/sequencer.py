"""The sequencer: the one writer, who puts all writes into one order.

*shell.* Owns the registry, the head and the state of the writer. Order for every group of writes:
judge and fold on a draft → sign its end → commit → swap the registry → answer. Last it wakes the
followers. Promises:

- No answer, a refusal included, rests on a state that did not commit.
- A failed commit leaves registry and head as they were.
- Whatever is committed ends with a position which this writer signed.

Does not publish: the publisher follows the head on its own.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from prometheus_client import Enum, Gauge, Histogram

from sie_config.keys.log_keys import LogKeys
from sie_config.log.journal import Journal
from sie_config.log.key_rows import key_rows_of
from sie_config.log.log_rows import KeyRow
from sie_config.log.replay import Replayed
from sie_config.log.storage_faults import LogDamaged, StorageFull
from sie_config.log.store import Store
from sie_config.writer.dark import narrowed
from sie_config.writer.draft import Draft, Outcome, Tenure, Write
from sie_config.writer.gates import OPEN
from sie_config.writer.rules import Index
from sie_config.writer.seed import FirstEntry
from sie_config.writer.writer_state import (
    ReadOnly,
    Recovery,
    Serving,
    WriterState,
    describe,
    refusal,
)
from sie_core.chain import Position, is_of_lineage, position_of
from sie_core.registry import Registry
from sie_core.resolver import Resolver
from sie_runtime.signing import SigningKey
from sie_schemas.entry import Change, ChangeKind, Entry, Idempotency, put_key
from sie_schemas.errors import FixRequest, Later, OurFault, SIEError, Untrusted

__all__ = ["Decide", "Sequencer"]

_STATE: Final = Enum(
    "sie_config_writer_state",
    "Whether writes are taken.",
    states=["serving", "read_only", "recovery"],
)
_HEAD: Final = Gauge("sie_config_head_epoch", "The newest epoch of the log.")
_COMMIT_SECONDS: Final = Histogram(
    "sie_config_commit_seconds",
    "Time to have a group of entries on the disk, failed commits included.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)

Decide: TypeAlias = Callable[[], Coroutine[Any, Any, Outcome]]
"""Works a write out and submits it. Raises `SIEError`."""


@dataclass(slots=True)
class _Pending:
    write: Write
    answer: asyncio.Future[Outcome] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Sequencer:
    """The writer of one log. One per process; everything runs on one loop.

    Invariant: `registry` is the fold of the log up to `last`, and both are committed.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        replayed: Replayed,
        *,
        now_us: Callable[[], int],
        new_id: Callable[[int], str] = secrets.token_hex,
        group_writes_max: int,
        waiting_writes_max: int,
        signing_key: SigningKey,
    ) -> None:
        self._store = store
        self.log_keys = LogKeys(signing_key, replayed.lineage)
        self._journal = journal
        self._now_us = now_us
        self._new_id = new_id
        self._group_writes_max = group_writes_max
        self._waiting_writes_max = waiting_writes_max
        self.registry: Registry = replayed.registry
        self.last: Entry | None = replayed.last
        self.lineage: tuple[Entry, ...] = replayed.lineage
        self.state: WriterState = ReadOnly("the writer is starting")
        _STATE.state(_state_name(self.state))
        _HEAD.set(self.last.epoch if self.last is not None else 0)
        self._index = Index.of(replayed.registry)
        self.gates = OPEN
        """All that may refuse an admitted write. The owner says who the replicas are."""
        self._tenure: Tenure | None = None
        self._queue: deque[_Pending] = deque()
        self._keys_in_flight: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._arrived = asyncio.Event()
        self._moved = asyncio.Event()
        self._closed = False
        self.witnessed = False
        """True if somebody confirmed the head when this process's tenure began."""
        self.begun_at = 0
        """The first epoch of this process's tenure; 0 before it began."""

    @property
    def position(self) -> Position:
        """The head. A log that has not begun has none, and is never served."""
        assert self.last is not None
        return position_of(self.last)

    @property
    def term(self) -> int:
        """The newest term of the log."""
        return self.last.term if self.last is not None else 0

    @property
    def has_begun(self) -> bool:
        """True if this process's tenure is in the log."""
        return self._tenure is not None

    async def begin(
        self, *, term: int, first: Sequence[FirstEntry], reason: str, witnessed: bool
    ) -> None:
        """Open this process's tenure; on an empty file, the log, and its first entries.

        A crash in here leaves no log or a term without a write: both are whole logs,
        and the next start goes on from them.
        """
        fresh = self.last is None
        if self.last is not None:
            self.log_keys.check(self.last.epoch)
        log_id = self._new_id(16) if self.last is None else self.last.log_id
        tenure = Tenure(log_id, term, writer=self._new_id(8))
        draft = self._draft(tenure)
        actor = "sie-config"
        if fresh:
            birth = [Change(kind=ChangeKind.LOG_BEGIN), put_key(self.log_keys.own.document)]
            draft.begin(birth, actor=actor, reason=reason)
        draft.begin([Change(kind=ChangeKind.TERM_BEGIN)], actor=actor, reason="a writer started")
        for entry in first if fresh else ():
            draft.begin(entry.changes, actor=actor, reason=entry.reason)
        draft.entries = [self.log_keys.own.signed(entry) for entry in draft.entries]
        draft.last = draft.entries[-1]
        await self._store.append(draft.entries)
        self._tenure, self.witnessed = tenure, witnessed
        self.begun_at = draft.entries[0].epoch
        self._swap(draft)
        self.wake_followers()
        self._index = Index.of(self.registry)

    async def adopt(self, entries: Sequence[Entry], registry: Registry) -> None:
        """Take back entries of this log that the file had lost; they were verified and folded.

        Their idempotency rows come back with them: a client that still retries gets its answer.
        """
        await self._store.append(entries, key_rows_of(entries, self.registry))
        self.registry, self.last = registry, entries[-1]
        self._note_lineage(entries)
        self._index = Index.of(registry)
        self._journal.remember(entries)
        _HEAD.set(entries[-1].epoch)

    def _sign_end(self, draft: Draft) -> None:
        if draft.entries:
            # The end alone, because a signature takes 30 µs and vouches for all before it.
            draft.entries[-1] = draft.last = self.log_keys.own.signed(draft.entries[-1])

    def enter(self, state: WriterState) -> None:
        """Change the state of the writer. Recovery is left by a restart, or when what was lacking
        was given back before this process's tenure began."""
        if not isinstance(self.state, Recovery) or self.state.lacking is not None:
            self.state = state
            _STATE.state(_state_name(state))
            self.wake_followers()

    async def once(self, asked: Write, decide: Decide) -> tuple[Outcome, bool]:
        """The first answer of the key that `asked` has, and True; else what `decide` comes to.

        Raises `SIEError`. One at a time decides for a key. A caller that is cancelled leaves a
        write with a key to be decided all the same, and its key finds the answer.
        """
        if asked.idempotency is None or asked.dry_run:
            return await decide(), False
        slot = (asked.actor, asked.idempotency.key)
        while (ahead := self._keys_in_flight.get(slot)) is not None:
            await asyncio.shield(ahead)
        decided = asyncio.get_running_loop().create_future()
        self._keys_in_flight[slot] = decided
        # The decision outlives its caller, and the key stays taken until it is made.
        task = asyncio.get_running_loop().create_task(self._first_of(asked, decide))
        task.add_done_callback(lambda _: self._release(slot, decided))
        return await asyncio.shield(task)

    async def submit(self, write: Write) -> Outcome:
        """Write, and wait until it is on disk. Raises `SIEError`. See `once` for a key."""
        refused = self._refusal()
        if refused is not None:
            raise refused
        if self._closed or len(self._queue) >= self._waiting_writes_max:
            raise Later("too many writes are waiting", code="RESOURCE_EXHAUSTED")
        pending = _Pending(write)
        self._queue.append(pending)
        self._arrived.set()
        return await pending.answer

    def resolver(self, models: Iterable[str]) -> Resolver:
        """The resolver that gateways read of these models now."""
        return narrowed(self.registry, models, self._index.names())

    def moved(self) -> Coroutine[Any, Any, object]:
        """Ends when the head or the state of the writer changes after this call."""
        # The event is taken now and not when the coroutine first runs: no change is missed.
        return self._moved.wait()

    async def run(self, stop: asyncio.Event) -> None:
        """Write groups until `stop`; then decide what is queued, and refuse the rest."""
        stopping = asyncio.get_running_loop().create_task(stop.wait())
        stopping.add_done_callback(lambda _: self._arrived.set())
        try:
            while not stop.is_set() or self._queue:
                await self._arrived.wait()
                self._arrived.clear()
                while self._queue:
                    await self._write_group()
        finally:
            self._closed = True
            stopping.cancel()
            self.wake_followers()

    async def _first_of(self, asked: Write, decide: Decide) -> tuple[Outcome, bool]:
        assert asked.idempotency is not None
        # Before anything else of the request is looked at: what its document refers to may have
        # changed since, and the first answer must not.
        known = await self._recall(asked.actor, asked.idempotency)
        return (known, True) if known is not None else (await decide(), False)

    async def _recall(self, actor: str, idempotency: Idempotency) -> Outcome | None:
        """The first answer of a key that is known. Raises `FixRequest` for another request's."""
        row = await self._store.key_row(actor, idempotency.key)
        if row is None:
            return None
        if row.fingerprint != idempotency.fingerprint:
            raise FixRequest(
                f"the idempotency key {row.key!r} stands for another request; use a new key",
                code="IDEMPOTENCY_MISMATCH",
                field="Idempotency-Key",
            )
        return await self._answer_again(row)

    async def _answer_again(self, row: KeyRow) -> Outcome:
        entry = await self._journal.entry(row.epoch)
        if entry is None:
            raise OurFault(f"epoch {row.epoch} of an idempotency key is not in the log")
        told = (entry.actor, entry.idempotency)
        if row.changed and told != (row.actor, Idempotency(row.key, row.fingerprint)):
            raise LogDamaged(
                f"the row of the idempotency key {row.key!r} names epoch {row.epoch}, which is "
                "another write: `sie verify` says more",
                first_bad_epoch=None,
            )
        return Outcome(entry, row.changed, row.created, row.modified_epoch)

    def _release(self, slot: tuple[str, str], decided: asyncio.Future[None]) -> None:
        del self._keys_in_flight[slot]
        decided.set_result(None)

    async def _write_group(self) -> None:
        # What came during the last commit shares the next: the disk takes 4,500 commits a second of
        # which a lone writer uses 1,000, and 256 writes at once make 8,000.
        size = min(len(self._queue), self._group_writes_max)
        group = [self._queue.popleft() for _ in range(size)]
        refused = self._refusal()
        if refused is not None:
            _answer_all(group, [refused] * size)
            return
        assert self._tenure is not None, "no write before begin()"
        draft = self._draft(self._tenure)
        answers = [_judged(draft, pending.write) for pending in group]
        try:
            # A crash before this returns may leave the group on disk, whole and unanswered; one
            # that came earlier leaves nothing of it.
            if draft.entries or draft.keys:
                self._sign_end(draft)
                with _COMMIT_SECONDS.time():
                    await self._store.append(draft.entries, draft.keys)
        except SIEError as error:
            touched = [(c.entity_kind, c.key) for entry in draft.entries for c in entry.changes]
            # The draft changed the index in place: a copy for each group would cost each write as
            # much as there are models.
            self._index.restore(touched, self.registry)
            self._note_failure(error)
            _answer_all(group, [error] * size)
            return
        self._swap(draft)
        if draft.entries and self._is_full():
            self.enter(Serving(self.witnessed))
        _answer_all(group, answers)
        if draft.entries:
            self.wake_followers()

    def _is_full(self) -> bool:
        return isinstance(self.state, ReadOnly) and self.state.code == StorageFull.code

    def _refusal(self) -> SIEError | None:
        # On a full disk every write is tried: it fails whole, with the same code, and the first
        # one that fits ends the state. Nobody has to notice that there is room again.
        may_try = self._is_full() and self._tenure is not None
        return None if may_try else refusal(self.state)

    def _draft(self, tenure: Tenure) -> Draft:
        return Draft(self.registry, self._index, self.last, tenure, self._now_us(), self.gates)

    def _swap(self, draft: Draft) -> None:
        if not draft.entries:
            return
        self.registry, self.last = draft.registry, draft.last
        self._note_lineage(draft.entries)
        self._journal.remember(draft.entries)
        _HEAD.set(draft.entries[-1].epoch)

    def _note_lineage(self, entries: Sequence[Entry]) -> None:
        found = [entry for entry in entries if is_of_lineage(entry)]
        if found:
            self.lineage += tuple(found)
            self.log_keys.note(found)

    def _note_failure(self, error: SIEError) -> None:
        if isinstance(error, Untrusted):
            self.enter(Recovery(error.message))
        else:
            self.enter(ReadOnly(error.message, code=error.code))

    def wake_followers(self) -> None:
        """Let everybody who waits on `moved` look again."""
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


def _judged(draft: Draft, write: Write) -> Outcome | SIEError:
    try:
        return draft.trial(write) if write.dry_run else draft.write(write)
    except SIEError as error:
        return error


def _state_name(state: WriterState) -> str:
    return str(describe(state)["state"])


def _answer_all(group: Sequence[_Pending], answers: Sequence[Outcome | SIEError]) -> None:
    for pending, answer in zip(group, answers, strict=True):
        if pending.answer.cancelled():
            # Its caller is gone; the write is decided all the same.
            continue
        if isinstance(answer, SIEError):
            pending.answer.set_exception(answer)
            # An abandoned caller reads no exception; that alone is no fault to report.
            pending.answer.exception()
        else:
            pending.answer.set_result(answer)
