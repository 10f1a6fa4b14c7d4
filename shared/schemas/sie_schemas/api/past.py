"""The answers of sie-config about time: entities at a moment, histories, blame, entries, the audit.

*types.* `ts` is RFC 3339 in UTC. `next_after` and `next_before` say where the next page begins, and
are None at the end.
"""

from typing import Any, NotRequired, TypedDict

from sie_schemas.api.writes import ChangeRow

__all__ = [
    "AdapterList",
    "Audit",
    "AuditRow",
    "Author",
    "Blame",
    "BlamedField",
    "BundleList",
    "Difference",
    "EntityHistory",
    "EntityShown",
    "EntryEnvelope",
    "EntryList",
    "EntryRow",
    "HistoryRow",
    "ModelDocumentList",
    "Moment",
    "PoolDocumentList",
    "Resolved",
    "SignatureShown",
]


class EntityShown(TypedDict):
    """One entity: a model by `model_id`, an adapter by both, a bundle or a pool by its `name`."""

    model_id: NotRequired[str]
    name: NotRequired[str]
    modified_epoch: int
    etag: str
    document: Any


class _Page(TypedDict):
    log_id: str
    epoch: int
    next_after: str | None


class ModelDocumentList(_Page):
    """The models at one epoch."""

    models: list[EntityShown]


class AdapterList(_Page):
    """The adapters at one epoch."""

    adapters: list[EntityShown]


class BundleList(_Page):
    """The bundles at one epoch."""

    bundles: list[EntityShown]


class PoolDocumentList(_Page):
    """The pools at one epoch."""

    pools: list[EntityShown]


class Author(TypedDict):
    """The author of an entry, its time and reason. `forced` is why a gate let it pass."""

    epoch: int
    ts: str
    actor: str
    reason: str
    forced: str
    request_id: str
    hash: str


class HistoryRow(Author):
    """One change of an entity; `patch` (RFC 6902) where differences were asked for."""

    kind: str
    patch: NotRequired[list[dict[str, Any]]]


class EntityHistory(TypedDict):
    """Every change of an entity, oldest first."""

    kind: str
    key: str
    history: list[HistoryRow]
    next_after: int | None


class BlamedField(Author):
    """A field of an entity by its JSON Pointer, and the change that gave it its value."""

    path: str
    value: Any


class Blame(TypedDict):
    """For each field of an entity, the change that gave it its value."""

    kind: str
    key: str
    epoch: int
    fields: list[BlamedField]


class Moment(TypedDict):
    """One entry as a point in time."""

    log_id: str
    epoch: int
    ts: str
    hash: str


Difference = TypedDict(
    "Difference",
    {
        "from": Moment,
        "to": Moment,
        "changes": list[ChangeRow],
        "patch": list[dict[str, Any]],
        "human": list[str],
        "next_after": NotRequired[str | None],
    },
)
# `from` is no name of Python's, so that this is no class with a docstring.
Difference.__doc__ = (
    "The difference between two moments: by entity, as RFC 6902, and in lines for people."
)


class _Maker(Author):
    log_id: str


class Resolved(TypedDict):
    """The config behind a revision, and the entry that made it."""

    revision: str
    kind: str
    key: str
    profile: str | None
    config: Any
    document: Any
    entry: _Maker


class SignatureShown(TypedDict):
    """The key that signed, and its 64 bytes in hex."""

    key_id: str
    value: str


class EntryEnvelope(TypedDict):
    """An entry: the hash of its body, and the body as it was hashed."""

    hash: str
    signature: NotRequired[SignatureShown]
    body: dict[str, Any]


class AuditRow(TypedDict):
    """An accepted change, which has an epoch, or refused attempts that failed alike.

    `count` is their number, `ts` the first and `last_ts` the last of them. `outcome` is `accepted`
    or the code of the refusal.
    """

    ts: str
    actor: str
    outcome: str
    reason: str
    request_id: str
    count: int
    epoch: NotRequired[int]
    hash: NotRequired[str]
    forced: NotRequired[str]
    changes: NotRequired[list[ChangeRow]]
    last_ts: NotRequired[str]
    status: NotRequired[int]
    method: NotRequired[str]
    path: NotRequired[str]
    kind: NotRequired[str]
    key: NotRequired[str]
    message: NotRequired[str]


class Audit(TypedDict):
    """Accepted changes and refused attempts, newest first."""

    rows: list[AuditRow]
    next_before: str | None


class EntryRow(AuditRow):
    """An entry of the timeline. `changes` has the first of them, `changed` counts them all."""

    changed: int


class EntryList(TypedDict):
    """Entries, newest first."""

    log_id: str
    head: int
    entries: list[EntryRow]
    next_before: int | None
