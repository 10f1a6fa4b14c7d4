"""Lengths: how much there is to read in a job, before any of it is read.

*pure.* Promises never to count less than is read: query and instruction are read with each item.
"""

from typing import Final

from sie_schemas.jobs import Job

__all__ = ["characters_of", "is_short"]

_PER_TOKEN: Final = 4
"""Characters of an English token, about; a count that is too small would hold up the loop."""


def characters_of(job: Job) -> int:
    """Characters of all texts of a job, as often as they are read; a token id stands for four."""
    query = (job.query.text or "") if job.query is not None else ""
    beside = len(query) + len(job.instruction or "")
    return sum(
        beside + len(item.text or "") + _PER_TOKEN * len(item.token_ids) for item in job.items
    )


def is_short(job: Job, *, characters_max: int) -> bool:
    """True if a job is read in less time than it takes to hand it to a thread. A few bytes may be
    an image that takes long, and the message of a job that stands apart says nothing of it."""
    if any(item.images for item in job.items):
        return False
    return characters_of(job) <= characters_max
