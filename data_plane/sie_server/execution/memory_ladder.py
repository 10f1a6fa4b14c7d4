"""The ladder of a device whose memory is full: make room, then do less at once, then say so.

*device* but for what it is given to call. The rungs:

1. run;
2. free what is cached and run again;
3. let the least recently used model leave and run again, one after the other;
4. halve the batch;
5. for an input that does not fit alone, RESOURCE_EXHAUSTED, which may be sent again later.

Any other error passes through.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from msgspec.structs import replace

from sie_schemas.errors import Later
from sie_schemas.ipc import Answers, RunBatch
from sie_server.execution.answer_joining import join

__all__ = ["is_out_of_memory", "run_batch", "with_room"]

T = TypeVar("T")


def run_batch(
    run: Callable[[RunBatch], Answers], batch: RunBatch, make_room: Callable[[], bool]
) -> Answers:
    """Answer a batch, in parts if need be. `make_room` is False once nothing more can leave."""
    try:
        return with_room(lambda: run(batch), make_room)
    except Later as error:
        if error.code != "RESOURCE_EXHAUSTED" or len(batch.inputs) < 2:
            raise
    # Outside the handler: an exception keeps the frames alive, and their tensors with them.
    middle = len(batch.inputs) // 2
    halves = (_part(batch, slice(0, middle)), _part(batch, slice(middle, None)))
    return join([run_batch(run, half, make_room) for half in halves])


def with_room(work: Callable[[], T], make_room: Callable[[], bool]) -> T:
    """Do something, making room as long as there is too little. Raises RESOURCE_EXHAUSTED."""
    while True:
        try:
            return work()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            reason = f"{type(error).__name__}: {str(error)[:300]}"
        if not make_room():
            raise Later(
                f"the device's memory does not hold this: {reason}; send less at once",
                code="RESOURCE_EXHAUSTED",
            )


def is_out_of_memory(error: BaseException) -> bool:
    """True if an error says that there is no memory left."""
    # The CPU allocator has no exception of its own.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def _part(batch: RunBatch, part: slice) -> RunBatch:
    return replace(batch, inputs=batch.inputs[part], adapters=batch.adapters[part])
