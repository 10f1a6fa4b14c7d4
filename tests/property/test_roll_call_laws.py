"""Laws of a start: by what all who know the log say, the writer goes on, waits, or begins none."""

import asyncio
import gc
import json
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.support.reports import bounded_reports, report_at, witness_of

from sie_config.keys.log_keys import LogKeys
from sie_config.log.head_file import HeadFile
from sie_config.replicas.reports import Reports
from sie_config.start.questions import answer_of
from sie_config.start.roll_call import RollCall
from sie_config.stream.stream_witness import what_was_there
from sie_config.writer.writer_state import UNFENCED, Recovery, Serving, WriterState
from sie_core.chain import check_successor, is_of_lineage, position_of
from sie_core.registry import Registry
from sie_runtime.broker.bus import BusUnavailable
from sie_runtime.streams.log_stream import StreamTip
from sie_schemas.entry import Entry, to_envelope
from sie_schemas.errors import TimeRanOut, Untrusted
from sie_schemas.fleet import Head
from sie_testing.contracts.memory_stream import MemoryStream
from sie_testing.signing import STRANGER, WRITER_KEY
from sie_testing.stage.loop import SimulatedLoop
from sie_testing.written_log import WrittenLog

LOG, OTHER = WrittenLog("a"), WrittenLog("b")
for log in (LOG, OTHER):
    log.begin_term()
    for number in range(4):
        log.put("model", f"m{number}", {})
EPOCHS = st.integers(1, LOG.epoch)
SEEN = st.tuples(st.sampled_from([LOG, LOG, LOG, OTHER]), EPOCHS, st.booleans())
"""Of which log, how far, and whether that is what our file has there."""
SIGNERS = {"ours": WRITER_KEY, "a stranger": STRANGER, "nobody": None}


class Writer:
    """The part of a sequencer, and of its journal, that a start needs."""

    def __init__(self, have: int, key: Any) -> None:
        self.entries = LOG.entries[:have]
        self.lineage = [*filter(is_of_lineage, self.entries)]
        self.log_keys = LogKeys(key, self.lineage)
        self.registry = LOG.registries[have]
        self.term = 7
        self.state: WriterState | None = None
        self.began: list[tuple[int, tuple[str, ...], bool]] = []

    @property
    def position(self) -> Any:
        return position_of(self.entries[-1])

    async def entry(self, epoch: int) -> Entry | None:
        return self.entries[epoch - 1]

    async def adopt(self, entries: Sequence[Entry], registry: Registry) -> None:
        for entry in entries:
            check_successor(self.position, entry)
            self.entries.append(entry)
        self.registry = registry

    async def begin(self, *, term: int, first: Any, reason: str, witnessed: bool) -> None:
        self.began.append((term, tuple(first), witnessed))

    def enter(self, state: WriterState) -> None:
        self.state = state


class Broker:
    """The part of a bus that a start needs: `tells` its streams, is `silent`, or is `away`.

    Behind one that tells, each replica has the first `kept` entries. It drops what it is asked
    until `leader_at`, and then takes `takes_s` for each answer.
    """

    def __init__(
        self,
        how: str,
        streams: dict[str, str],
        kept: int = 0,
        *,
        leader_at: float = 0.0,
        takes_s: float = 0.0,
    ) -> None:
        self._kept = kept
        self._leader_at, self._takes_s = leader_at, takes_s
        self.connected = how not in {"away", "hangs"}
        # One that hangs refuses nothing: somebody is there, and says nothing yet.
        self.absent = how == "away"
        self._how, self._streams = how, streams

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        if self._how != "tells":
            raise BusUnavailable("no answer")
        await self.answers(subject, timeout_s)
        if subject.startswith("sie.config.tail."):
            wanted = json.loads(data)
            entries = LOG.entries[wanted["after"] : min(wanted["until"], self._kept)]
            return b"\n".join(map(to_envelope, entries))
        assert subject == "$JS.API.STREAM.LIST"
        streams = [
            {
                "config": {"name": f"CFG_{log_id}", "metadata": {"supersedes": older}},
                "state": {"first_seq": 1, "last_seq": 1, "messages": 1},
            }
            for log_id, older in self._streams.items()
        ]
        return json.dumps({"streams": streams, "total": len(streams)}).encode()

    async def answers(self, subject: str, timeout_s: float) -> None:
        has_leader = asyncio.get_running_loop().time() >= self._leader_at
        await asyncio.sleep(min(self._takes_s, timeout_s) if has_leader else timeout_s)
        if not has_leader or self._takes_s > timeout_s:
            raise TimeRanOut(f"no answer on {subject} within {timeout_s:g} s")


