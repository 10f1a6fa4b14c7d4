"""Somebody else's log on the same bus: it is asked about once, and nothing of it is believed."""

from dataclasses import replace

import msgspec

from sie_core.replica.events import (
    Command,
    FetchSnapshot,
    HeadAnnounced,
    ReplicaLimits,
    SnapshotArrived,
    Ticked,
)
from sie_core.replica.replica import Replica
from sie_testing.signing import PINNED
from sie_testing.written_log import WrittenLog


def followed() -> tuple[Replica, WrittenLog]:
    log = WrittenLog()
    log.put("model", "m", {})
    replica = Replica(PINNED, ReplicaLimits(other_log_s=30.0))
    replica.receive(SnapshotArrived(0, log.snapshot(2)))
    return replica, log


def stranger_head():
    other = WrittenLog("other")
    return msgspec.structs.replace(other.head, epoch=10**9, low_water=10**8)


def answered_by_own_writer(replica: Replica, log: WrittenLog, commands: list[Command]) -> None:
    for command in commands:
        assert isinstance(command, FetchSnapshot)
        replica.receive(SnapshotArrived(command.id, log.snapshot(log.epoch)))


def test_a_strangers_heads_cost_one_snapshot_in_half_a_minute_and_not_one_a_second():
    replica, log = followed()
    asked = 0
    for second in range(100):
        replica.receive(Ticked(float(second)))
        commands = replica.receive(HeadAnnounced(stranger_head()))
        asked += len(commands)
        answered_by_own_writer(replica, log, commands)

    assert asked == 4
    assert replica.stopped is None
    assert replica.behind == 0


def test_a_strangers_head_does_not_make_a_silent_writer_look_alive():
    replica, log = followed()
    replica.receive(HeadAnnounced(log.head))
    states = [replica.state]
    for second in range(60):
        replica.receive(Ticked(float(second)))
        commands = replica.receive(HeadAnnounced(stranger_head()))
        answered_by_own_writer(replica, log, commands)

    assert [*states, replica.state] == ["fresh", "stale"]


def test_a_stranger_that_supersedes_our_log_after_all_is_followed_when_asked_about_again():
    replica, log = followed()
    heir = WrittenLog("heir", base=log)
    answered_by_own_writer(replica, log, replica.receive(HeadAnnounced(heir.head)))
    assert replica.receive(HeadAnnounced(heir.head)) == []

    replica.receive(Ticked(31.0))
    [command] = replica.receive(HeadAnnounced(heir.head))
    assert isinstance(command, FetchSnapshot)
    replica.receive(SnapshotArrived(command.id, heir.snapshot(heir.epoch)))

    assert replica.position == heir.position_at(heir.epoch)


def test_a_log_that_supersedes_ours_and_is_not_signed_yet_is_asked_about_again():
    replica, log = followed()
    heir = WrittenLog("heir", base=log)
    [command] = replica.receive(HeadAnnounced(heir.head))
    assert isinstance(command, FetchSnapshot)
    signed = heir.snapshot(heir.epoch)
    entry = msgspec.structs.replace(signed.entry, signature=None)
    replica.receive(SnapshotArrived(command.id, replace(signed, entry=entry)))
    stopped = [replica.stopped]
    assert replica.receive(HeadAnnounced(heir.head)) == []

    replica.receive(Ticked(31.0))
    [command] = replica.receive(HeadAnnounced(heir.head))
    assert isinstance(command, FetchSnapshot)
    replica.receive(SnapshotArrived(command.id, signed))

    assert [*stopped, replica.stopped] == ["quarantined", None]
    assert replica.position == heir.position_at(heir.epoch)
