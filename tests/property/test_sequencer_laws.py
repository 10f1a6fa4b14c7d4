"""Laws of the sequencer: what was answered is committed, and what did not commit left nothing."""

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import Coroutine, Sequence
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.support.config_writer import NOW_US, put_model, write

from sie_config.log.log_rows import KeyRow
from sie_config.log.replay import Replayed
from sie_config.log.storage_faults import LogDamaged, StorageFailed, StorageFull
from sie_config.writer.draft import Draft, Outcome, Tenure, Write
from sie_config.writer.rules import Index
from sie_config.writer.seed import SEED, FirstEntry
from sie_config.writer.sequencer import Sequencer
from sie_config.writer.writer_state import ReadOnly, Recovery, Serving
from sie_core.apply import apply
from sie_core.chain import is_of_lineage
from sie_core.registry import Registry
from sie_runtime.signing import SigningKey
from sie_schemas.entry import Entry, Idempotency
from sie_schemas.errors import SIEError, Untrusted
from sie_testing.signing import STRANGER, WRITER_KEY
from sie_testing.stage.loop import SimulatedLoop

GROUP, WAITING = 2, 4
EXHAUSTED = "RESOURCE_EXHAUSTED"
FAULTS = {
    "full": StorageFull("no room"),
    "failed": StorageFailed("no disk"),
    "lost": LogDamaged("another file", first_bad_epoch=None),
}


