"""The stops of a replica, and the only ways in which it goes on."""

import dataclasses

import msgspec
import pytest

from sie_core.chain import position_of
from sie_core.registry import Registry
from sie_core.replica.events import (
    Advance,
    Command,
    EntryArrived,
    Fetch,
    FetchFailed,
    FetchSnapshot,
    Gone,
    Halt,
    HeadAnnounced,
    Quarantine,
    RangeArrived,
    ReplicaLimits,
    ResyncAsked,
    SnapshotArrived,
    Ticked,
)
from sie_core.replica.replica import Replica
from sie_schemas.entry import Change, build_entry
from sie_schemas.fleet import Head
from sie_testing.signing import PINNED, STRANGER
from sie_testing.written_log import WrittenLog


def log_with(entries: int, name: str = "a", base: WrittenLog | None = None) -> WrittenLog:
    log = WrittenLog(name, base=base)
    for number in range(entries):
        log.put("model", f"m{number}", {"of": name, "n": number})
    return log


def following(
    log: WrittenLog, epoch: int | None = None, limits: ReplicaLimits | None = None
) -> Replica:
    """A replica that is fresh at an epoch, before it has heard of a later one."""
    last = log.entries[(epoch or log.epoch) - 1]
    head = head_with(log, epoch=last.epoch, hash=last.hash, digest=last.state_digest)
    replica = Replica(PINNED, limits)
    replica.receive(Ticked(0.0))
    replica.receive(SnapshotArrived(0, log.snapshot(last.epoch)))
    replica.receive(HeadAnnounced(head))
    return replica


def head_with(log: WrittenLog, **changed) -> Head:
    """The log's head with some fields changed, signed."""
    head = msgspec.structs.replace(log.head, **changed)
    signature = log.key.sign(head.log_id, head.epoch, head.hash, head.digest)
    return msgspec.structs.replace(head, signature=signature)


def only_fetch(commands: list[Command]) -> Fetch | FetchSnapshot:
    """The last command, which must ask for something."""
    command = commands[-1]
    assert isinstance(command, Fetch | FetchSnapshot), commands
    return command


def variant(log: WrittenLog, at: int, **changed):
    """The log's entry at an epoch with some fields changed, and a hash and signature that are right
    for it."""
    fields = msgspec.structs.asdict(log.entries[at - 1])
    for name in ("body", "hash", "v", "signature"):
        del fields[name]
    return log.key.signed(build_entry(**fields | changed))


def test_a_wrong_digest_before_a_broken_link_still_asks_for_a_snapshot():
    log = log_with(3)
    replica = following(log, 1)
    second = variant(log, 2, state_digest="f" * 64, term=1)
    third = variant(log, 3, prev_hash=second.hash, term=0)

    commands = replica.receive(RangeArrived(0, (second, third)))

    assert (replica.state, replica.position) == ("quarantined", position_of(log.entries[0]))
    assert isinstance(only_fetch(commands), FetchSnapshot)


def test_a_second_entry_for_an_applied_epoch_is_a_fork_and_the_old_state_is_served():
    log = log_with(3)
    replica = following(log)

    commands = replica.receive(EntryArrived(variant(log, log.epoch, reason="another")))

    assert [type(command) for command in commands] == [Halt]
    assert replica.state == "forked"
    assert replica.registry.digest == log.entries[-1].state_digest
    log.put("model", "later", {})
    assert replica.receive(EntryArrived(log.entries[-1])) == []
    assert replica.receive(HeadAnnounced(log.head)) == []
    assert replica.position == log.position_at(log.epoch - 1)


def test_an_entry_linked_to_another_history_is_a_fork():
    log = log_with(3)
    replica = following(log, epoch=3)
    other = variant(log, 4, prev_hash="f" * 64)

    replica.receive(EntryArrived(other))

    assert replica.state == "forked"


