"""A follower, one step at a time: the real replica, and what it keeps on its disk.

*shell.* Carries out commands as the driver of production does, except that a fetch becomes a
message which the machine's adversary holds. Each advance is judged by the truth.
"""

from typing import Final, Literal

import msgspec

from sie_core.apply import SPEAKS
from sie_core.chain import Position
from sie_core.registry import Registry
from sie_core.replica.events import (
    Advance,
    Event,
    Fetch,
    FetchSnapshot,
    Halt,
    Quarantine,
    RangeArrived,
    ReplicaLimits,
    SnapshotArrived,
)
from sie_core.replica.replica import Replica
from sie_schemas.entry import Entry
from sie_schemas.fleet import ReplicaReport
from sie_schemas.signature import Signature
from sie_schemas.snapshot import Snapshot
from sie_testing.signing import FIRST_CONTACT
from sie_testing.simulation.truth import Truth

__all__ = ["FollowerNode"]

LIMITS: Final = ReplicaLimits(
    buffer_entries_max=4, delta_entries_max=5, digest_every=2, retry_s=1.0, retry_max_s=4.0
)


class FollowerNode:
    """One replica and its disk, through all its lives. Owner: the machine."""

    def __init__(self, name: str, role: Literal["gateway", "worker"], truth: Truth) -> None:
        self.name: Final = name
        self._role: Literal["gateway", "worker"] = role
        self._truth = truth
        self.replica = Replica(FIRST_CONTACT, LIMITS)
        self.registry = Registry.EMPTY
        self.kept_snapshot: Snapshot | None = None
        self.kept_entries: list[Entry] = []
        self.asked: list[Fetch | FetchSnapshot] = []
        self.bus_connected = True
        self.http_connected = True
        self._signature: Signature | None = None
        self._spoilt = False

    @property
    def position(self) -> Position | None:
        """The position that it serves."""
        return self.replica.position

    def receive(self, event: Event) -> None:
        """Let the replica have an event, and do what it commands."""
        served = self.replica.position
        for command in self.replica.receive(event):
            match command:
                case Advance(registry, position, entries, snapshot):
                    if self._spoilt and served == position:
                        # What had gone bad in memory is replaced: that is no way back.
                        served = None
                    self._spoilt = False
                    self._truth.served(self.name, served, position, registry)
                    self.registry, served = registry, position
                    self._keep(entries, snapshot)
                    last = entries[-1] if snapshot is None else snapshot.entry
                    self._signature = last.signature
                case Fetch() | FetchSnapshot():
                    assert not self.asked, f"{self.name} has two fetches in flight"
                    self.asked.append(command)
                case Quarantine() | Halt():
                    pass

    def spoil(self, registry: Registry) -> None:
        """Put another registry into its memory, under the position that it stands at."""
        self._spoilt = True
        self.replica.registry = registry

    def restart(self, *, with_files: bool) -> None:
        """Another life: from its files, or from nothing."""
        snapshot, entries = self.kept_snapshot, self.kept_entries
        self.replica, self.asked = Replica(FIRST_CONTACT, LIMITS), []
        self.kept_snapshot, self.kept_entries = None, []
        if not with_files:
            self.registry = Registry.EMPTY
            return
        if snapshot is not None:
            self.receive(SnapshotArrived(0, snapshot))
        if entries:
            self.receive(RangeArrived(0, tuple(entries)))

    def report(self) -> bytes:
        """Its report on the bus."""
        here = self.position
        report = ReplicaReport(
            role=self._role,
            id=self.name,
            log_id=here.log_id if here else "",
            epoch=here.epoch if here else 0,
            hash=here.hash if here else "",
            digest=here.digest if here else "",
            received=self.replica.received,
            state=self.replica.state,
            speaks=SPEAKS,
            signature=self._signature,
        )
        return msgspec.json.encode(report)

    def _keep(self, entries: tuple[Entry, ...], snapshot: Snapshot | None) -> None:
        if snapshot is not None:
            self.kept_snapshot, self.kept_entries = snapshot, []
        else:
            self.kept_entries += entries
