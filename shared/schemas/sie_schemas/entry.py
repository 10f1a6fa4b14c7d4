"""An entry of the epoch log, as bytes.

*types.* An entry's body is canonical JSON, made once by the writer, stored and sent verbatim beside
its hash. Whoever verifies hashes these bytes and never writes them again, so the layout below is
frozen for `v` 1. Fields may be added, never renamed, retyped or dropped.

Domain tags keep a hash of one thing from ever being a hash of another.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import asdict

from sie_schemas import canonical
from sie_schemas.malformed import MALFORMED
from sie_schemas.signature import PublicKey, Signature

__all__ = [
    "ENTITY_KINDS",
    "ENTRY_VERSION",
    "FIRST_KINDS",
    "GENESIS_HASH",
    "STUB_BYTES_MIN",
    "Change",
    "ChangeKind",
    "Entry",
    "EntryCorrupt",
    "Idempotency",
    "Stub",
    "Supersedes",
    "build_entry",
    "delete",
    "entry_hash",
    "log_id8",
    "parse_entry",
    "parse_envelope",
    "put",
    "put_key",
    "to_envelope",
    "to_stub",
]

ENTRY_VERSION: Final = 1
"""Of an entry's bytes; a reader refuses one that it does not know."""
GENESIS_HASH: Final = "0" * 64
"""`prev_hash` of epoch 1 of a log that supersedes nothing."""
STUB_BYTES_MIN: Final = 512 * 1024
"""A body of at least this many bytes travels as a stub; the body is then fetched over HTTP."""

_ENTRY_DOMAIN: Final = b"sie/entry/v1\0"
_HASH: Final = re.compile(r"[0-9a-f]{64}")


class ChangeKind(StrEnum):
    """The kinds of change that this release speaks. A follower halts at any other."""

    LOG_BEGIN = "log.begin"
    TERM_BEGIN = "term.begin"
    MODEL_PUT = "model.put"
    MODEL_DELETE = "model.delete"
    ADAPTER_PUT = "adapter.put"
    ADAPTER_DELETE = "adapter.delete"
    BUNDLE_PUT = "bundle.put"
    BUNDLE_DELETE = "bundle.delete"
    POOL_PUT = "pool.put"
    POOL_DELETE = "pool.delete"
    KEY_PUT = "key.put"


FIRST_KINDS: Final = frozenset(
    {
        ChangeKind.LOG_BEGIN,
        ChangeKind.TERM_BEGIN,
        ChangeKind.MODEL_PUT,
        ChangeKind.MODEL_DELETE,
        ChangeKind.ADAPTER_PUT,
        ChangeKind.ADAPTER_DELETE,
        ChangeKind.BUNDLE_PUT,
        ChangeKind.BUNDLE_DELETE,
        ChangeKind.POOL_PUT,
        ChangeKind.POOL_DELETE,
        ChangeKind.KEY_PUT,
    }
)
"""The kinds of change that every release reads. Kinds that come later are never added here."""

ENTITY_KINDS: Final = ("adapter", "bundle", "model", "pool")
"""The kinds of entity, in the order in which a snapshot lists them."""


class EntryCorrupt(ValueError):
    """Bytes that claim to be an entry are not one; nothing of them may be used."""


class Supersedes(Struct, frozen=True):
    """The end that a `log.begin` puts to an older log: the last entry of it that stays valid.

    `lost` names the range of epochs of the older log that the operator gave up.
    """

    log_id: str
    epoch: int
    hash: str
    lost: tuple[int, int] | None = None


class Idempotency(Struct, frozen=True):
    """A client's key for a write, and the fingerprint of the request that it stands for."""

    key: str
    fingerprint: str


class Change(Struct, frozen=True, omit_defaults=True):
    """The change that an entry makes to one entity. `document` is the exact bytes as admitted.

    Entity changes have `kind` and `key`; a put has a `document`; `log.begin` may have `supersedes`.
    """

    # Any word: an entry of a later release is read, so that a follower halts at it by name.
    kind: str
    key: str = ""
    document: Raw | UnsetType = UNSET
    supersedes: Supersedes | None = None

    @property
    def entity_kind(self) -> str:
        """`model` of `model.put`."""
        return self.kind.partition(".")[0]

    @property
    def verb(self) -> str:
        """`put` of `model.put`."""
        return self.kind.partition(".")[2]


class _Body(Struct, frozen=True, kw_only=True):
    v: int
    log_id: str
    epoch: int
    term: int
    writer: str
    ts: str
    actor: str
    reason: str
    request_id: str
    changes: tuple[Change, ...]
    prev_hash: str
    state_digest: str
    idempotency: Idempotency | None = None
    forced: str = ""
    """The reason for passing a gate that would have refused the write; mostly empty."""


class _Envelope(Struct, frozen=True):
    hash: str
    # Raw, so that a document of the registry is a slice of the very bytes that were hashed.
    body: Raw
    signature: Signature | None = None


_BODY_DECODER = msgspec.json.Decoder(_Body)
_ENVELOPE_DECODER = msgspec.json.Decoder(_Envelope)


class Entry(_Body, frozen=True, kw_only=True):
    """One record of the log. `body` and `hash` are the record; the other fields are read from it.

    Invariant: `hash == entry_hash(body)`; every way to make an `Entry` checks it or computes it.
    """

    body: bytes
    hash: str
    signature: Signature | None = None
    """The writer's word for this position, if it is one that was signed. Not part of the record,
    and not checked where an `Entry` is made: `sie_core.trust` says whether it counts."""


