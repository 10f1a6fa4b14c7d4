"""The answers of sie-config to writes: of one entity, of a group, and of a dry run of either.

*types.*
"""

from typing import Any, NotRequired, TypedDict, final

__all__ = [
    "AffectedReplica",
    "ChangeRow",
    "DarkRow",
    "DryRun",
    "EntityDeleted",
    "EntityWritten",
    "GroupWritten",
    "ReplicaConvergence",
    "WaitedFor",
    "Written",
    "WrittenChange",
]


class WaitedFor(TypedDict):
    """A replica that is not there yet, and why."""

    role: str
    id: str
    cause: str


class ReplicaConvergence(TypedDict):
    """The number of the chosen replicas that are there. `until` is `converged` or `effective`."""

    until: str
    reached: bool
    selected: int
    satisfied: int
    waiting_for: list[WaitedFor]


class ChangeRow(TypedDict):
    """One entity that an entry changes. `verb` is `put` or `delete`."""

    kind: str
    key: str
    verb: str


class WrittenChange(ChangeRow):
    """The same, with the ETag that it has now; what was deleted has none."""

    etag: NotRequired[str]


class Written(TypedDict):
    """The entry that a write made, or that had made it so already (`changed` is false).

    `outcome_pending` says that the stream did not take it in time. `convergence` is there where it
    was waited for.
    """

    log_id: str
    epoch: int
    hash: str
    state_digest: str
    ts: str
    changed: bool
    published: bool
    outcome_pending: NotRequired[bool]
    convergence: NotRequired[ReplicaConvergence]


class _EntityAnswer(Written):
    kind: str
    key: str
    created: bool


@final
class EntityDeleted(_EntityAnswer):
    """The answer to a delete."""


@final
class EntityWritten(_EntityAnswer):
    """The answer to a write that leaves an entity behind."""

    etag: str


@final
class GroupWritten(Written):
    """The answer to a batch or a revert, which is one entry."""

    changes: list[WrittenChange]


class AffectedReplica(TypedDict):
    """A replica that a change meets, and which of the changed models it has."""

    role: str
    id: str
    models: list[str]


class DarkRow(TypedDict):
    """A model or adapter that nobody could serve any more, and what it needs."""

    name: str
    needs: str
    asked: str
    pool: str | None
    bundle: str | None
    machine_profiles: list[str]


@final
class DryRun(TypedDict):
    """The changes that a write would make. There is no hash: it would hold the time of the write.

    `patch` is RFC 6902 over `{"models": {id: document}, "adapters": …}`, `human` the same in lines.
    """

    dry_run: bool
    log_id: str
    epoch: int
    state_digest: str
    changed: bool
    created: bool
    changes: list[ChangeRow]
    patch: list[dict[str, Any]]
    human: list[str]
    replicas: list[AffectedReplica]
    dark: list[DarkRow]
