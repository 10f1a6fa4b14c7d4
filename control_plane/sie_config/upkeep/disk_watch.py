"""The watch on the disk: what lies beside the log is kept, and a disk that failed ends the process.

*shell.* One loop that looks now and then, so that no write waits for it. Promises:

- The head file is not written while it is evidence.
- A writer whose files were replaced stops although nobody writes.
- A process whose disk failed goes on serving reads until the disk takes writes again: only then can
  a fresh one do better.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from sie_config.log.head_file import HeadFile
from sie_config.log.storage_faults import StorageFailed, StorageFull
from sie_config.log.store import Store
from sie_config.upkeep.checkpoint_keeper import CheckpointKeeper
from sie_config.writer.sequencer import Sequencer
from sie_config.writer.writer_state import Recovery, Serving
from sie_runtime.process.waiting import first_of
from sie_schemas.errors import SIEError, Untrusted

__all__ = ["DiskWatch"]

_LOG: Final = logging.getLogger(__name__)
_IDLE_TIMES: Final = 5
"""While nobody writes: once a second, since an idle sie-config looked at its files five times a
second, on the thread of the log. Files that were replaced are noticed soon enough by that."""


class DiskWatch:
    """Around one store and what is written beside it. Owner: the control plane."""

    def __init__(
        self,
        store: Store,
        sequencer: Sequencer,
        head_file: HeadFile,
        keeper: CheckpointKeeper | None,
    ) -> None:
        self._store = store
        self._sequencer = sequencer
        self._head_file = head_file
        self._keeper = keeper

    async def run(
        self, stop: asyncio.Event, *, every_s: float, settle: Callable[[], Awaitable[None]]
    ) -> None:
        """Look until `stop`: at most every `every_s` while the log moves, seldom while it does not.

        `settle` does, at each look, what may have become possible. Raises what the disk failed
        with once it takes writes again.
        """
        while not stop.is_set():
            failed, last = self._store.failed, self._sequencer.last
            # Replaced files are a failure too (`Untrusted`), and end no process: it is in recovery
            # then, and serves what it has.
            if isinstance(failed, StorageFailed) or (failed is not None and self._store.read_only):
                await self._end_once_the_disk_writes(failed)
            else:
                # Also while nobody writes: what was answered and lies in a removed write-ahead log
                # can be saved only while this process has it open.
                await self._look()
                await settle()
                await self.write_head()
                if self._keeper is not None:
                    await self._keeper.look()
            settled = failed is None and isinstance(self._sequencer.state, Serving)
            if settled and self._sequencer.last is last:
                idle_s = _IDLE_TIMES * every_s
                await first_of(stop.wait(), self._sequencer.moved(), timeout_s=idle_s)
                if self._sequencer.last is last:
                    continue
            await first_of(stop.wait(), timeout_s=every_s)

    async def _look(self) -> None:
        """Stop writing as soon as the files are not the log's own, also when nobody writes."""
        try:
            await self._store.look()
        except Untrusted as error:
            _LOG.error("the writer stops writing", extra={"reason": error.message})
            self._sequencer.enter(Recovery(error.message))

    async def write_head(self) -> None:
        """Write the head file, where the log was judged and may be written to."""
        # In recovery, and where nothing was judged yet, the older head file is evidence, and stays.
        if self._sequencer.last is None or isinstance(self._sequencer.state, Recovery):
            return
        if self._store.read_only:
            return
        try:
            await self._head_file.write(self._sequencer.position)
        except OSError as error:
            _LOG.warning("the head file was not written", extra={"reason": str(error)})

    async def finish(self) -> None:
        """At a clean end: the head file and the checkpoint are as new as the log."""
        await self.write_head()
        if self._keeper is not None:
            await self._keeper.finish()

    async def _end_once_the_disk_writes(self, failed: SIEError) -> None:
        """Raises `failed`: only a process that opens the file anew learns what a commit came to.

        Until the disk takes a write again a fresh one could not write either: this one serves
        reads meanwhile.
        """
        try:
            if self._store.read_only:
                await self._store.try_to_write()
            else:
                await self._head_file.write(self._sequencer.position, again=True)
        except (OSError, StorageFailed, StorageFull) as error:
            _LOG.debug("the disk still fails; reads go on", extra={"reason": str(error)})
        else:
            raise failed
