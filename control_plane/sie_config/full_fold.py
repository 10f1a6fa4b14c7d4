"""The full fold: the whole log folded again, behind a start that began from a checkpoint.

*shell.* Reads the journal in slices and takes a bounded share of the loop, so that writes are
answered meanwhile. Promises to say damage that the quick start could not see: a row whose columns
are not its body's, a fold that does not give the digest that the entry names. Changes nothing.
"""

import asyncio
import logging
from typing import Final

from sie_config.journal import Journal
from sie_config.log_file import LogDamaged
from sie_config.replay import step
from sie_config.waiting import first_of
from sie_core.chain import ChainBroken, Position, check_successor, position_of
from sie_core.registry import Registry

__all__ = ["full_fold"]

_LOG: Final = logging.getLogger(__name__)
_SLICE_ENTRIES: Final = 50


async def full_fold(
    journal: Journal, until: int, *, share: float, stop: asyncio.Event
) -> LogDamaged | None:
    """Fold the epochs 1 to `until`; None when they are sound, or when `stop` came first.

    `share` of the loop's time is taken, at most.
    """
    loop = asyncio.get_running_loop()
    registry, last = Registry.EMPTY, None
    epoch = 0
    try:
        while epoch < until and not stop.is_set():
            began = loop.time()
            registry, last = await _fold_slice(journal, registry, last, until)
            epoch = last.epoch
            pause_s = (loop.time() - began) * (1 / share - 1)
            await first_of(stop.wait(), timeout_s=pause_s)
    except LogDamaged as error:
        return error
    _LOG.info("the log behind the checkpoint is folded", extra={"epoch": epoch})
    return None


async def _fold_slice(
    journal: Journal, registry: Registry, last: Position | None, until: int
) -> tuple[Registry, Position]:
    after = last.epoch if last is not None else 0
    for entry in await journal.page(after, until, _SLICE_ENTRIES):
        try:
            check_successor(last, entry)
        except ChainBroken as error:
            raise LogDamaged(
                f"the log is damaged at epoch {entry.epoch}: {error}", first_bad_epoch=entry.epoch
            ) from error
        registry = step(registry, entry)
        last = position_of(entry)
    if last is None or last.epoch == after:
        raise LogDamaged(f"epoch {after + 1} is not in the log", first_bad_epoch=after + 1)
    return registry, last
