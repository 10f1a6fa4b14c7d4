"""The opened log: what reads and writes one log file in this process.

*shell.* Owns the file's store, the journal over it and the writer before it, from the replay to the
close. Promises that a file which cannot be opened leaves nothing open. Judges nothing: whether the
file is the newest history is the roll call's matter.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sie_config.keys.key_file import key_of_log, key_path
from sie_config.log.checkpoint import CheckpointFile
from sie_config.log.head_file import HeadFile
from sie_config.log.journal import Journal
from sie_config.log.storage_faults import LogDamaged
from sie_config.log.store import Store
from sie_config.settings import ConfigSettings
from sie_config.writer.sequencer import Sequencer

__all__ = ["LOG_FILE", "OpenedLog"]

LOG_FILE: Final = "log.sqlite"


@dataclass(frozen=True, slots=True)
class OpenedLog:
    """One log. Made by `open`, closed by its owner."""

    store: Store
    journal: Journal
    sequencer: Sequencer
    head_file: HeadFile
    damage: LogDamaged | None
    """The first thing that does not add up in the file; what is before it is served."""
    checkpoint: CheckpointFile | None
    """None where every start folds the whole log."""
    taken_over: int
    """Epochs up to this one came from the checkpoint, and were not folded."""

    @classmethod
    async def open(cls, settings: ConfigSettings, *, now_us: Callable[[], int]) -> "OpenedLog":
        """Open the file, and fold what it holds. Raises as `LogFile.open` and `key_of_log`."""
        store = await Store.open(settings.data_dir / LOG_FILE, bytes_max=settings.store_bytes_max)
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(store.close)
            checkpoint = CheckpointFile(store.path) if settings.checkpoint_entries else None
            replayed = await store.replay(checkpoint.read if checkpoint is not None else None)
            if checkpoint is not None:
                checkpoint.epoch = replayed.taken_over
            journal = await Journal.open(store.path, tail_entries=settings.tail_entries)
            undo.push_async_callback(journal.close)
            sequencer = Sequencer(
                store,
                journal,
                replayed,
                now_us=now_us,
                group_writes_max=settings.group_writes_max,
                waiting_writes_max=settings.waiting_writes_max,
                signing_key=key_of_log(settings.signing_key or key_path(store.path), replayed),
            )
            undo.pop_all()
        return cls(
            store,
            journal,
            sequencer,
            HeadFile(store.path),
            damage=replayed.damage,
            checkpoint=checkpoint,
            taken_over=replayed.taken_over,
        )

    async def close(self) -> None:
        """Close the reader first, so that the writer leaves one whole file."""
        await self.journal.close()
        await self.store.close()
