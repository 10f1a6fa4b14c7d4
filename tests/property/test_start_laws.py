"""Laws of what a writer takes from others: lost entries, words that stop it, signs of life."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.support.reports import bounded_reports, report_at

from sie_config.keys.log_keys import LogKeys
from sie_config.replicas.hearing import Hearing
from sie_config.replicas.life_signs import LifeSigns
from sie_config.start.recovery import reclaim
from sie_config.writer.sequencer import Sequencer
from sie_config.writer.writer_state import ReadOnly, Recovery, Serving
from sie_core.chain import Position, check_successor, is_of_lineage, position_of
from sie_core.registry import Registry
from sie_runtime.access.gate import NOBODY
from sie_runtime.broker.bus import BusUnavailable, NoResponders
from sie_runtime.follower.replica_reports import _answer
from sie_schemas.entry import Entry, build_entry, to_envelope, to_stub
from sie_schemas.errors import FixRequest
from sie_testing.contracts.memory_stream import MemoryStream
from sie_testing.signing import STRANGER, WRITER_KEY
from sie_testing.written_log import WrittenLog

LOG = WrittenLog()
LOG.begin_term()
for number in range(6):
    LOG.put("model", f"m{number}", {"text": "x" * 300 * (number % 3)})


def of_another_state(entry: Entry) -> Entry:
    """An entry that our writer signed, and that folds to another state than it says."""
    return WRITER_KEY.signed(
        build_entry(
            log_id=entry.log_id,
            epoch=entry.epoch,
            term=entry.term,
            writer=entry.writer,
            ts=entry.ts,
            actor=entry.actor,
            reason=entry.reason,
            request_id=entry.request_id,
            changes=entry.changes,
            prev_hash=entry.prev_hash,
            state_digest="0" * 64,
        )
    )


# ---- lost entries -------------------------------------------------------------------------------


class Behind:
    """The part of a sequencer that a recovery needs: a log that ends early."""

    def __init__(self, have: int) -> None:
        self.log_keys = LogKeys(WRITER_KEY, filter(is_of_lineage, LOG.entries[:have]))
        self.position: Position = LOG.position_at(have)
        self.registry: Registry = LOG.registries[have]

    async def adopt(self, entries: Sequence[Entry], registry: Registry) -> None:
        for entry in entries:
            check_successor(self.position, entry)
            self.position = position_of(entry)
        assert registry == LOG.registries[self.position.epoch]
        self.registry = registry


class Tails:
    """Replicas that answer for the entries in their files, or do not answer, or with noise."""

    def __init__(self, tails: Sequence[Mapping[int, Entry] | str], bytes_max: int) -> None:
        self._tails = tails
        self._bytes_max = bytes_max

    def names(self) -> list[tuple[str, str]]:
        return [("worker", str(place)) for place in range(len(self._tails))]

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        tail = self._tails[int(subject.removeprefix("sie.config.tail.worker."))]
        if isinstance(tail, str):
            if tail == "silent":
                raise BusUnavailable("nobody answers")
            return to_envelope(LOG.entries[-1]) if tail == "the end" else tail.encode()
        wanted = msgspec.json.decode(data)
        entries: list[Entry] = []
        for epoch in range(wanted["after"] + 1, wanted["until"] + 1):
            if epoch not in tail:
                break
            entries.append(tail[epoch])
        return _answer(entries, wanted["offset"], self._bytes_max)


def as_held(epoch: int, how: str) -> Entry:
    entry = LOG.entries[epoch - 1]
    if how == "of another state":
        return of_another_state(entry)
    bare = replace(entry, signature=None)
    return {"unsigned": bare, "a stranger's": STRANGER.signed(bare)}.get(how, entry)


def leads_to(held: Mapping[int, str], have: int, until: int) -> int:
    """The epoch that an offer of these leads to: the last that our writer vouched for."""
    reached = have
    for epoch in range(have + 1, until + 1):
        how = held.get(epoch, "missing")
        if how == "of another state":
            # It vouches for those before it, and is none itself.
            return epoch - 1
        if how in {"missing", "a stub", "noise"}:
            break
        reached = epoch if how == "signed" else reached
    return reached


EPOCHS = range(1, LOG.epoch + 1)
SOUND = ["signed", "signed", "signed", "missing"]
KINDS = ["signed", "signed", "signed", "unsigned", "a stranger's", "of another state", "missing"]


def held_of(kinds: Sequence[str]) -> st.SearchStrategy[dict[int, str]]:
    return st.fixed_dictionaries({epoch: st.sampled_from(kinds) for epoch in EPOCHS})


@given(
    have=st.integers(2, 5),
    more=st.integers(1, 4),
    on_stream=st.none() | held_of([*SOUND, "noise"]) | held_of([*KINDS, "a stub", "noise"]),
    tails=st.lists(held_of(SOUND), min_size=1, max_size=2) | st.lists(held_of(KINDS), max_size=3),
    mute=st.sampled_from([0, 1, 15, 16]),
    bytes_max=st.sampled_from([150, 1500, 100_000]),
)
@example(have=2, more=2, on_stream={3: "signed", 4: "noise"}, tails=[], mute=0, bytes_max=150)
@settings(max_examples=80)
def test_a_log_that_lost_its_end_goes_as_far_as_stream_and_replicas_lead_it(
    have, more, on_stream, tails, mute, bytes_max
):
    until = min(have + more, LOG.epoch)
    stream = MemoryStream() if on_stream is not None else None
    for epoch, how in (on_stream or {}).items():
        if stream is not None and how != "missing":
            entry = as_held(epoch, how)
            data = to_stub(entry) if how == "a stub" else to_envelope(entry)
            stream.put(epoch, b"noise" if how == "noise" else data)
    files = [{e: as_held(e, how) for e, how in tail.items() if how != "missing"} for tail in tails]
    bus = Tails([*(["the end", "silent", "{", ""] * 4)[:mute], *files], bytes_max)
    behind = Behind(have)
    asyncio.run(
        reclaim(
            cast("Sequencer", behind),
            until=until,
            stream=stream,
            bus=bus,
            replicas=bus.names,
            timeout_s=1,
        )
    )
    # Sixteen are asked at most: each that does not answer costs the start its time.
    sources = [on_stream or {}, *tails[: 16 - mute], {LOG.epoch: "signed"} if mute else {}]
    reached, before = have, 0
    while before != reached:
        before = reached
        reached = max(leads_to(each, reached, until) for each in sources)
    # What a message has no room for is asked for again only behind a signature.
    if bytes_max == 100_000 or all({*tail.values()} <= {*SOUND} for tail in tails):
        assert behind.position == LOG.position_at(reached)
    assert behind.position.epoch <= reached
    assert behind.registry == LOG.registries[behind.position.epoch]


# ---- words that stop a writer -------------------------------------------------------------------

HEAD, BEGUN_AT = LOG.epoch - 2, LOG.epoch - 4


@given(
    epoch=st.integers(0, LOG.epoch),
    is_ours=st.sampled_from([True, True, True, False]),
    is_other=st.booleans(),
    key=st.sampled_from([WRITER_KEY, WRITER_KEY, STRANGER, None]),
    has_begun=st.sampled_from([True, True, False]),
    state=st.sampled_from([Serving(True), Serving(False), ReadOnly("full"), Recovery("before")]),
    by_bus=st.booleans(),
)
@settings(max_examples=200)
def test_a_writer_stops_for_an_entry_that_its_key_signed_and_its_log_has_not_and_for_no_other(
    epoch, is_ours, is_other, key, has_begun, state, by_bus
):
    true = LOG.entries[max(epoch, 1) - 1]
    told: dict[str, Any] = {
        "log_id": LOG.log_id if is_ours else "f" * 32,
        "epoch": epoch,
        "hash": "e" * 64 if is_other else true.hash,
        "digest": true.state_digest,
    }
    signature = key.sign(*told.values()) if key is not None else None
    heard: list[Any] = []
    entered: list[Any] = []

    async def entry(asked: int) -> Entry | None:
        assert asked <= HEAD
        return LOG.entries[asked - 1]

    plane: Any = SimpleNamespace(
        last=LOG.entries[HEAD - 1],
        position=LOG.position_at(HEAD),
        has_begun=has_begun,
        begun_at=BEGUN_AT,
        state=state,
        log_keys=LogKeys(WRITER_KEY, filter(is_of_lineage, LOG.entries)),
        enter=entered.append,
        entry=entry,
        heard=heard.append,
    )
    reports = bounded_reports(ttl_s=60, forget_s=600, replicas_max=10)
    hearing = Hearing(reports, plane, plane, plane, clock=lambda: 0.0)
    data = report_at(LOG.head, **told, signature=signature)
    if by_bus:
        asyncio.run(hearing.hear(data, subject="sie.config.report.gateway.g1"))
        asyncio.run(hearing.hear(data, subject="sie.config.report.gateway.g2"))
    else:
        asyncio.run(hearing.hear_over_http(data, NOBODY))
        somebody = replace(NOBODY, name="t", replica="gateway/g2")
        with pytest.raises(FixRequest):
            asyncio.run(hearing.hear_over_http(data, somebody))
    assert reports.malformed == 1, "nobody speaks under another's name"
    [seen] = reports.sightings()
    assert (seen.is_known, seen.by_bus, seen.size) == (by_bus, by_bus, len(data))

    differs = epoch > HEAD or (epoch > 0 and is_other)
    stops = has_begun and is_ours and differs and key is WRITER_KEY
    assert [claim and claim.epoch for claim in heard][:1] == [epoch or None]
    if not stops or isinstance(state, Recovery):
        assert entered == []
        return
    [found] = entered
    assert isinstance(found, Recovery)
    # A backup to restore ends before the two histories part: no later than this tenure began.
    assert f"ends before epoch {min(epoch, BEGUN_AT)}," in found.reason
    assert f"--discard-after {HEAD}," in found.reason


# ---- signs of life ------------------------------------------------------------------------------

NAMES = ("a", "b", "c")
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.1, 0.3, 0.75, 4.0]),
        st.sampled_from(["speaks", "dies", "dies", "hangs", "look", "look", "look", "reconnects"]),
        st.sampled_from(NAMES),
        st.sampled_from([None, None, "back", "reconnects"]),
    ),
    max_size=12,
)


class Crowd:
    """Three workers on a bus, and the writer's memory of them; the clock is its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.settled_at = 0.0
        self.meanwhile: str | None = None
        """That which happens between two questions."""
        self.spoke = dict.fromkeys(NAMES, 0.0)
        self.how = dict.fromkeys(NAMES, "well")
        self.gone: set[str] = set()
        self.asked: list[str] = []
        self.noted: list[tuple[str, float]] = []
        self.kept = self
        self.look: Callable[[], Awaitable[None]]
        self.late: list[Awaitable[None]] = []
        self._reconnected: list[Callable[[], None]] = []
        self.on_reconnect = self._reconnected.append

    def does(self, what: str, name: str) -> None:
        if what == "reconnects":
            self.settled_at = self.now + 3.0
            self._reconnected[0]()
        elif what == "back":
            self.how |= {each: "well" for each in NAMES if self.how[each] == "dies"}
        else:
            self.how[name] = what
        if what == "speaks":
            self.spoke[name] = self.now
            self.gone.discard(name)

    def quiet(self, now: float, quiet_s: float) -> dict[tuple[str, str], float]:
        here = {("worker", name): at for name, at in self.spoke.items() if name not in self.gone}
        return {name: at for name, at in here.items() if now - at >= quiet_s}

    async def request(self, subject: str, _: bytes, *, timeout_s: float) -> bytes:
        name = subject.removeprefix("sie.config.tail.worker.")
        self.asked.append(name)
        if self.how[name] == "dies":
            raise NoResponders("nobody listens")
        if self.how[name] == "hangs":
            raise BusUnavailable("no answer")
        return b""

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.meanwhile is not None:
            self.does(self.meanwhile, "")
        # Who comes during a look shares it.
        self.late.append(asyncio.ensure_future(self.look()))
        await asyncio.sleep(0)

    def note_gone(self, _: str, name: str, *, asked_at: float) -> None:
        self.noted.append((name, asked_at))