def test_a_head_with_another_hash_at_our_epoch_is_a_fork():
    log = log_with(2)
    replica = following(log)

    replica.receive(HeadAnnounced(head_with(log, hash="f" * 64)))

    assert replica.state == "forked"


def test_a_forked_replica_follows_a_log_that_supersedes_and_nothing_less():
    log = log_with(3)
    replica = following(log)
    replica.receive(EntryArrived(variant(log, log.epoch, reason="another")))

    assert replica.receive(SnapshotArrived(0, log.snapshot(log.epoch))) == []
    assert replica.state == "forked"

    heir = log_with(1, "heir", base=log)
    replica.receive(SnapshotArrived(0, heir.snapshot(heir.epoch)))

    assert replica.stopped is None
    assert replica.position == heir.position_at(heir.epoch)


def test_an_operators_resync_ends_a_fork():
    log = log_with(3)
    replica = following(log)
    replica.receive(EntryArrived(variant(log, log.epoch, reason="another")))

    asked = only_fetch(replica.receive(ResyncAsked()))
    replica.receive(SnapshotArrived(asked.id, log.snapshot(log.epoch)))

    assert replica.position == log.position_at(log.epoch)
    assert replica.stopped is None


def test_an_unknown_kind_of_change_halts_at_the_entry_before_it():
    log = log_with(2)
    replica = following(log)
    last = log.position_at(log.epoch)
    newer = variant(
        log,
        log.epoch,
        epoch=log.epoch + 1,
        prev_hash=last.hash,
        changes=[Change(kind="rollout.start", key="r")],
    )

    commands = replica.receive(EntryArrived(newer))

    assert [type(command) for command in commands] == [Halt]
    assert "rollout.start" in replica.reason
    assert replica.state == "halted"
    assert replica.position == last
    log.put("model", "later", {})
    assert replica.receive(SnapshotArrived(0, log.snapshot(log.epoch))) == []


def test_what_nobody_signed_in_the_place_of_the_writers_next_entry_is_fetched_anew():
    log = log_with(3)
    replica = following(log, epoch=2)
    forged = log.continued_by(STRANGER)
    del forged.entries[2:], forged.registries[3:], forged.states[3:]
    theirs = msgspec.structs.replace(forged.put("pool", "p", {}), signature=None)

    assert [type(one) for one in replica.receive(EntryArrived(theirs))] == [Fetch]
    asked = Fetch(1, log.log_id, 2, 4)
    replica.receive(EntryArrived(log.entries[3]))

    assert replica.stopped is None, replica.reason
    assert replica.position == log.position_at(2)
    replica.receive(RangeArrived(asked.id, tuple(log.entries[2:])))
    assert replica.position == log.position_at(4)


def test_a_wrong_digest_quarantines_and_a_verified_snapshot_ends_it():
    log = log_with(2)
    replica = following(log, epoch=2)
    lying = variant(log, 3, state_digest="0" * 64)

    commands = replica.receive(EntryArrived(lying))

    assert [type(command) for command in commands] == [Quarantine, FetchSnapshot]
    assert replica.position == log.position_at(2)
    assert replica.registry.digest == log.entries[1].state_digest
    replica.receive(SnapshotArrived(only_fetch(commands).id, log.snapshot(3)))
    assert replica.stopped is None
    assert replica.position == log.position_at(3)


def test_a_damaged_registry_in_memory_is_noticed_at_the_next_head_and_replaced():
    log = log_with(2)
    replica = following(log)
    replica.registry = Registry.EMPTY
    assert replica.position is not None
    replica.position = msgspec.structs.replace(replica.position, digest=Registry.EMPTY.digest)

    commands = replica.receive(HeadAnnounced(log.head))
    replica.receive(SnapshotArrived(only_fetch(commands).id, log.snapshot(log.epoch)))

    assert replica.registry.digest == log.entries[-1].state_digest


