"""Laws of a replica's stops and pauses: what begins each, and the only things that end it."""

import dataclasses

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_core.chain import position_of
from sie_core.registry import Entity
from sie_core.replica.events import (
    Command,
    EntryArrived,
    Event,
    Fetch,
    FetchFailed,
    FetchSnapshot,
    HeadAnnounced,
    Quarantine,
    RangeArrived,
    ReplicaLimits,
    ResyncAsked,
    SnapshotArrived,
    Ticked,
)
from sie_core.replica.replica import Replica
from sie_core.trust import Trust
from sie_runtime.signing import SigningKey
from sie_schemas.entry import ENTRY_VERSION, Change, ChangeKind, Entry
from sie_schemas.fleet import Head
from sie_testing.signing import FIRST_CONTACT, PINNED, STRANGER, WRITER_KEY
from sie_testing.written_log import WrittenLog

LIMITS = ReplicaLimits(retry_s=1.0, retry_max_s=8.0, stale_after_s=10.0, other_log_s=30.0)
AT = 4


def log_of(
    name: str, entries: int, *, base: WrittenLog | None = None, key: SigningKey = WRITER_KEY
) -> WrittenLog:
    log = WrittenLog(name, base=base, key=key)
    for number in range(entries):
        log.put("model", f"m{number % 3}", {"of": name, "n": number})
    return log


def at_epoch(log: WrittenLog, epoch: int, *, trust: Trust = PINNED) -> Replica:
    replica = Replica(trust, LIMITS)
    replica.receive(Ticked(0.0))
    replica.receive(SnapshotArrived(0, log.snapshot(epoch)))
    return replica


def head_at(log: WrittenLog, epoch: int) -> Head:
    last = log.entries[epoch - 1]
    head = Head(
        log_id=last.log_id,
        epoch=epoch,
        hash=last.hash,
        digest=last.state_digest,
        term=last.term,
    )
    signature = log.key.sign(head.log_id, head.epoch, head.hash, head.digest)
    return msgspec.structs.replace(head, signature=signature)


def fetches(commands: list[Command]) -> list[Fetch | FetchSnapshot]:
    return [each for each in commands if isinstance(each, Fetch | FetchSnapshot)]


OURS = log_of("a", 9)
NEXT_KEY = SigningKey.of_seed(bytes(31) + b"n")


@given(data=st.data(), before=st.integers(1, 3), behind=st.integers(0, 3))
def test_a_changed_key_is_no_forgery_in_whatever_order_it_is_heard_of(data, before, behind):
    log = log_of("a", before)
    start, heads = log.epoch, [log.head]
    log.change_key(NEXT_KEY)
    heads.append(log.head)
    for number in range(behind):
        log.put("model", "m", {"n": number})
        heads.append(log.head)
    told = [*map(HeadAnnounced, heads), *map(EntryArrived, log.entries)]
    replica = at_epoch(log, data.draw(st.integers(1, start)))
    for event in data.draw(st.permutations(told)):
        replica.receive(event)
    replica.receive(Ticked(LIMITS.stale_after_s))

    assert replica.position == position_of(log.entries[-1])
    assert replica.forged == 0


@given(ahead=st.integers(1, 5), speaks=st.integers(1, 4), moves=st.booleans())
def test_a_head_that_the_log_does_not_bear_out_is_a_forgery_as_soon_as_that_is_known(
    ahead, speaks, moves
):
    replica = at_epoch(OURS, AT)
    theirs = msgspec.structs.replace(head_at(OURS, AT + 1), epoch=AT + ahead)
    signature = STRANGER.sign(theirs.log_id, theirs.epoch, theirs.hash, theirs.digest)
    for _ in range(speaks):
        replica.receive(HeadAnnounced(msgspec.structs.replace(theirs, signature=signature)))
    replica.receive(Ticked(LIMITS.stale_after_s - 1))
    assert replica.forged == 0
    if moves:
        replica.receive(RangeArrived(0, tuple(OURS.entries[AT : AT + ahead])))
    else:
        replica.receive(Ticked(LIMITS.stale_after_s))

    assert replica.forged == 1