async def looked(signs: LifeSigns) -> None:
    """Two look at once, and the first of them leaves: that takes the look from nobody."""
    leaver = asyncio.ensure_future(signs.look())
    stayer = asyncio.ensure_future(signs.look())
    await asyncio.sleep(0)
    leaver.cancel()
    await stayer


async def lived(crowd: Crowd, steps: Sequence[tuple[float, str, str, str | None]]) -> None:
    at_once: Any = crowd
    signs = LifeSigns(
        at_once, at_once, clock=lambda: crowd.now, again_s=0.5, asked_max=2, sleep=crowd.sleep
    )
    crowd.look = signs.look
    looked_at = dict.fromkeys(NAMES, -9.0)
    began_at = -9.0
    for pause, what, name, meanwhile in steps:
        crowd.now += pause
        if what != "look":
            crowd.does(what, name)
            continue
        at, crowd.meanwhile = crowd.now, meanwhile
        crowd.asked, crowd.noted = [], []
        last = {each: max(crowd.spoke[each], looked_at[each]) for each in NAMES}
        due = sorted(
            (each for each in NAMES if each not in crowd.gone and at - last[each] >= 0.75),
            key=last.__getitem__,
        )
        # Looks that come close behind each other are one.
        due = due[:2] if at - began_at >= 0.25 else []
        began_at = at if at - began_at >= 0.25 else began_at
        doubted = {each for each in due if crowd.how[each] == "dies"}
        await looked(signs)
        await asyncio.gather(*crowd.late)
        looked_at.update(dict.fromkeys(due, at))
        assert sorted(crowd.asked) == sorted([*due, *doubted])
        lost = doubted if meanwhile != "back" and crowd.now >= crowd.settled_at else set()
        assert sorted(crowd.noted) == sorted((each, at) for each in lost)
        crowd.gone |= lost
        quiet = {each for each in NAMES if at - crowd.spoke[each] >= 0.75}
        assert not due or {each for _, each in signs._looked_at} <= quiet


@given(STEPS)
@settings(max_examples=200)
def test_who_is_quiet_is_asked_in_turn_and_is_gone_when_twice_nobody_listens(steps):
    asyncio.run(lived(Crowd(), steps))
