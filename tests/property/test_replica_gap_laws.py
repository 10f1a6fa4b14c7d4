"""Laws of a gap: a replica that knows of one asks, however busy the stream is beside it.

Once each run of entries that could not be applied began the pause after a failed fetch anew: under
steady writes a replica below the low water, or one that had lost a delta, never asked again.
"""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sie_core.replica.events import (
    Command,
    EntryArrived,
    Event,
    Fetch,
    FetchFailed,
    FetchSnapshot,
    HeadAnnounced,
    RangeArrived,
    ReplicaLimits,
    SnapshotArrived,
    Ticked,
)
from sie_core.replica.replica import Replica
from sie_testing.signing import PINNED
from sie_testing.written_log import WrittenLog

ENTRIES = 60
LOG = WrittenLog()
for number in range(ENTRIES):
    LOG.put("model", f"m{number}", {"number": number})
LIMITS = ReplicaLimits(retry_s=0.2, retry_max_s=2.0)

RUNS = st.lists(st.tuples(st.booleans(), st.integers(1, 3)), min_size=1, max_size=30)
"""Pairs: true if what comes next comes as a run, and the number of its entries."""


def begun(at: int) -> Replica:
    replica = Replica(PINNED, LIMITS)
    replica.receive(Ticked(0.0))
    replica.receive(SnapshotArrived(0, LOG.snapshot(at)))
    return replica


def streamed(first: int, runs: list[tuple[bool, int]]) -> list[Event]:
    """Entries from an epoch on, as a feed brings them."""
    events: list[Event] = []
    for together, size in runs:
        some = tuple(LOG.entries[first - 1 : first - 1 + size])
        first += size
        if together and some:
            events.append(RangeArrived(0, some))
        else:
            events += [EntryArrived(entry) for entry in some]
    return events


def asked(commands: list[Command]) -> list[Fetch | FetchSnapshot]:
    return [command for command in commands if isinstance(command, Fetch | FetchSnapshot)]


@given(at=st.integers(2, 20), lost=st.integers(1, 5), runs=RUNS)
def test_a_gap_is_asked_about_with_the_first_entry_that_shows_it(at, lost, runs):
    replica = begun(at)

    first, *others = streamed(at + lost + 1, runs)

    assert len(asked(replica.receive(first))) == 1
    assert all(not asked(replica.receive(event)) for event in others)


@given(at=st.integers(2, 20), lost=st.integers(1, 5), runs=RUNS, failures=st.integers(1, 8))
def test_what_streams_meanwhile_makes_no_pause_longer(at, lost, runs, failures):
    replica = begun(at)
    now = 0.0
    wanted = asked(replica.receive(streamed(at + lost + 1, runs)[0]))
    for _ in range(failures):
        assert len(wanted) == 1
        replica.receive(FetchFailed(wanted[0].id, "no answer"))
        ends_at, wanted = now + LIMITS.retry_max_s, []
        while not wanted and now <= ends_at:
            now += 0.1
            wanted = asked(replica.receive(Ticked(now)))
            for event in streamed(at + lost + 1, runs):
                wanted += asked(replica.receive(event))


@given(at=st.integers(2, 20), above=st.integers(2, 20), runs=RUNS)
def test_below_the_low_water_a_busy_stream_holds_up_no_snapshot(at, above, runs):
    replica = begun(at)
    low_water = at + above
    commands: list[Command] = []
    for event in streamed(low_water, runs):
        commands += replica.receive(event)
    fetched = asked(commands)
    # Before a head told of the low water, entries are asked for, and the broker has them no more.
    for fetch in fetched:
        replica.receive(RangeArrived(fetch.id, ()))
    commands = replica.receive(HeadAnnounced(replace(LOG.head, low_water=low_water)))
    now = 0.0
    while not (snapshots := [c for c in asked(commands) if isinstance(c, FetchSnapshot)]):
        now += 0.1
        assert now < LIMITS.retry_max_s
        commands = replica.receive(Ticked(now))
        for event in streamed(low_water, runs):
            commands += replica.receive(event)

    replica.receive(SnapshotArrived(snapshots[0].id, LOG.snapshot(LOG.epoch)))

    assert replica.position == LOG.position_at(LOG.epoch)
