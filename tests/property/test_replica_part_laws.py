"""Laws of a replica's parts: what it asks for and when, what it holds early, what it keeps."""

from types import SimpleNamespace
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sie_core.chain import Position, position_of
from sie_core.replica.early_entries import EarlyEntries
from sie_core.replica.events import Fetch, FetchSnapshot
from sie_core.replica.fetches import ReplicaFetches
from sie_core.replica.snapshots import refusal, why_snapshot
from sie_core.trust import Trust
from sie_runtime.follower.replica_files import ReplicaFiles
from sie_runtime.signing import verify
from sie_schemas.fleet import Head
from sie_testing.signing import STRANGER, WRITER_KEY
from sie_testing.written_log import WrittenLog


@given(
    epoch=st.integers(1, 9),
    behind=st.integers(-2, 6),
    mark=st.none() | st.integers(-2, 4),
    delta_max=st.integers(1, 4),
)
def test_entries_are_asked_for_where_they_are_few_enough_and_all_still_served(
    epoch, behind, mark, delta_max
):
    received, low_water = epoch + behind, None if mark is None else epoch + mark
    here = cast("Position", SimpleNamespace(epoch=epoch))
    head = None if low_water is None else cast("Head", SimpleNamespace(low_water=low_water))
    missing = range(epoch + 1, received + 1)
    is_far = len(missing) > delta_max
    is_gone = bool(missing) and low_water is not None and missing[0] < low_water
    expected = "far behind" if is_far else "below low water" if is_gone else ""
    assert why_snapshot(here, head, received, delta_max) == expected


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "want", "answer", "late", "fail", "succeed"]), st.floats(0, 3)
    ),
    max_size=30,
)


def wanted(fetches: ReplicaFetches, reason: str, now: float, ids: list[int]) -> int | None:
    """Want a snapshot; gives the id of the fetch if it was asked for at once."""
    may = fetches.may_ask(now)
    asked = fetches.ask_snapshot(reason, now)
    # It stays wanted until one has come, and the newest reason is told.
    assert (fetches.wanted_snapshot, len(asked)) == (reason, may)
    for snapshot in asked:
        assert isinstance(snapshot, FetchSnapshot)
        assert (snapshot.reason, snapshot.id in ids) == (reason, False)
        ids.append(snapshot.id)
    return ids[-1] if asked else None


@given(STEPS, st.floats(0.1, 1), st.floats(1, 5))
def test_one_fetch_is_under_way_and_each_that_failed_has_a_longer_pause_up_to_a_bound(
    steps, retry_s, most_s
):
    fetches = ReplicaFetches(retry_s=retry_s, retry_max_s=most_s)
    after = cast("Position", SimpleNamespace(log_id="l", epoch=1))
    now, free_at, failures = 0.0, 0.0, 0
    under_way: int | None = None
    ids: list[int] = []
    reason = ""
    for what, pause_s in steps:
        now += pause_s
        assert fetches.idle is (under_way is None and not reason)
        assert fetches.may_ask(now) is (under_way is None and now >= free_at)
        if what == "ask" and fetches.may_ask(now):
            [command] = fetches.ask_entries(after, 9)
            assert isinstance(command, Fetch)
            assert command.id not in ids
            assert (fetches.asked_after, command.after, command.until) == (1, 1, 9)
            under_way = command.id
            ids.append(command.id)
        elif what == "want":
            reason = f"for the {len(ids)}th time"
            under_way = wanted(fetches, reason, now, ids) or under_way
        elif what == "answer" and under_way is not None:
            assert fetches.ended(under_way)
            under_way = None
        elif what == "late":
            assert not any(map(fetches.ended, {0, *ids} - {under_way}))
        elif what == "fail":
            fetches.pause(now)
            free_at = now + min(retry_s * 2**failures, most_s)
            failures = min(failures + 1, 16)
        elif what == "succeed":
            fetches.succeeded()
            failures = 0


SIGNED = st.lists(st.sampled_from(["well", "not", "by a stranger"]), min_size=1, max_size=6)


@given(SIGNED)
def test_early_entries_go_in_up_to_the_last_that_is_signed_and_no_forged_one_stays(signed):
    log = WrittenLog()
    for _ in signed:
        log.put("pool", "p", {"name": "p", "machine_profiles": ["cpu"]})
    trust = Trust(verify, WRITER_KEY.public)
    early = EarlyEntries(100)
    offered = log.entries[1:]
    for how, entry in zip(signed, offered, strict=True):
        forged = STRANGER.signed(entry).signature
        signature = {"well": entry.signature, "not": None, "by a stranger": forged}[how]
        early.keep(replace(entry, signature=signature))
    count = max((place + 1 for place, how in enumerate(signed) if how == "well"), default=0)
    behind = signed[count:]

    covered, forged_count = early.take_covered(2, trust)
    assert [entry.hash for entry in covered] == [entry.hash for entry in offered[:count]]
    assert forged_count == behind.count("by a stranger")
    assert len(early) == behind.count("not")
    assert early.take_covered(2 + count, trust) == ([], 0)


@given(lengths=st.lists(st.integers(0, 2), min_size=1, max_size=3))
@settings(max_examples=15)
def test_the_snapshot_that_was_taken_is_the_one_that_is_kept_with_all_its_lineage(
    tmp_path_factory, lengths
):
    folder = tmp_path_factory.mktemp("replica")
    files = ReplicaFiles(folder, tail_entries_min=1000)
    log: WrittenLog | None = None
    for number, length in enumerate(lengths):
        log = WrittenLog(f"log {number}", base=log)
        for _ in range(length):
            log.put("pool", "p", {"name": "p", "machine_profiles": ["cpu"]})
        files.took_snapshot(log.snapshot(log.epoch), log.registries[-1])
    files.close()
    assert log is not None
    taken, (kept, tail) = log.snapshot(log.epoch), ReplicaFiles(folder, tail_entries_min=9).load()
    assert kept is not None
    assert kept.entry.hash == taken.entry.hash
    assert [each.hash for each in kept.lineage] == [each.hash for each in taken.lineage]
    assert tail == ()


@given(entries=st.integers(1, 12), most=st.integers(1, 8))
def test_before_a_first_snapshot_no_more_is_kept_than_there_is_room_for(entries, most):
    log = WrittenLog()
    for number in range(entries):
        log.put("model", "m", {"n": number})
    early = EarlyEntries(most)
    for entry in log.entries:
        early.keep_linked(entry)
    assert len(early) == min(most, len(log.entries))


@given(at=st.integers(1, 6), here=st.integers(1, 8), is_other=st.booleans(), is_ours=st.booleans())
def test_an_heir_is_followed_but_from_another_history_of_the_very_epoch_that_it_supersedes(
    at, here, is_other, is_ours
):
    log = WrittenLog("a")
    for number in range(8):
        log.put("model", "m", {"n": number})
    base = WrittenLog("a" if is_ours else "c")
    for number in range(at):
        base.put("model", "m", {"n": number})
    heir = WrittenLog("b", base=base)
    older = next(change.supersedes for change in heir.entries[-1].changes if change.supersedes)
    mine = replace(
        position_of(log.entries[0]),
        log_id=log.entries[0].log_id,
        epoch=older.epoch + here - at,
        hash="f" * 64 if is_other else older.hash,
    )
    is_refused = not is_ours or (here == at and is_other)
    assert bool(refusal(heir.snapshot(heir.epoch), mine)) == is_refused