class Disk:
    """A store that fails when it is told to, and the journal of it, in memory."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.rows: dict[tuple[str, str], KeyRow] = {}
        self.remembered: list[Entry] = []
        self.fault: SIEError | None = None
        self.tried: list[int] = []
        """The entries of each commit that was tried since the last round began."""

    async def append(self, entries: Sequence[Entry], keys: Sequence[KeyRow] = ()) -> None:
        await asyncio.sleep(0.01)
        self.tried.append(len(entries))
        if self.fault is not None:
            raise self.fault
        self.entries += entries
        self.rows |= {(row.actor, row.key): row for row in keys}

    async def key_row(self, actor: str, key: str) -> KeyRow | None:
        await asyncio.sleep(0)
        return self.rows.get((actor, key))

    def remember(self, entries: Sequence[Entry]) -> None:
        self.remembered += entries

    async def entry(self, epoch: int) -> Entry | None:
        return self.entries[epoch - 1] if epoch <= len(self.entries) else None

    def folded(self, until: int) -> Registry:
        registry = Registry.EMPTY
        for entry in self.entries[:until]:
            registry = apply(registry, entry)
        return registry

    def writer(self, until: int = 0, key: SigningKey = WRITER_KEY) -> Sequencer:
        """A writer that has replayed this log up to an epoch."""
        known = self.entries[:until]
        lineage = tuple(filter(is_of_lineage, known))
        last = known[-1] if known else None
        return Sequencer(
            cast("Any", self),
            cast("Any", self),
            Replayed(self.folded(until), last, lineage, None),
            now_us=lambda: NOW_US,
            new_id=lambda size: "5e" * size,
            group_writes_max=GROUP,
            waiting_writes_max=WAITING,
            signing_key=key,
        )


def tables(index: Index) -> tuple[object, ...]:
    adapters = {model: set(names) for model, names in index.adapters.items() if names}
    return dict(index.aliases), dict(index.backends), adapters, index.names().bundles


def keyed(actor: str, key: str, model_id: str, alias: str, how: str) -> Write:
    """A write of a model. Of one alias two models are refused."""
    asked = write(put_model(model_id, aliases=[alias]), actor=actor)
    named = Idempotency(key, f"{model_id}:{alias}") if key else None
    return replace(asked, idempotency=named, dry_run=how == "a trial")


HOW = st.sampled_from(["a write", "a write", "a write", "a trial"])
WRITE = st.builds(
    keyed,
    st.sampled_from(["ann", "bob"]),
    st.sampled_from(["", "", "", "k1", "k2", "k3"]),
    st.sampled_from("abc"),
    st.sampled_from("xyz"),
    HOW,
)
WRITES = st.lists(st.tuples(WRITE, st.booleans()), min_size=1, max_size=7) | st.builds(
    lambda asked, times, first_leaves: [(asked, first_leaves), *[(asked, False)] * times],
    WRITE,
    st.integers(2, 6),
    st.booleans(),
)
"""Different ones at once, or one that many send."""
ROUNDS = st.lists(
    st.tuples(WRITES, st.sampled_from(["", "", "", "", "full", "full", "failed", "lost"])),
    min_size=1,
    max_size=7,
)


def expected_state(state: Any, disk: Disk, *, witnessed: bool) -> Any:
    """The state that the commits of a round lead to."""
    for entries in disk.tried:
        if isinstance(state, Recovery):
            break
        if isinstance(disk.fault, Untrusted):
            state = Recovery(disk.fault.message)
        elif disk.fault is not None:
            state = ReadOnly(disk.fault.message, code=disk.fault.code)
        elif entries and isinstance(state, ReadOnly):
            state = Serving(witnessed)
    return state


class Clients:
    """Everybody who writes, and what they were told."""

    def __init__(self, disk: Disk, writer: Sequencer) -> None:
        self.disk, self.writer = disk, writer
        self.first: dict[tuple[str, Idempotency], Outcome] = {}
        self.deciding: list[tuple[str, str]] = []
        self.given_up = 0
        self.keyed: dict[tuple[str, str], Write] = {}

    async def ask(self, asked: Write) -> Outcome | SIEError:
        """One request, told like any other."""
        slot = (asked.actor, asked.idempotency.key) if asked.idempotency else ("", "")

        async def decide() -> Outcome:
            is_held = bool(slot[1]) and not asked.dry_run
            assert not is_held or slot not in self.deciding, "one at a time decides for a key"
            self.deciding += [slot] if is_held else []
            try:
                return await self.writer.submit(asked)
            except asyncio.CancelledError:
                # Whoever leaves leaves a write with a key to be decided all the same.
                self.given_up += is_held
                raise
            finally:
                with contextlib.suppress(ValueError):
                    self.deciding.remove(slot)

        try:
            outcome, repeated = await self.writer.once(asked, decide)
        except SIEError as error:
            return error
        # A trial tells what would be, of a key that is known too.
        assert not asked.dry_run or outcome.before is not None
        if asked.idempotency is not None and not asked.dry_run:
            self.keyed[slot] = asked
            told = self.first.setdefault((asked.actor, asked.idempotency), outcome)
            assert (told.entry.epoch, told.changed, told.created, told.modified_epoch) == (
                outcome.entry.epoch,
                outcome.changed,
                outcome.created,
                outcome.modified_epoch,
            )
            row = self.disk.rows[asked.actor, asked.idempotency.key]
            assert repeated or row.fingerprint == asked.idempotency.fingerprint
        return outcome

    async def round(self, writes: Sequence[tuple[Write, bool]]) -> list[Any]:
        """All of these at once; those that leave do so before the commit. Gives the answers."""
        tasks = [asyncio.ensure_future(self.ask(asked)) for asked, _ in writes]
        await asyncio.sleep(0.005)
        left = [task for task, (_, leaves) in zip(tasks, writes, strict=True) if leaves]
        for task in left:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(1.0)
        assert not self.deciding
        assert not self.given_up
        for task, answer in zip(tasks, answers, strict=True):
            # Nobody is sent away because another one left.
            expected = asyncio.CancelledError if task in left else Outcome | SIEError
            assert isinstance(answer, expected | Outcome | SIEError), repr(answer)
        return answers


def judge_answers(
    clients: Clients, writes: Sequence[tuple[Write, bool]], answers: list[Any], fault: str
) -> None:
    """Hold the answers of a round against the log."""
    disk, writer = clients.disk, clients.writer
    for (asked, _), answer in zip(writes, answers, strict=True):
        if isinstance(answer, Outcome):
            done = answer.changed and not asked.dry_run
            # By its hash: the end of a group is signed after it was judged.
            assert not done or answer.entry.hash == disk.entries[answer.entry.epoch - 1].hash
        elif isinstance(answer, SIEError) and fault and disk.tried:
            # A refusal does not rest on a write that failed with it.
            if answer.code in {FAULTS[fault].code, EXHAUSTED, "IDEMPOTENCY_MISMATCH"}:
                continue
            if writer.state == Serving(True) or isinstance(writer.state, ReadOnly):
                tenure = Tenure(writer.position.log_id, writer.term, "w")
                alone = Draft(
                    writer.registry, Index.of(writer.registry), writer.last, tenure, NOW_US
                )
                with pytest.raises(SIEError):
                    alone.trial(asked)


def in_time(story: Coroutine[Any, Any, None]) -> None:
    SimulatedLoop(random.Random(1)).run_until_complete(story)  # type: ignore[abstract]


async def judged_round(
    clients: Clients, writes: Sequence[tuple[Write, bool]], fault: str, *, witnessed: bool
) -> None:
    """A round, and what it left."""
    disk, writer = clients.disk, clients.writer
    disk.fault, disk.tried = FAULTS.get(fault), []
    state, head, before = writer.state, writer.position, writer.registry
    moved = asyncio.create_task(writer.moved())
    await asyncio.sleep(0)
    answers = await clients.round(writes)

    judge_answers(clients, writes, answers, fault)
    assert max(disk.tried, default=0) <= GROUP
    assert writer.state == expected_state(state, disk, witnessed=witnessed)
    assert disk.remembered == disk.entries
    assert (writer.last, writer.registry) == (disk.entries[-1], disk.folded(len(disk.entries)))
    assert not fault or (writer.position, writer.registry) == (head, before)
    assert tables(writer._index) == tables(Index.of(writer.registry))
    has_moved = (state, head) != (writer.state, writer.position)
    assert has_moved <= moved.done() <= bool(disk.tried)
    moved.cancel()
    # After a disk that failed nothing more is tried.
    assert fault in {"", "full"} or len(disk.tried) <= 1


async def left_state(clients: Clients, asked: Write, *, witnessed: bool) -> None:
    """Have the writer serve again where its state may be left; recovery is left by a restart."""
    disk, writer, state = clients.disk, clients.writer, clients.writer.state
    if isinstance(state, ReadOnly) and state.code == StorageFull.code:
        # The first write that fits ends it.
        return
    if isinstance(state, ReadOnly):
        disk.tried = []
        error = await clients.ask(replace(asked, idempotency=None))
        assert isinstance(error, SIEError)
        assert (error.code, disk.tried) == (state.code, [])
    writer.enter(Serving(witnessed))
    assert writer.state == (state if isinstance(state, Recovery) else Serving(witnessed))


@given(ROUNDS, st.booleans(), st.data())
@settings(max_examples=40)
def test_what_was_answered_is_committed_and_what_failed_left_nothing(rounds, witnessed, data):
    disk = Disk()
    writer = disk.writer()
    clients = Clients(disk, writer)

    async def story() -> None:
        first = [FirstEntry("seed", SEED)]
        await writer.begin(term=1, first=first, reason="a new log", witnessed=witnessed)
        assert writer.begun_at == 1
        writer.log_keys.check(writer.position.epoch)
        writer.enter(Serving(witnessed))
        stop = asyncio.Event()
        running = asyncio.create_task(writer.run(stop))
        for writes, fault in rounds:
            await judged_round(clients, writes, fault, witnessed=witnessed)
            await left_state(clients, writes[0][0], witnessed=witnessed)

        disk.fault = None
        for asked in list(clients.keyed.values()):
            assert asked.idempotency is not None
            assert isinstance(await clients.ask(asked), Outcome)
            await clients.ask(replace(asked, dry_run=True))
            # With another key it may change nothing, and that is answered alike too.
            named = Idempotency(f"{asked.idempotency.key}-again", "")
            for _ in range(2):
                await clients.ask(replace(asked, idempotency=named))
        stop.set()
        await running
        late = await clients.ask(write(put_model("a")))
        assert isinstance(late, SIEError)
        assert late.code == EXHAUSTED or isinstance(writer.state, Recovery)
        await brought_back(disk, clients, data.draw(st.integers(0, len(disk.entries))))

    in_time(story())


async def brought_back(old: Disk, clients: Clients, kept: int) -> None:
    """A file that lost its end gets it back, and each write that changed something its answer."""
    disk = Disk()
    disk.entries = old.entries[:kept]
    writer = disk.writer(kept)
    assert writer.last == (old.entries[kept - 1] if kept else None)
    lost = old.entries[kept:]
    if lost:
        await writer.adopt(lost, old.folded(len(old.entries)))
    assert disk.entries == old.entries
    assert (disk.remembered, writer.position.epoch) == (lost, len(old.entries))
    assert writer.lineage == tuple(filter(is_of_lineage, old.entries))
    assert tables(writer._index) == tables(Index.of(writer.registry))
    stranger = disk.writer(len(disk.entries), key=STRANGER)
    with pytest.raises(Untrusted):
        await stranger.begin(term=2, first=(), reason="", witnessed=True)
    assert disk.entries == old.entries
    # Without a tenure nothing is tried, on a full disk neither.
    writer.enter(ReadOnly("no room", code=StorageFull.code))
    with pytest.raises(SIEError):
        async with asyncio.timeout(60):
            await writer.submit(write(put_model("a")))
    writer.enter(Serving(True))
    for (actor, named), told in clients.first.items():
        if not told.changed or told.entry.epoch <= kept:
            continue
        asked = replace(write(put_model("a"), actor=actor), idempotency=named)
        again, repeated = await writer.once(asked, _never)
        assert repeated
        assert (again.entry.hash, again.created, again.modified_epoch) == (
            told.entry.hash,
            told.created,
            told.modified_epoch,
        )
        # A row that names another write is damage.
        row = disk.rows[actor, named.key]
        for entry in disk.entries:
            if entry.epoch != told.entry.epoch:
                disk.rows[actor, named.key] = dataclasses.replace(row, epoch=entry.epoch)
                with pytest.raises(LogDamaged):
                    await writer.once(asked, _never)
        disk.rows[actor, named.key] = row
        disk.rows["eve", named.key] = dataclasses.replace(row, actor="eve")
        with pytest.raises(LogDamaged):
            await writer.once(replace(asked, actor="eve"), _never)
    await ended(writer)


async def ended(writer: Sequencer) -> None:
    """A bounded number of writes wait; at the end those are decided."""
    await writer.begin(term=2, first=(), reason="a writer started", witnessed=True)
    asked = [write(put_model("d", description=f"{number}")) for number in range(WAITING + 1)]
    queued = [asyncio.ensure_future(writer.submit(each)) for each in asked]
    await asyncio.sleep(1.0)
    assert [task.done() for task in queued].count(True) == 1
    stop = asyncio.Event()
    stop.set()
    await writer.run(stop)
    answers = await asyncio.gather(*queued, return_exceptions=True)
    refused = [each.code for each in answers if isinstance(each, SIEError)]
    assert (refused, len(answers) - len(refused)) == ([EXHAUSTED], WAITING)


async def _never() -> Outcome:
    raise AssertionError("its first answer is known")
