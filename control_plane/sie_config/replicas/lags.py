"""Lags: the seconds that each replica is late, as the API and the console's feed both tell it.

*shell* over what this process committed, and over the journal for what was committed before it.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from sie_schemas.api.log import ReplicaRow
from sie_schemas.entry import Entry

__all__ = ["tell_lags"]


async def tell_lags(
    rows: Sequence[ReplicaRow],
    *,
    known: Callable[[int], float | None],
    entry: Callable[[int], Awaitable[Entry | None]],
) -> None:
    """Add to each row the seconds since the first entry that it lacks; None on another log.

    `known` tells that of an epoch, as far as this process remembers; `entry` reads the log.
    """
    since: dict[int, float | None] = {}
    for row in rows:
        epoch = row["epoch"]
        if not row["lag"]:
            row["lag_s"] = 0.0 if row["lag"] == 0 else None
            continue
        if epoch not in since:
            since[epoch] = known(epoch)
            if since[epoch] is None and (missed := await entry(epoch + 1)) is not None:
                behind = datetime.now(UTC) - datetime.fromisoformat(missed.ts)
                since[epoch] = round(behind.total_seconds(), 3)
        row["lag_s"] = since[epoch]
