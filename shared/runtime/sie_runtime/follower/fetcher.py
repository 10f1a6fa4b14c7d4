"""The fetches that a replica asked for, carried out over HTTP or from the stream.

*shell.* One after the other, in a task of their own, so that entries go on arriving meanwhile. Each
ends in one event of its id, also where nothing came of it.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from prometheus_client import Counter

from sie_core.replica.events import (
    Event,
    Fetch,
    FetchFailed,
    FetchSnapshot,
    Gone,
    RangeArrived,
    SnapshotArrived,
)
from sie_runtime.broker.bus import Bus
from sie_runtime.follower.log_source import LogSource, RangeGone, SourceFailed
from sie_runtime.follower.settings import FollowerSettings

__all__ = ["Fetcher", "source_of"]

_SNAPSHOTS = Counter("sie_replica_snapshots_total", "Snapshots asked for, by reason.", ["reason"])
_SNAPSHOTS.labels("boot")  # At 0: a replica that finds its files asks for none.
_FETCHES = Counter("sie_replica_fetches_total", "Fetches that ended, by outcome.", ["outcome"])


class Fetcher:
    """Owner: a follower, which runs it in a task and closes the source after it."""

    def __init__(self, source: LogSource, *, put: Callable[[Event], None]) -> None:
        self._source = source
        self._put = put
        # The replica has at most one fetch in flight, so this never holds more than two.
        self._wanted: Final[asyncio.Queue[Fetch | FetchSnapshot]] = asyncio.Queue()

    def want(self, command: Fetch | FetchSnapshot) -> None:
        """Have it carried out after the one before it. Returns at once."""
        self._wanted.put_nowait(command)

    async def run(self, stopping: asyncio.Event) -> None:
        """Carry out what is wanted. `stopping` ends it after a fetch; while it waits, its owner."""
        while not stopping.is_set():
            command = await self._wanted.get()
            event: Event
            try:
                event = await self._fetched(command)
            except SourceFailed as error:
                event = FetchFailed(command.id, str(error))
            except RangeGone:
                event = Gone(command.id)
            _FETCHES.labels(type(event).__name__).inc()
            self._put(event)

    async def _fetched(self, command: Fetch | FetchSnapshot) -> Event:
        if isinstance(command, Fetch):
            entries = await self._source.entries(command.log_id, command.after, command.until)
            return RangeArrived(command.id, entries)
        # The first word alone: what follows differs each time, and would be a series each time.
        _SNAPSHOTS.labels(command.reason.partition(" ")[0]).inc()
        try:
            snapshot = await self._source.snapshot()
        except SourceFailed as error:
            # A replica that has a state goes on with it; one that has none serves nobody, and the
            # broker may have the whole log while sie-config is down.
            if command.reason != "boot":
                raise
            try:
                return RangeArrived(command.id, await self._source.whole_log_from_stream())
            except SourceFailed:
                # Why the writer gave none is told: the stream was a second way.
                raise error from None
        return SnapshotArrived(command.id, snapshot)


def source_of(settings: FollowerSettings, bus: Bus) -> LogSource:
    """The writer and the stream, as settings name them."""
    return LogSource(
        settings.config_url,
        bus,
        timeout_s=settings.replica_fetch_timeout_s,
        page_entries=settings.replica_page_entries,
        token=settings.config_token,
        tls=settings,
    )