class StreamOf(MemoryStream):
    """The stream of the log on a broker, which drops questions about it as it drops others."""

    def __init__(self, broker: Broker, entries: Sequence[Entry]) -> None:
        super().__init__()
        self._broker, self._exists = broker, bool(entries)
        for entry in entries:
            self.put(entry.epoch, to_envelope(entry))

    async def tip(self) -> StreamTip | None:
        await self._broker.answers("the tip", 5.0)
        return await super().tip()


def started(
    folder: str,
    writer: Writer,
    reports: Reports,
    broker: Broker | None,
    stream: Any = None,
    *,
    listen_s: float = 0.0,
    broker_wait_s: float = 0.0,
) -> tuple[RollCall, HeadFile]:
    at, head = cast("Any", writer), HeadFile(Path(folder) / "log.sqlite")
    call = RollCall(
        at,
        at,
        reports,
        head,
        bus=cast("Any", broker),
        stream_of=None if stream is None else lambda _: stream,
        first=lambda: cast("Any", ["seed"]),
        listen_s=listen_s,
        broker_wait_s=broker_wait_s,
    )
    return call, head


def head_of(seen: tuple[WrittenLog, int, bool]) -> Head:
    of, epoch, as_here = seen
    at = of.position_at(epoch)
    hash_ = at.hash if as_here else "e" * 64
    return Head(log_id=at.log_id, epoch=epoch, hash=hash_, digest=at.digest, term=1)


def told(said: Sequence[tuple[tuple[WrittenLog, int, bool], str]]) -> Reports:
    reports = bounded_reports(ttl_s=9, forget_s=9, replicas_max=9)
    for number, (seen, signer) in enumerate(said):
        head, key = head_of(seen), SIGNERS[signer]
        if key is not None:
            signature = key.sign(head.log_id, head.epoch, head.hash, head.digest)
            head = replace(head, signature=signature)
        data = report_at(head, id=f"g{number}", signature=head.signature)
        assert reports.receive(data, 0.0) is not None
    return reports


SAID = st.lists(st.tuples(SEEN, st.sampled_from(["ours", "ours", *SIGNERS])), max_size=3)
BROKERS = st.none() | st.sampled_from(["tells", "silent", "away"])


@given(
    have=st.integers(2, LOG.epoch),
    own=st.none() | SEEN,
    said=SAID,
    stored=st.none() | EPOCHS,
    kept=st.integers(0, LOG.epoch),
    how=BROKERS,
    superseded=st.sampled_from([False, False, False, True]),
    has_key=st.sampled_from([True, True, True, False]),
)
@example(3, None, [((LOG, 5, True), "a stranger")], None, 0, None, False, True)
@example(3, (LOG, 5, True), [], None, 0, "tells", False, True)
@example(3, (OTHER, 3, True), [], None, 0, None, False, True)
@example(3, None, [((LOG, 3, False), "ours")], None, 0, None, False, True)
@example(3, None, [((LOG, 3, True), "ours")], 5, 0, "away", False, True)
@example(3, None, [((LOG, 5, True), "ours")], None, 5, "tells", False, True)
@example(3, None, [], None, 0, "silent", False, False)
@settings(max_examples=150)
def test_a_writer_goes_on_where_nobody_saw_more_or_other_and_says_else_what_it_lacks(
    have, own, said, stored, kept, how, superseded, has_key
):
    writer = Writer(have, WRITER_KEY if has_key else STRANGER)
    stream = None
    if stored is not None:
        stream = MemoryStream()
        asyncio.run(stream.ensure(first_epoch=1, metadata={}))
        for entry in LOG.entries[:stored]:
            stream.put(entry.epoch, to_envelope(entry))
    newer = {"f" * 32: f"{LOG.log_id}.{have}"} if superseded else {OTHER.log_id: ""}
    broker = None if how is None else Broker(how, newer, kept)
    with tempfile.TemporaryDirectory() as folder:
        call, file = started(folder, writer, told(said), broker, stream)
        if own is not None:
            file.replace(cast("Any", head_of(own)))
        asyncio.run(call.resume())

    # A key that this process has vouches, too: a stranger's where his is the one that lies here.
    believed = {"ours"} if has_key else {"ours", "a stranger"}
    others = [seen for seen, signer in said if signer in believed and seen[0] is LOG]
    others += [(LOG, stored, True)] if stored is not None else []
    everybody = [*others, *([own] if own is not None and own[0] is LOG else [])]

    def is_forked(head: int) -> bool:
        return any(epoch <= head and not as_here for _, epoch, as_here in everybody)

    farthest = max((epoch for _, epoch, _ in everybody), default=0)
    given_back = max(stored or 0, kept if said and how == "tells" else 0)
    reached = have if is_forked(have) else max(have, min(given_back, farthest))
    state, lacking = writer.state, farthest if farthest > reached else None
    if (superseded and how == "tells") or (own is not None and own[0] is OTHER):
        assert isinstance(state, Recovery) and state.lacking is None
        reached = have
    elif is_forked(reached):
        assert isinstance(state, Recovery) and state.lacking is None
    elif lacking is not None or not has_key:
        assert isinstance(state, Recovery) and state.lacking == lacking
    else:
        assert writer.began == [(8, (), bool(others))]
        assert state == (UNFENCED if how in {"tells", "silent"} else Serving(bool(others)))
    assert isinstance(state, Recovery) is (not writer.began)
    assert writer.position.epoch == reached