@given(epoch=st.integers(1, 9), key=st.sampled_from([WRITER_KEY, STRANGER]), alone=st.booleans())
def test_an_entry_of_another_log_stops_nobody_wherever_it_stands(epoch, key, alone):
    replica = at_epoch(OURS, AT)
    here = replica.position
    entry = log_of("b", 9, key=key).entries[epoch - 1]
    commands = replica.receive(EntryArrived(entry) if alone else RangeArrived(0, (entry,)))
    # Whether it supersedes ours its snapshot tells, and nothing else does.
    [asked] = fetches(commands)
    assert isinstance(asked, FetchSnapshot) and asked.reason.startswith("log ")
    replica.receive(SnapshotArrived(asked.id, OURS.snapshot(AT)))
    assert (replica.stopped, replica.position) == (None, here)


@given(st.lists(st.tuples(st.sampled_from([0.0, 4.0, 11.0]), st.integers(1, 9)), max_size=6))
def test_only_a_word_that_is_as_new_as_the_replica_makes_it_fresh(said):
    replica = at_epoch(OURS, AT)
    now, heard_at = 0.0, None
    for pause, epoch in said:
        now += pause
        replica.receive(Ticked(now))
        replica.receive(HeadAnnounced(head_at(OURS, epoch)))
        if epoch >= AT:
            heard_at = now
        is_fresh = heard_at is not None and now - heard_at <= LIMITS.stale_after_s
        assert replica.state == ("fresh" if is_fresh else "stale")
        assert replica.behind == max(0, replica.received - AT)


@given(
    words=st.lists(st.sampled_from(["head", "old head", "entry", "tick"]), max_size=6),
    refused_before=st.booleans(),
)
def test_memory_that_is_bad_is_left_by_a_snapshot_alone_whoever_spoke_before(words, refused_before):
    replica = at_epoch(OURS, AT)
    if refused_before:
        other = log_of("b", 2)
        [asked] = fetches(replica.receive(HeadAnnounced(head_at(other, 2))))
        replica.receive(SnapshotArrived(asked.id, other.snapshot(2)))
        assert replica.stopped == "quarantined"
    damaged = Entity("model", "m1", AT, b'{"n":-1}')
    replica.registry = replica.registry.with_changes({("model", "m1"): damaged})
    [asked] = fetches(replica.receive(EntryArrived(OURS.entries[AT])))
    events: dict[str, Event] = {
        "head": HeadAnnounced(head_at(OURS, 9)),
        "old head": HeadAnnounced(head_at(OURS, AT)),
        "entry": EntryArrived(OURS.entries[AT + 1]),
        "tick": Ticked(0.5),
    }
    for word in words:
        replica.receive(events[word])
        assert replica.state == "quarantined"
    replica.receive(SnapshotArrived(asked.id, OURS.snapshot(9)))
    assert (replica.stopped, replica.position) == (None, OURS.position_at(9))


@given(at=st.integers(2, 9), was_damaged=st.booleans())
def test_a_snapshot_of_the_very_epoch_is_another_history_or_mends_this_memory(at, was_damaged):
    replica = at_epoch(OURS, at)
    if was_damaged:
        replica.registry = replica.registry.with_changes({("model", "m0"): None})
        # Nobody has noticed yet: the digest tells.
        replica.receive(SnapshotArrived(0, OURS.snapshot(at)))
        assert replica.registry.digest == OURS.entries[at - 1].state_digest
        assert replica.stopped is None
        return
    served = replica.registry
    theirs = log_of("a", 0)
    for number in range(8):
        theirs.put("model", f"m{number % 3}", {"of": "another", "n": number})
    replica.receive(SnapshotArrived(0, theirs.snapshot(at)))
    assert (replica.state, replica.registry) == ("forked", served)


@given(
    early=st.integers(0, 3),
    rotated=st.booleans(),
    trust=st.sampled_from([FIRST_CONTACT, PINNED]),
    entries=st.integers(0, 6),
)
def test_a_resync_forgets_all_that_was_believed_but_the_key_that_was_pinned(
    early, rotated, trust, entries
):
    log = log_of("a", 3)
    if rotated:
        log.change_key(SigningKey.of_seed(bytes(32)))
    epoch = log.epoch
    for number in range(5):
        log.put("pool", "p", {"n": number})
    replica = at_epoch(log, epoch, trust=trust)
    # These wait for the one before them.
    for entry in log.entries[epoch + 1 : epoch + 1 + early]:
        replica.receive(EntryArrived(entry))
    key = WRITER_KEY if trust is PINNED else STRANGER
    anew = log_of("a", entries, key=key)
    commands = replica.receive(ResyncAsked())
    # A fetch of before may be under way: what it brings is of the log that was followed.
    for asked in fetches([*commands, *replica.receive(FetchFailed(1, "no"))]):
        replica.receive(SnapshotArrived(asked.id, anew.snapshot(anew.epoch)))
    for asked in fetches(replica.receive(Ticked(100.0))):
        replica.receive(SnapshotArrived(asked.id, anew.snapshot(anew.epoch)))
    assert replica.position == anew.position_at(anew.epoch)
    assert replica.stopped is None and replica.behind == 0


