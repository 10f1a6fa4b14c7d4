"""Giving back: which jobs of a dead worker go to another one now, and which wait.

*pure.* Time is an argument. Promises, of jobs on one consumer: nothing is given back that a living
worker holds, or that was never handed out; a death gives back each job that it held, once; a job
that two deaths have met is suspected of them, and suspects go out one at a time, so that one that
kills its workers uses up its deliveries alone and takes no innocent one with it; and of a worker
that is only stuck, which may take a job again and again while it stands, a job comes back at most
so often that deliveries are left, each time after twice the pause.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["GivenBack", "Limits", "Out", "Why", "due"]

Why: TypeAlias = Literal["over", "stuck", "turn"]


@dataclass(slots=True)
class GivenBack:
    """What was done for one job so far. `times` it was given back, of those `deaths` because a life
    was over; the last time `at`. `on_trial` is a suspect that went out."""

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
    """The jobs to give back now; `given` of each is brought up to date.

    `held` are those that a living worker has in hand, `last` is the newest sequence that was handed
    out. `why`: a life of the lane is over; or one is stuck; or it is only a suspect's turn.
    """
    out = [job for job in jobs if job.sequence <= last]
    suspects = [job for job in out if job.given.deaths >= limits.suspect_after]
    innocent = [job for job in out if job.given.deaths < limits.suspect_after]
    candidates = [*(innocent if why != "turn" else []), *_on_trial(suspects)]
    found = [
        job
        for job in candidates
        if job.job_id not in held and (why == "over" or _has_paused(job.given, limits, now))
    ]
    for job in found:
        job.given.times += 1
        job.given.deaths += why == "over"
        job.given.at = now
    return found


def _on_trial(suspects: Sequence[Out]) -> list[Out]:
    """The one suspect that is out, until it is answered: the oldest is next."""
    if not suspects:
        return []
    tried = [job for job in suspects if job.given.on_trial]
    if tried:
        return tried
    chosen = min(suspects, key=lambda job: job.sequence)
    # It stayed where it was since the death that made it one: no pause is due.
    chosen.given.on_trial, chosen.given.at = True, float("-inf")
    return [chosen]


def _has_paused(given: GivenBack, limits: Limits, now: float) -> bool:
    """Whether a job may go out once more although nobody has died."""
    # The last deliveries are left to whoever has them: they may still be answered.
    left = given.on_trial or given.times < limits.deliveries_max - 2
    return left and now - given.at >= limits.pause_s * 2**given.times
