"""Giving back: which jobs of a dead worker go to another one now, and which wait.

*pure.* Time is an argument. Promises, of the jobs on one consumer:

- Nothing is given back that a living worker holds, or that was never handed out.
- A death gives back each job that it held, once.
- A job that two deaths have met is a suspect. Suspects go out one at a time: one that kills its
  workers uses up its deliveries alone, and takes no innocent job with it.
- A worker that is stuck, and not dead, may take a job again and again while it stands. So a job
  comes back from it after twice the pause each time, and only while deliveries are left.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["GivenBack", "Limits", "Out", "Why", "due", "went"]

Why: TypeAlias = Literal["over", "stuck", "turn"]


@dataclass(slots=True)
class GivenBack:
    """The steps taken for one job so far. `times` it was given back, of those `deaths` because a
    life was over; the last time `at`. `on_trial` is a suspect that went out."""

    times: int = 0
    deaths: int = 0
    at: float = float("-inf")
    on_trial: bool = False


@dataclass(frozen=True, slots=True)
class Out:
    """A job that waits for its answer. `sequence` is its place in the stream."""

    job_id: str
    sequence: int
    given: GivenBack


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`pause_s` is the first pause of a stuck worker's jobs, `deliveries_max` the queue's bound.
    A job is a suspect after `suspect_after` deaths."""

    pause_s: float
    deliveries_max: int
    suspect_after: int = 2


def due(
    jobs: Iterable[Out],
    *,
    held: Collection[str],
    last: int,
    why: Why,
    limits: Limits,
    now: float,
) -> list[Out]:
    """The jobs to give back now; `went` is to be told when that is done.

    `held` are those that a living worker has in hand, `last` is the newest sequence that was handed
    out. `why`: a life of that kind is over; or one is stuck; or it is only a suspect's turn.
    """
    # What was not handed out yet is nobody's: the queue gives it to whoever lives.
    out = [job for job in jobs if job.sequence <= last]
    innocent = [job for job in out if not _is_suspect(job, limits)] if why != "turn" else []
    suspects = [job for job in out if _is_suspect(job, limits)]
    tried = [job for job in suspects if job.given.on_trial]
    again = [
        job
        for job in [*innocent, *tried]
        if job.job_id not in held and (why == "over" or _has_paused(job.given, limits, now))
    ]
    return again + ([] if tried else _next(suspects, held))


def went(jobs: Iterable[Out], *, why: Why, limits: Limits, now: float) -> None:
    """These were given back."""
    for job in jobs:
        job.given.on_trial = _is_suspect(job, limits)
        job.given.times += 1
        job.given.deaths += why == "over"
        job.given.at = now


def _is_suspect(job: Out, limits: Limits) -> bool:
    return job.given.deaths >= limits.suspect_after


def _next(suspects: Sequence[Out], held: Collection[str]) -> list[Out]:
    """The suspect that goes out where none is on trial; one that came back by itself is out."""
    if not suspects or any(job.job_id in held for job in suspects):
        return []
    return [min(suspects, key=lambda job: job.sequence)]


def _has_paused(given: GivenBack, limits: Limits, now: float) -> bool:
    """True if a job may go out once more although nobody has died."""
    # The last deliveries are left to whoever has them: they may still be answered.
    left = given.on_trial or given.times < limits.deliveries_max - 2
    # A stopped worker's open pulls take back half of what is given back, so each time waits longer.
    return left and now - given.at >= limits.pause_s * 2**given.times