@given(
    own=st.none() | SEEN,
    said=SAID,
    how=BROKERS | st.just("hangs"),
    streams=st.sets(st.sampled_from([LOG.log_id, OTHER.log_id])),
    new_log=st.booleans(),
)
@example(None, [], "silent", frozenset(), False)
@example(None, [], "hangs", frozenset(), False)
@example(None, [], "tells", {OTHER.log_id}, False)
@example((LOG, 3, True), [], None, frozenset(), True)
def test_a_log_begins_where_nobody_knows_one_and_nobody_who_is_there_is_silent(
    own, said, how, streams, new_log
):
    """Whoever says so, signed or not; or an operator gives up what there may be."""
    writer = Writer(1, WRITER_KEY)
    broker = None if how is None else Broker(how, dict.fromkeys(streams, ""))
    unheard = how in {"silent", "hangs"}
    known = own is not None or bool(said) or (how == "tells" and bool(streams)) or unheard
    with tempfile.TemporaryDirectory() as folder:
        call, file = started(folder, writer, told(said), broker)
        if own is not None:
            file.replace(cast("Any", head_of(own)))
        if known and not new_log:
            with pytest.raises(Untrusted, match="--new-log"):
                asyncio.run(call.begin_log(new_log=False))
            assert (writer.began, writer.state) == ([], None)
            assert (file.read() is None) is (own is None), "what bears witness stays"
            return
        asyncio.run(call.begin_log(new_log=new_log))
        assert file.read() is None
    assert writer.began == [(1, ("seed",), False)]
    assert writer.state == (UNFENCED if how in {"tells", "silent"} else Serving(False))


@given(
    eighths=st.tuples(st.integers(0, 44), st.integers(0, 44), st.integers(0, 24)),
    stream=st.sampled_from(["none", "a newer log's", "the file's"]),
    has_file=st.booleans(),
    turn=st.integers(0, 9),
)
@example((16, 0, 0), "none", False, 0)
@example((16, 0, 0), "a newer log's", True, 0)
@example((16, 0, 0), "the file's", True, 0)
@example((0, 0, 24), "the file's", True, 0)
@example((0, 36, 0), "none", False, 0)
@example((41, 0, 0), "none", False, 0)
@example((40, 0, 0), "none", False, 0)
@settings(max_examples=40)
def test_a_broker_whose_cluster_finds_a_leader_while_a_start_waits_is_heard(
    eighths, stream, has_file, turn
):
    """Questions of before are dropped, a slow answer is an answer, and no error is left unread."""
    leader_at, takes_s, later_s = (each / 8 for each in eighths)
    at_once, listen_s, wait_s = 0.25, 1.0, 5.0
    writer, loop = Writer(3 if has_file else 1, WRITER_KEY), SimulatedLoop(random.Random(turn))  # type: ignore[abstract]
    streams = {"none": {}, "a newer log's": {OTHER.log_id: f"{LOG.log_id}.3"}}
    told_of = streams.get(stream, {LOG.log_id: ""})
    broker = Broker("tells", told_of, leader_at=leader_at, takes_s=takes_s)
    own_leader_at = leader_at + later_s
    itself = Broker("tells", {}, leader_at=own_leader_at, takes_s=takes_s)
    own = StreamOf(itself, LOG.entries if stream == "the file's" else []) if has_file else None
    # Of a file: newer logs, its own stream, and that once more after it gave back what was lost.
    questions = {"a newer log's": 1, "none": 2, "the file's": 3}[stream] if has_file else 1
    heard_at = leader_at + takes_s
    if questions > 1:
        heard_at = max(heard_at, own_leader_at) + takes_s * (questions - 1)
    heard_by = heard_at + at_once * questions
    with tempfile.TemporaryDirectory() as folder:
        times = {"listen_s": listen_s, "broker_wait_s": wait_s}
        call, _ = started(folder, writer, told([]), broker, own, **times)
        try:
            loop.run_until_complete(call.resume() if has_file else call.begin_log(new_log=False))
            refused = ""
        except Untrusted as error:
            refused = error.message
        took_s = loop.time()
        loop.close()
    gc.collect(0)
    assert loop.troubles == []
    assert took_s <= wait_s + at_once + (2 * (listen_s + at_once) if has_file else 0)
    if heard_by > wait_s:
        if leader_at + takes_s > wait_s + at_once and not has_file:
            assert not writer.began and "within 5 s. Mend the broker" in refused
        return
    assert took_s <= heard_by, "nor is it waited for longer"
    if stream == "none" or (has_file and stream == "the file's"):
        assert writer.began and writer.state == UNFENCED
        assert writer.position.epoch == (LOG.epoch if own and own.messages else 3 if own else 1)
    else:
        assert not writer.began
        assert isinstance(writer.state, Recovery) if has_file else "the broker has" in refused