def refused(replica: Replica, other: WrittenLog) -> None:
    """Have a log that does not supersede ours be asked about, and refused."""
    [asked] = fetches(replica.receive(HeadAnnounced(head_at(other, other.epoch))))
    replica.receive(SnapshotArrived(asked.id, other.snapshot(other.epoch)))
    assert replica.state == "quarantined"


@given(st.lists(st.sampled_from([1.0, 31.0]), max_size=5), st.booleans())
def test_a_log_that_was_refused_is_asked_about_again_only_once_ours_has_spoken(pauses, by_snapshot):
    replica, other, now = at_epoch(OURS, AT), log_of("b", 2), 0.0
    refused(replica, other)
    for pause in pauses:
        now += pause
        replica.receive(Ticked(now))
        assert not fetches(replica.receive(HeadAnnounced(head_at(other, other.epoch))))
        assert replica.state == "quarantined"
    if by_snapshot:
        replica.receive(SnapshotArrived(0, OURS.snapshot(9)))
    else:
        replica.receive(HeadAnnounced(head_at(OURS, AT)))
    assert replica.stopped is None
    # It may have been made to supersede ours since.
    assert fetches(replica.receive(HeadAnnounced(head_at(other, other.epoch))))


@given(st.integers(AT + 1, 9), st.booleans())
def test_while_a_stranger_is_refused_our_own_log_goes_on(until, alone):
    replica = at_epoch(OURS, AT)
    refused(replica, log_of("b", 2))
    run = tuple(OURS.entries[AT:until])
    for event in map(EntryArrived, run) if alone else [RangeArrived(0, run)]:
        replica.receive(event)
    assert replica.position == OURS.position_at(until)
    assert replica.registry == OURS.registries[until]


USELESS = ["unsigned snapshot", "older snapshot", "no entries", "entries of before", "failure"]


@pytest.mark.parametrize("kind", USELESS)
@given(times=st.integers(1, 6))
def test_an_answer_of_no_use_is_followed_by_a_pause_that_grows_to_its_bound(kind, times):
    replica, now = at_epoch(OURS, AT), 0.0
    wants_snapshot = "snapshot" in kind
    if wants_snapshot:
        # Below the low water no entries are to be had.
        head = msgspec.structs.replace(head_at(OURS, 9), low_water=8)
    else:
        head = head_at(OURS, 9)
    asked = fetches(replica.receive(HeadAnnounced(head)))
    for number in range(times):
        [fetch] = asked
        pause = min(LIMITS.retry_s * 2**number, LIMITS.retry_max_s)
        commands = replica.receive(_useless(kind, fetch))
        # What was heard of and nobody brought is told once more.
        commands += replica.receive(HeadAnnounced(head))
        now += pause - 0.25
        early = replica.receive(Ticked(now))
        assert not fetches([*commands, *early])
        now += 0.25
        asked = fetches([*replica.receive(Ticked(now)), *replica.receive(HeadAnnounced(head))])
    assert isinstance(asked[0], FetchSnapshot) is wants_snapshot


def _useless(kind: str, fetch: Fetch | FetchSnapshot) -> Event:
    match kind:
        case "unsigned snapshot":
            told = OURS.snapshot(9)
            entry = msgspec.structs.replace(told.entry, signature=None)
            return SnapshotArrived(fetch.id, dataclasses.replace(told, entry=entry))
        case "older snapshot":
            return SnapshotArrived(fetch.id, OURS.snapshot(AT - 1))
        case "no entries":
            return RangeArrived(fetch.id, ())
        case "entries of before":
            return RangeArrived(fetch.id, tuple(OURS.entries[: AT - 1]))
        case _:
            return FetchFailed(fetch.id, "the network")