def test_a_snapshot_that_is_not_its_digests_is_not_served():
    log = log_with(3)
    bad = dataclasses.replace(log.snapshot(log.epoch), entities=log.snapshot(2).entities)
    replica = Replica(PINNED)

    replica.receive(SnapshotArrived(0, bad))

    assert replica.state == "quarantined"
    assert replica.position is None
    replica.receive(SnapshotArrived(0, log.snapshot(log.epoch)))
    assert replica.position == log.position_at(log.epoch)


def test_a_log_that_does_not_supersede_is_refused_and_ours_is_followed_on():
    log, stranger = log_with(3), log_with(5, "stranger")
    replica = following(log)

    asked = only_fetch(replica.receive(HeadAnnounced(stranger.head)))
    replica.receive(SnapshotArrived(asked.id, stranger.snapshot(stranger.epoch)))

    assert replica.state == "quarantined"
    assert replica.position == log.position_at(log.epoch)
    assert replica.receive(HeadAnnounced(stranger.head)) == [], "it asks a stranger only once"
    entry = log.put("model", "more", {})
    replica.receive(HeadAnnounced(log.head))
    replica.receive(EntryArrived(entry))
    assert replica.position == log.position_at(log.epoch)
    assert replica.stopped is None


def test_a_log_that_supersedes_ours_through_a_chain_is_followed():
    log = log_with(3)
    heir = log_with(2, "heir", base=log)
    heirs_heir = log_with(2, "heirs heir", base=heir)
    replica = following(log, epoch=2)

    asked = only_fetch(replica.receive(HeadAnnounced(heirs_heir.head)))
    replica.receive(SnapshotArrived(asked.id, heirs_heir.snapshot(heirs_heir.epoch)))

    assert replica.position == heirs_heir.position_at(heirs_heir.epoch)


def test_a_superseding_log_is_followed_entry_by_entry_too():
    log = log_with(3)
    replica = following(log)
    heir = log_with(2, "heir", base=log)

    for entry in heir.entries[log.epoch :]:
        replica.receive(EntryArrived(entry))

    assert replica.position == heir.position_at(heir.epoch)


def test_a_log_that_supersedes_another_history_of_ours_is_refused():
    log = log_with(3)
    twin = WrittenLog("a")
    for number in range(3):
        twin.put("model", f"m{number}", {"another": "history"})
    heir = log_with(1, "heir", base=twin)
    replica = following(log)

    asked = only_fetch(replica.receive(HeadAnnounced(heir.head)))
    replica.receive(SnapshotArrived(asked.id, heir.snapshot(heir.epoch)))

    assert replica.state == "quarantined"
    assert "another history" in replica.reason


def test_a_replica_ahead_of_its_writer_never_goes_back():
    log = log_with(5)
    replica = following(log)
    behind = head_with(log, epoch=3, hash=log.entries[2].hash, digest=log.entries[2].state_digest)

    assert replica.receive(HeadAnnounced(behind)) == []
    replica.receive(SnapshotArrived(0, log.snapshot(3)))

    assert replica.position == log.position_at(log.epoch)


def test_an_announcement_that_nothing_bears_out_costs_one_fetch_and_no_storm():
    log = log_with(2)
    replica = following(log)
    lying = head_with(log, epoch=10**9, hash="f" * 64)

    asked = only_fetch(replica.receive(HeadAnnounced(lying)))
    assert isinstance(asked, FetchSnapshot)

    assert replica.receive(SnapshotArrived(asked.id, log.snapshot(log.epoch))) == []
    assert replica.behind == 0


def test_failed_fetches_are_paced_with_growing_pauses():
    log = log_with(1)
    replica = Replica(PINNED, ReplicaLimits(retry_s=1.0, retry_max_s=4.0))
    replica.receive(Ticked(0.0))
    asked = only_fetch(replica.receive(HeadAnnounced(log.head)))
    waits = []
    now = 0.0
    for _ in range(5):
        replica.receive(FetchFailed(asked.id, "no route"))
        failed_at = now
        commands: list[Command] = []
        while not commands:
            now += 0.5
            commands = replica.receive(Ticked(now))
        asked = only_fetch(commands)
        waits.append(now - failed_at)

    assert waits == [1.0, 2.0, 4.0, 4.0, 4.0]
    assert replica.reason == "no route"