class LateBroker(Broker):
    """One that connects at a moment; behind it a replica answers so long after it is asked."""

    def __init__(self, connects_at: float, answers_s: float, hear: Callable[[], object]) -> None:
        super().__init__("tells", {LOG.log_id: ""})
        self._connects_at, self._answers_s, self._hear = connects_at, answers_s, hear

    async def wait_connected(self, timeout_s: float) -> bool:
        await asyncio.sleep(min(self._connects_at, timeout_s))
        return self._connects_at <= timeout_s

    async def publish(self, subject: str, data: bytes) -> None:
        assert subject == "sie.config.rollcall"
        asyncio.get_running_loop().call_later(self._answers_s, self._hear)


@given(eighths=st.tuples(st.integers(0, 12), st.integers(0, 12)), turn=st.integers(0, 9))
@example((8, 7), 0)
@example((0, 7), 0)
@settings(max_examples=40)
def test_who_answers_a_roll_call_in_its_time_is_heard_however_late_the_broker_connected(
    eighths, turn
):
    connects_at, answers_s = (each / 8 for each in eighths)
    listen_s, reports = 1.0, told([])
    vouched = witness_of(LOG.position_at(LOG.epoch), WRITER_KEY)
    broker = LateBroker(connects_at, answers_s, lambda: reports.receive(vouched, 0.0))
    writer, loop = Writer(3, WRITER_KEY), SimulatedLoop(random.Random(turn))  # type: ignore[abstract]
    with tempfile.TemporaryDirectory() as folder:
        call, _ = started(folder, writer, reports, broker, listen_s=listen_s)
        loop.run_until_complete(call.listen())
        listened_s = loop.time()
        loop.run_until_complete(call.resume())
        loop.close()
    assert listened_s <= 2 * listen_s
    if connects_at <= listen_s and answers_s < listen_s:
        assert isinstance(writer.state, Recovery) and writer.state.lacking == LOG.epoch
    elif connects_at > listen_s:
        assert writer.began, "without a broker nobody was asked"


@given(answering=st.integers(0, 2), turn=st.integers(0, 9))
@example(0, 0)
@example(1, 0)
@settings(max_examples=20)
def test_of_questions_that_end_in_one_turn_the_answer_counts_and_every_error_is_read(
    answering, turn
):
    loop, over = SimulatedLoop(random.Random(turn)), asyncio.Event()  # type: ignore[abstract]
    asked: list[int] = []

    async def ask() -> int:
        number = len(asked)
        asked.append(number)
        if number == 2:
            over.set()
        await over.wait()
        if number != answering:
            raise TimeRanOut("dropped")
        return number

    answer = answer_of(ask, wait_s=5.0, go_on=lambda: True)
    assert loop.run_until_complete(answer) == answering
    loop.close()
    gc.collect(0)
    assert loop.troubles == []


@given(first=st.integers(1, 9), length=st.integers(0, 3), base=st.integers(0, 9))
def test_an_empty_stream_tells_of_entries_past_this_head_and_of_none_up_to_it(first, length, base):
    head = position_of(LOG.entries[-1])
    last = first + length - 1
    tip = StreamTip(first, last, {"base_epoch": str(base), "base_hash": "ab"})
    claim = what_was_there(tip, head)
    assert (claim is not None) == (not length and last > head.epoch)
    if claim is not None:
        told = (claim.log_id, claim.epoch, claim.hash)
        assert told == (head.log_id, last, "ab" if base == last else "")
