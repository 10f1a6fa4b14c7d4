"""Chunking: an encoded result that is larger than a message, cut into parts of one transfer.

*pure.* Promises that the parts joined are the result, and that each fits a message with its names
around it. A transfer is named by what it carries: the same bytes sent again go on where they were.
"""

import hashlib
from typing import Final

from sie_schemas.jobs import ResultChunk

__all__ = ["chunks_of"]

_ENVELOPE_BYTES: Final = 1024
"""Room for the ids and numbers around a chunk's bytes."""


def chunks_of(encoded: bytes, *, job_id: str, bytes_max: int) -> list[ResultChunk]:
    """Cut `encoded`, which is not empty, for messages of at most `bytes_max`."""
    size = max(1, bytes_max - _ENVELOPE_BYTES)
    # Of the bytes: a job that ran twice may answer with others, whose chunks must not be mixed.
    transfer = hashlib.sha256(encoded).hexdigest()[:32]
    count = -(-len(encoded) // size)
    return [
        ResultChunk(
            job_id=job_id,
            transfer=transfer,
            index=index,
            count=count,
            size=len(encoded),
            data=encoded[index * size : (index + 1) * size],
        )
        for index in range(count)
    ]
