"""The keeper of the checkpoint: stores the registry beside the log, every so many entries.

*shell.* Looks when its owner asks it to, so that no write wakes it. Promises that what it stores is
a committed state, and that a disk which takes none is asked again only after as many entries.
"""

import logging
from typing import Final

from sie_config.log.checkpoint import CheckpointFile
from sie_config.upkeep.exports import Exports
from sie_config.writer.sequencer import Sequencer
from sie_config.writer.writer_state import Recovery
from sie_runtime.process.aside import Aside

__all__ = ["CheckpointKeeper"]

_LOG: Final = logging.getLogger(__name__)


class CheckpointKeeper:
    """Around one checkpoint file. Owner: the control plane."""

    def __init__(
        self, file: CheckpointFile, sequencer: Sequencer, exports: Exports, *, every_entries: int
    ) -> None:
        self._file = file
        self._sequencer = sequencer
        self._exports = exports
        self._every_entries = every_entries
        self._thread = Aside("checkpoint")

    async def look(self) -> None:
        """Replace the checkpoint if enough entries came since."""
        if self._behind() >= self._every_entries:
            await self._take()

    async def finish(self) -> None:
        """Replace it at a clean end, unless folding the log anew is quick enough; then no more."""
        if self._behind() > 0 and self._sequencer.position.epoch > self._every_entries:
            await self._take()
        self._thread.end()

    def _behind(self) -> int:
        last = self._sequencer.last
        return last.epoch - self._file.epoch if last is not None else 0

    async def _take(self) -> None:
        if isinstance(self._sequencer.state, Recovery):
            return
        export = await self._exports.newest(self._sequencer)
        # Before the write: a disk that takes none is asked again after as many entries, and not at
        # each look.
        self._file.epoch = export.epoch
        try:
            await self._thread.run(self._file.write, export.data)
        except OSError as error:
            _LOG.warning("the checkpoint was not written", extra={"reason": str(error)})