def entry_hash(body: bytes) -> str:
    """SHA-256 over the entry domain and the body, in hex."""
    return hashlib.sha256(_ENTRY_DOMAIN + body).hexdigest()


def log_id8(log_id: str) -> str:
    """The short form of a log id in positions and ETags."""
    return log_id[:8]


def build_entry(
    *,
    log_id: str,
    epoch: int,
    term: int,
    writer: str,
    ts: str,
    actor: str,
    reason: str,
    request_id: str,
    changes: Sequence[Change],
    prev_hash: str,
    state_digest: str,
    idempotency: Idempotency | None = None,
    forced: str = "",
) -> Entry:
    """Make an entry. Raises `canonical.NotCanonical`.

    The documents of `changes` are canonical bytes already (`put` makes them) and go in verbatim:
    nothing is canonicalised twice. A law holds what is made here to what `parse_entry` reads.
    """
    fields: dict[str, Any] = {
        "v": ENTRY_VERSION,
        "log_id": log_id,
        "epoch": epoch,
        "term": term,
        "writer": writer,
        "ts": ts,
        "actor": actor,
        "reason": reason,
        "request_id": request_id,
        "changes": [_change_fields(change) for change in changes],
        "prev_hash": prev_hash,
        "state_digest": state_digest,
    }
    if idempotency is not None:
        fields["idempotency"] = msgspec.to_builtins(idempotency)
    if forced:
        # A field of its own and no suffix of the reason: it is hashed, and can be asked for.
        fields["forced"] = forced
    body = canonical.dumps(fields)
    # Not read back from its bytes: an entry is made of what it was given, 9 µs in place of 16.
    made = fields | {"changes": tuple(changes), "idempotency": idempotency}
    return Entry(body=body, hash=entry_hash(body), **made)


def put(entity_kind: str, key: str, document: Mapping[str, Any]) -> Change:
    """The change that gives an entity a document. Raises `canonical.NotCanonical`."""
    return Change(kind=f"{entity_kind}.put", key=key, document=Raw(canonical.dumps(dict(document))))


def put_key(key: PublicKey) -> Change:
    """The change after which positions are signed by another key."""
    return put("key", key.key_id, msgspec.to_builtins(key))


def delete(entity_kind: str, key: str) -> Change:
    """The change that takes an entity away."""
    return Change(kind=f"{entity_kind}.delete", key=key)


def _change_fields(change: Change) -> dict[str, Any]:
    fields: dict[str, Any] = {"kind": str(change.kind)}
    if change.key:
        fields["key"] = change.key
    if change.document is not UNSET:
        fields["document"] = change.document
    if change.kind == ChangeKind.LOG_BEGIN:
        # A log that continues none says so: its null is hashed.
        fields["supersedes"] = change.supersedes and msgspec.to_builtins(change.supersedes)
    return fields


def parse_entry(body: bytes, claimed_hash: str, signature: Signature | None = None) -> Entry:
    """Read an entry and check its hash. Raises `EntryCorrupt` when that or the form is wrong."""
    # First of all, so that no decoder meets bytes which nobody has hashed.
    actual = entry_hash(body)
    if actual != claimed_hash:
        raise EntryCorrupt(f"the body hashes to {actual[:16]}…, not to {claimed_hash[:16]}…")
    try:
        parsed = _BODY_DECODER.decode(body)
    except MALFORMED as error:
        raise EntryCorrupt(f"the body is not an entry: {error}") from error
    if parsed.epoch < 1 or not _HASH.fullmatch(parsed.prev_hash):
        raise EntryCorrupt(f"epoch {parsed.epoch}: the position fields are malformed")
    return Entry(body=body, hash=actual, signature=signature, **asdict(parsed))


def to_envelope(entry: Entry) -> bytes:
    """The entry as it travels and as `/log` lists it: `{"hash":…,"body":{…}}`, body verbatim.

    A signed one has `"signature":{"key_id":…,"value":…}` between the two.
    """
    signed = b""
    if entry.signature is not None:
        signed = b'"signature":' + msgspec.json.encode(entry.signature) + b","
    # Joined and not encoded: the body is the bytes that were hashed.
    return b'{"hash":"' + entry.hash.encode() + b'",' + signed + b'"body":' + entry.body + b"}"


def to_stub(entry: Entry) -> bytes:
    """The message that the stream carries for a large entry: its hashes, and where the body is."""
    stub = {
        "hash": entry.hash,
        "body": "http",
        "log_id": entry.log_id,
        "epoch": entry.epoch,
        "term": entry.term,
        "prev_hash": entry.prev_hash,
        "state_digest": entry.state_digest,
        "bytes": len(entry.body),
    }
    if entry.signature is not None:
        stub["signature"] = msgspec.to_builtins(entry.signature)
    return msgspec.json.encode(stub)


class Stub(Struct, frozen=True):
    """A stub as read back: enough to know the position, and never enough to apply."""

    hash: str
    log_id: str
    epoch: int
    term: int
    prev_hash: str
    state_digest: str
    signature: Signature | None = None


_STUB_DECODER = msgspec.json.Decoder(Stub)


def parse_envelope(data: bytes | Raw) -> Entry | Stub:
    """Read an envelope or a stub. Raises `EntryCorrupt`."""
    try:
        envelope = _ENVELOPE_DECODER.decode(data)
        body = bytes(envelope.body)
        # A body is a mapping; a stub has the word `http` in its place.
        if body.startswith(b'"'):
            return _STUB_DECODER.decode(data)
    except MALFORMED as error:
        raise EntryCorrupt(f"the message is not an envelope: {error}") from error
    return parse_entry(body, envelope.hash, envelope.signature)