@given(heard=st.integers(AT, 9), more=st.integers(0, 3))
def test_what_was_heard_of_a_log_that_has_ended_is_not_missed_behind_its_heir(heard, more):
    ours = log_of("a", AT - 1)
    replica = at_epoch(ours, AT)
    lost = head_at(OURS, heard)
    replica.receive(HeadAnnounced(lost))
    heir = log_of("heir", more, base=ours)
    for entry in heir.entries[AT:]:
        replica.receive(EntryArrived(entry))
    assert replica.position == heir.position_at(heir.epoch)
    assert replica.behind == 0


@given(st.integers(AT + 1, 7), st.integers(1, 3), st.booleans())
def test_of_a_log_without_keys_an_entry_of_another_history_is_a_fork_also_inside_a_run(
    at, more, alone
):
    """A log of a release before signatures."""
    ours, theirs = (_unsigned([0] * (AT - 1) + [mark] * 6) for mark in (1, 2))
    replica = Replica(FIRST_CONTACT, LIMITS)
    replica.receive(SnapshotArrived(0, ours.snapshot(AT)))
    assert replica.position == ours.position_at(AT)
    run = (*ours.entries[AT:at], *theirs.entries[at : at + more])
    for event in map(EntryArrived, run) if alone else [RangeArrived(0, run)]:
        replica.receive(event)
    assert (replica.state, replica.position) == ("forked", ours.position_at(at))


def _unsigned(marks: list[int]) -> WrittenLog:
    log = WrittenLog()
    log.entries.clear()
    del log.registries[1:], log.states[1:]
    log.key = _NoKey()  # type: ignore[assignment]
    log.append([Change(kind=ChangeKind.LOG_BEGIN)])
    for number, mark in enumerate(marks):
        log.put("model", f"m{number % 3}", {"mark": mark})
    return log


class _NoKey:
    def signed(self, entry: Entry) -> Entry:
        return entry


@given(fails=st.integers(1, 5))
def test_a_fetch_that_comes_to_nothing_does_not_hide_why_a_replica_stopped(fails):
    replica = at_epoch(OURS, AT)
    head = msgspec.structs.replace(head_at(OURS, AT), digest="0" * 64)
    signature = WRITER_KEY.sign(head.log_id, head.epoch, head.hash, head.digest)
    signed = HeadAnnounced(msgspec.structs.replace(head, signature=signature))
    asked, now = fetches(replica.receive(signed)), 0.0
    why = replica.reason
    assert (replica.stopped, bool(why)) == ("quarantined", True)
    for _ in range(fails):
        [fetch] = asked
        replica.receive(FetchFailed(fetch.id, "nobody answers"))
        assert (replica.stopped, replica.reason) == ("quarantined", why)
        now += LIMITS.retry_max_s
        asked = fetches(replica.receive(Ticked(now)))


@given(times=st.integers(1, 4))
def test_what_stops_a_replica_again_is_told_once(times):
    replica, theirs = at_epoch(OURS, AT), SnapshotArrived(0, log_of("b", 9).snapshot(AT))
    assert replica.receive(theirs) == [Quarantine(replica.reason)]
    for _ in range(times):
        assert replica.receive(theirs) == []


@given(left_out=st.integers(0, 3))
def test_a_snapshot_of_a_newer_release_halts_whatever_it_folds_to_here(left_out):
    replica, whole = at_epoch(OURS, AT), OURS.snapshot(9)
    newer = msgspec.structs.replace(whole.entry, v=ENTRY_VERSION + 1)
    theirs = dataclasses.replace(whole, entry=newer, entities=whole.entities[left_out:])
    replica.receive(SnapshotArrived(0, theirs))
    assert (replica.stopped, replica.position) == ("halted", OURS.position_at(AT))


@given(behind=st.integers(0, AT - 1), speaks=st.integers(1, 4))
def test_a_head_that_no_entry_to_come_can_bear_out_is_a_forgery_at_once(behind, speaks):
    """Each time: to wait for one would let it stand before a head that may be true."""
    replica = at_epoch(OURS, AT)
    theirs = head_at(OURS, AT - behind)
    signature = STRANGER.sign(theirs.log_id, theirs.epoch, theirs.hash, theirs.digest)
    for _ in range(speaks):
        replica.receive(HeadAnnounced(msgspec.structs.replace(theirs, signature=signature)))

    assert replica.forged == speaks
