"""Entries that came before their turn, until they follow and somebody vouches for them.

*pure.* Promises a bounded number of them, one for each epoch, and that what is taken out is linked
and covered by the trusted signature. A later entry of an epoch takes the place of an earlier one:
what a fetch brings displaces what a stranger sent.
"""

from sie_core.trust import Trust
from sie_schemas.entry import Entry

__all__ = ["EarlyEntries"]


class EarlyEntries:
    """Owner: a replica."""

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._kept: dict[int, Entry] = {}

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def is_full(self) -> bool:
        """True if it holds as many as it may."""
        return len(self._kept) >= self._entries_max

    @property
    def last(self) -> int:
        """The newest epoch; 0 for none."""
        return max(self._kept, default=0)

    def keep(self, entry: Entry) -> None:
        """Keep an entry; its owner has seen that it is near enough."""
        self._kept[entry.epoch] = entry

    def keep_linked(self, entry: Entry) -> None:
        """Keep what begins a chain, or goes on where one that is kept ends."""
        before = self._kept.get(entry.epoch - 1)
        linked = before is not None and before.hash == entry.prev_hash
        # Bounded before there is a state, too: else whoever writes a stream fills the memory of a
        # replica that begins.
        if entry.epoch == 1 or (linked and entry.epoch <= self._entries_max):
            self.keep(entry)

    def take_covered(self, first: int, trust: Trust) -> tuple[list[Entry], int]:
        """Take out what follows from epoch `first` on, as far as it is vouched for.

        What bears a wrong signature is dropped; the second value says how many did.
        """
        run: list[Entry] = []
        while (entry := self._kept.get(first + len(run))) is not None:
            if run and entry.prev_hash != run[-1].hash and trust.public is not None:
                # Whoever vouches for this one does not vouch for those.
                break
            run.append(entry)
        coverage = trust.covered(run)
        for forged in coverage.forged:
            del self._kept[forged.epoch]
        covered = run[: coverage.count]
        for entry in covered:
            del self._kept[entry.epoch]
        return covered, len(coverage.forged)

    def forget(self, until: int) -> None:
        """Drop what is not after an epoch."""
        if self._kept:
            self._kept = {epoch: one for epoch, one in self._kept.items() if epoch > until}

    def clear(self) -> None:
        """Drop all."""
        self._kept.clear()
