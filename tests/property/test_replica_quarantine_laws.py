"""Laws of quarantine: what was not believed once is left by a verified snapshot alone."""

from hypothesis import given
from hypothesis import strategies as st

from sie_core.registry import Entity
from sie_core.replica import Replica
from sie_core.replica_events import EntryArrived, RangeArrived, SnapshotArrived
from sie_testing.signing import PINNED
from sie_testing.written_log import WrittenLog

AT = 12


def written() -> WrittenLog:
    """A log whose later entries write over every entity of the earlier ones."""
    log = WrittenLog()
    for number in range(3 * AT):
        log.put("model", f"m{number % 4}", {"number": number})
    return log


LOG = written()


NEXT = LOG.entries[AT].changes[0].key


def quarantined(key: str) -> Replica:
    """A replica whose memory lost an entity, and that has noticed with the next entry."""
    replica = Replica(PINNED)
    replica.receive(SnapshotArrived(0, LOG.snapshot(AT)))
    damaged = Entity("model", key, AT, b'{"number":-1}')
    replica.registry = replica.registry.with_changes({("model", key): damaged})
    replica.receive(EntryArrived(LOG.entries[AT]))
    assert replica.state == "quarantined"
    return replica


@given(
    key=st.sampled_from(sorted({"m0", "m1", "m2", "m3"} - {NEXT})),
    sizes=st.lists(st.integers(1, 5), max_size=6),
    alone=st.booleans(),
    at=st.integers(AT, LOG.epoch),
)
def test_entries_move_no_replica_that_is_quarantined_and_a_snapshot_does(key, sizes, alone, at):
    replica = quarantined(key)
    here, first = replica.position, AT + 1
    for size in sizes:
        run = tuple(LOG.entries[first - 1 : first - 1 + size])
        first += size
        for event in map(EntryArrived, run) if alone else [RangeArrived(0, run)] if run else []:
            replica.receive(event)
        assert (replica.state, replica.position) == ("quarantined", here)

    replica.receive(SnapshotArrived(0, LOG.snapshot(at)))

    assert replica.stopped is None
    assert replica.position is not None
    assert replica.registry.digest == LOG.entries[replica.position.epoch - 1].state_digest
