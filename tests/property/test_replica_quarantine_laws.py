"""Laws of quarantine: what was not believed once is left by a verified snapshot alone."""

import contextlib

from hypothesis import assume, given
from hypothesis import strategies as st

from sie_core.apply import ChangeRefused
from sie_core.registry import Entity
from sie_core.replica.events import EntryArrived, FetchSnapshot, RangeArrived, SnapshotArrived
from sie_core.replica.replica import Replica
from sie_schemas.entry import delete, put
from sie_testing import strategies
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


@given(
    before=st.lists(strategies.change_lists(), min_size=1, max_size=6),
    data=st.data(),
)
def test_memory_that_went_bad_is_noticed_with_the_next_entry_and_made_good_by_a_snapshot(
    before, data
):
    log = WrittenLog()
    for changes in before:
        with contextlib.suppress(ChangeRefused):
            log.append(changes)
    replica = Replica(PINNED)
    replica.receive(SnapshotArrived(0, log.snapshot(log.epoch)))
    here = replica.position
    entities = list(replica.registry)
    assume(entities)
    spoilt = data.draw(st.sampled_from(entities))
    other = Entity(spoilt.kind, spoilt.key, spoilt.modified_epoch, spoilt.document + b" ")
    bad = data.draw(st.sampled_from([None, other]))
    replica.registry = replica.registry.with_changes({(spoilt.kind, spoilt.key): bad})
    of_it = [delete(spoilt.kind, spoilt.key)], [put(spoilt.kind, spoilt.key, {"of": "it"})]
    first = log.epoch
    another = strategies.change_lists()
    for drawn in data.draw(st.lists(st.sampled_from(of_it) | another, min_size=1, max_size=3)):
        with contextlib.suppress(ChangeRefused):
            log.append(drawn)
    run = tuple(log.entries[first:])
    assume(run)
    mended = log.registries[-1].get(spoilt.kind, spoilt.key)

    alone = data.draw(st.booleans())
    events = [EntryArrived(entry) for entry in run] if alone else [RangeArrived(0, run)]
    commands = [command for event in events for command in replica.receive(event)]

    if replica.stopped is None:
        # The entries themselves wrote over what had gone bad.
        assert replica.position == log.position_at(log.epoch)
        assert mended is None or mended.modified_epoch > first
        assert replica.registry.digest == log.entries[-1].state_digest
        return
    assert str(replica.state) == "quarantined"
    assert replica.position is not None
    assert alone or replica.position == here
    [asked] = [command for command in commands if isinstance(command, FetchSnapshot)]
    replica.receive(SnapshotArrived(asked.id, log.snapshot(log.epoch)))
    assert replica.state not in ("quarantined", "forked", "halted")
    assert replica.position == log.position_at(log.epoch)
    assert replica.registry.digest == log.entries[-1].state_digest