def test_gone_leads_to_a_snapshot():
    log = log_with(4)
    replica = following(log, epoch=2)
    asked = only_fetch(replica.receive(HeadAnnounced(log.head)))
    assert isinstance(asked, Fetch)

    again = only_fetch(replica.receive(Gone(asked.id)))

    assert isinstance(again, FetchSnapshot)
    (advance,) = replica.receive(SnapshotArrived(again.id, log.snapshot(log.epoch)))
    assert isinstance(advance, Advance)


def test_who_asks_for_a_snapshot_says_why():
    log, stranger = log_with(5), log_with(2, "stranger")
    head, near = log.head, ReplicaLimits(delta_entries_max=2)
    trimmed = msgspec.structs.replace(head, low_water=4)
    behind = following(log, 2)
    fetch = only_fetch(behind.receive(HeadAnnounced(head)))
    another = head_with(log, digest="0" * 64)
    lying = variant(log, 3, state_digest="0" * 64)
    odd = variant(log, 3, changes=[Change(kind="log.begin")])
    asked = {
        "boot": Replica(PINNED).receive(HeadAnnounced(head)),
        "far behind": following(log, 2, near).receive(HeadAnnounced(head)),
        "below low water": following(log, 2).receive(HeadAnnounced(trimmed)),
        "gone": behind.receive(Gone(fetch.id)),
        "digest": following(log, 2).receive(EntryArrived(lying)),
        "digest of the head": following(log).receive(HeadAnnounced(another)),
        "chain": following(log, 2).receive(EntryArrived(odd)),
        "log": following(log).receive(HeadAnnounced(stranger.head)),
        "resync": following(log).receive(ResyncAsked()),
    }
    for cause, commands in asked.items():
        snapshot = only_fetch(commands)
        assert isinstance(snapshot, FetchSnapshot), cause
        # The first word is what the metric counts by.
        assert snapshot.reason.partition(" ")[0] == cause.partition(" ")[0]


def test_a_whole_log_is_an_answer_to_the_first_snapshot_request():
    log = log_with(3)
    replica = Replica(PINNED)
    asked = only_fetch(replica.receive(HeadAnnounced(log.head)))

    replica.receive(RangeArrived(asked.id, tuple(log.entries)))

    assert replica.position == log.position_at(log.epoch)
    assert replica.receive(Ticked(100.0)) == []


@pytest.mark.parametrize(("silence", "state"), [(5.0, "fresh"), (15.0, "stale")])
def test_silence_makes_a_replica_stale(silence, state):
    replica = Replica(PINNED, ReplicaLimits(stale_after_s=10.0))
    log = log_with(1)
    replica.receive(Ticked(0.0))
    replica.receive(SnapshotArrived(0, log.snapshot(log.epoch)))
    assert replica.state == "stale"
    replica.receive(HeadAnnounced(log.head))

    replica.receive(Ticked(silence))

    assert replica.state == state


def test_a_registry_that_lost_what_an_entry_deletes_is_asked_for_anew_wherever_that_stands():
    for before in range(3):
        ahead = log_with(3)
        ahead.put("model", "lost", {})
        replica, here = following(ahead), ahead.epoch
        replica.registry = replica.registry.with_changes({("model", "lost"): None})
        for number in range(before):
            ahead.put("pool", f"p{number}", {})
        ahead.delete("model", "lost")

        commands = replica.receive(RangeArrived(0, tuple(ahead.entries[here:])))
        replica.receive(SnapshotArrived(only_fetch(commands).id, ahead.snapshot(ahead.epoch)))

        assert (replica.stopped, replica.position) == (None, ahead.position_at(ahead.epoch))
