"""Witnesses: whether the log in this file is the newest that anybody has seen.

*pure.* A hash chain cannot see a tail that is missing; only somebody who saw the tail can. Judges
what the stream, the replicas and the sibling head file claim against the file, and says whether it
may be written. A claim about another log says nothing about this one. Only the head file of this
folder is different: if it names another log, somebody put one of the two files here by mistake.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from sie_core.chain import Position
from sie_schemas.entry import Entry, Stub, log_id8
from sie_schemas.fleet import Head

__all__ = [
    "Behind",
    "Claim",
    "Confirmed",
    "Forked",
    "Verdict",
    "choices",
    "is_of_another_log",
    "judge",
]


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody has seen this entry. `source` says who, for the operator.

    An empty `hash` is an entry that nobody has any more: that it existed is all that is claimed.
    """

    source: str
    log_id: str
    epoch: int
    hash: str
    proof: Entry | Stub | Head | None = field(default=None, compare=False, repr=False)
    """The signed position that bears it out; the word of this folder needs none."""

    def __str__(self) -> str:
        return f"{self.source} has seen {log_id8(self.log_id)}.{self.epoch}"


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Nobody has seen more. `witnessed` if somebody beside this file's own folder said so."""

    witnessed: bool


@dataclass(frozen=True, slots=True)
class Behind:
    """The file lacks entries that existed; `claim` names the farthest."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Forked:
    """At an epoch that the file has, somebody has seen another entry."""

    claim: Claim


Verdict: TypeAlias = Confirmed | Behind | Forked


def judge(
    head: Position,
    hash_at: Callable[[int], str | None],
    claims: Iterable[Claim],
    own: Claim | None = None,
) -> Verdict:
    """Judge a file. `own` is its sibling head file's word: it can accuse, but confirms nothing."""
    farthest: Claim | None = None
    witnessed = False
    for claim in [*claims, *([own] if own is not None else [])]:
        # A newer log says of itself that it supersedes this one: the roll call asks the broker for
        # that.
        if claim.log_id != head.log_id:
            continue
        if claim.epoch > head.epoch:
            if farthest is None or claim.epoch > farthest.epoch:
                farthest = claim
        elif claim.hash and hash_at(claim.epoch) != claim.hash:
            return Forked(claim)
        # The head file lies in the same folder and is restored with it, so that it would confirm
        # any backup.
        elif claim.hash and claim is not own:
            witnessed = True
    return Behind(farthest) if farthest is not None else Confirmed(witnessed)


def is_of_another_log(own: Claim, lineage: Iterable[Entry]) -> bool:
    """True if a head file speaks of a log that is neither this one nor one that it continues."""
    return own.log_id not in {begin.log_id for begin in lineage}


def choices(first: int, head: Position) -> str:
    """The choices of an operator who finds two histories of one log that part at epoch `first`."""
    return (
        "Stop the other writer, if there is one. Then keep theirs: `sie log restore` a backup that "
        f"ends before epoch {first}, with --nats-url; or keep this one: `sie log backup`, and "
        f"`sie log restore` that with --nats-url and --discard-after {head.epoch}, which begins a "
        "new log that says what was given up"
    )
