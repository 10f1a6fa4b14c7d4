"""Calls to sie-config: what each request of the config client says.

*pure.* Both config clients stand on this and add only transport. A write carries an idempotency
key, so that asking again after a lost answer cannot do it twice. What the answers hold is what the
service documents; they are given back as plain JSON.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote, urlencode

from sie_schemas.errors import FixRequest
from sie_sdk.patience import Patience
from sie_sdk.wire.bearer import bearer_of
from sie_sdk.wire.call import Call

__all__ = [
    "PLAIN",
    "Kind",
    "Terms",
    "Until",
    "audit_call",
    "batch_call",
    "blame_call",
    "delete_call",
    "diff_call",
    "drop_letters_call",
    "entity_call",
    "entries_call",
    "entry_call",
    "epoch_call",
    "export_call",
    "forget_call",
    "headers_of",
    "history_call",
    "letters_call",
    "list_call",
    "patch_call",
    "poll_call",
    "put_call",
    "replicas_call",
    "resolve_call",
    "resync_call",
    "retry_letter_call",
    "revert_call",
    "verify_call",
    "wait_call",
]

Kind: TypeAlias = Literal["model", "adapter", "bundle", "pool"]
Until: TypeAlias = Literal["converged", "effective"]
_PLURALS: Final = {"model": "models", "adapter": "adapters", "bundle": "bundles", "pool": "pools"}
_ROOT: Final = "/v1/configs"
_KEY_MAX: Final = 2048
"""Longer than any name is; an address cannot hold all that a person can paste."""
_HEAD: Final = ("digest", "epoch", "log_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On which terms a write is made; all are optional."""

    reason: str = ""
    force: str = ""
    """The reason for which a gate is to let it pass."""
    if_match: str | None = None
    """The ETag that the entity must have."""
    if_absent: bool = False
    if_epoch: int | None = None
    """The epoch that the head must have."""
    dry_run: bool = False
    wait: Until | None = None
    """Answer only when the replicas are there, or `wait_timeout_s` is over."""
    wait_timeout_s: float = 30.0
    idempotency_key: str | None = None
    """A key of the caller's own; else each write gets a fresh one."""


PLAIN: Final = Terms()
"""No terms."""


def headers_of(token: str | None, actor: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """The headers of every request. The name of the token, where one is given, is the actor."""
    headers = {"Accept": "application/json"}
    token = token or environ.get("SIE_CONFIG_TOKEN") or environ.get("SIE_API_KEY")
    actor = actor or environ.get("SIE_ACTOR")
    if token:
        headers["Authorization"] = bearer_of(token)
    if actor:
        headers["X-SIE-Actor"] = _header(actor)
    return headers


def epoch_call() -> Call:
    """The call for the head's position."""
    return _get("/epoch", _HEAD)


def list_call(kind: Kind, *, at: str | None, after: str, limit: int) -> Call:
    """One page of a kind."""
    return _get(
        f"/{_PLURALS[kind]}",
        (_PLURALS[kind], "next_after"),
        at=at,
        after=after or None,
        limit=limit,
    )


def entity_call(kind: Kind, key: str, *, at: str | None) -> Call:
    """One entity."""
    return _get(_entity(kind, key), ("document", "etag", "modified_epoch"), at=at)


def history_call(
    kind: Kind, key: str, *, after: int, limit: int, diff: bool, at: str | None
) -> Call:
    """One page of the changes of an entity."""
    told = {"after": after or None, "limit": limit, "diff": "true" if diff else None, "at": at}
    return _get(_entity(kind, key) + "/history", ("history", "next_after"), **told)


def blame_call(kind: Kind, key: str, *, at: str | None) -> Call:
    """The call for the origin of each field."""
    return _get(_entity(kind, key) + "/blame", ("fields",), at=at)


def entries_call(*, after: int, limit: int) -> Call:
    """Entries of the log."""
    return _get("/log", ("entries",), after=after, limit=limit)


def entry_call(epoch: int) -> Call:
    """One entry."""
    return _get(f"/entries/{epoch}", ("body", "hash"))


def poll_call(*, after: int, log_id: str, digest: str, wait_s: float) -> Call:
    """The head, when it has moved."""
    told = {"log_id": log_id or None, "digest": digest or None}
    return _get("/epoch", _HEAD, after=after, wait=f"{wait_s:g}", **told)


def diff_call(start: str, end: str | None) -> Call:
    """The call for the difference between two moments."""
    return _get("/diff", ("human", "patch", "to"), **{"from": start, "to": end})


def resolve_call(revision: str, *, key: str | None, at: str | None) -> Call:
    """From a revision to its config."""
    return _get("/resolve", (), revision=revision, key=key, at=at)


def export_call(*, at: str | None) -> Call:
    """A snapshot."""
    return _get("/export", ("entities", "entry"), at=at)


def verify_call() -> Call:
    """A round of the self-check."""
    return _get("/verify", ("problem", "replica", "sound"))


def replicas_call() -> Call:
    """The call for the place of every replica in the log."""
    return _get("/replicas", ("converged", "digest", "epoch", "replicas"))


def audit_call(**filters: str | int | None) -> Call:
    """One page of the audit."""
    return _get("/audit", ("next_before", "rows"), **filters)


def letters_call(*, after: int) -> Call:
    """One page of the jobs that failed for good."""
    told = f"?{urlencode({'after': after})}" if after else ""
    return Call("GET", f"/v1/dead-letters{told}", wants=("letters", "next_after"))


def retry_letter_call(number: int, *, within_s: float) -> Call:
    """Run the job of a dead letter again."""
    body = {"number": number, "within_s": within_s}
    return _posted("/v1/dead-letters/retry", body, ("job_id", "number", "worker_id"))


def drop_letters_call(numbers: Sequence[int]) -> Call:
    """Forget dead letters."""
    return _posted("/v1/dead-letters/drop", {"numbers": list(numbers)}, ("dropped",))


def wait_call(body: Mapping[str, Any]) -> Call:
    """Wait for the replicas."""
    told = {name: value for name, value in body.items() if value is not None}
    return _posted(
        f"{_ROOT}/wait", told, ("reached", "satisfied", "selected", "until", "waiting_for")
    )


def forget_call(role: str, replica_id: str) -> Call:
    """Stop counting a replica."""
    place = {"role": role, "id": replica_id}
    return _posted(f"{_ROOT}/replicas/forget", place, ("forgotten",))


def resync_call(role: str, replica_id: str) -> Call:
    """Have a replica take the writer's snapshot whatever it holds."""
    return _posted(f"{_ROOT}/replicas/resync", {"role": role, "id": replica_id}, ("asked",))


def put_call(kind: Kind, key: str, document: Mapping[str, Any], terms: Terms, fresh: str) -> Call:
    """Create or replace an entity. `fresh` is an unused idempotency key."""
    return _write("PUT", _entity(kind, key), document, terms, fresh)


def patch_call(kind: Kind, key: str, patch: Any, terms: Terms, fresh: str) -> Call:
    """Merge a patch (RFC 7396) into an entity."""
    call = _write("PATCH", _entity(kind, key), patch, terms, fresh)
    return replace(call, headers=call.headers | {"Content-Type": "application/merge-patch+json"})


def delete_call(kind: Kind, key: str, terms: Terms, fresh: str) -> Call:
    """Remove an entity."""
    return _write("DELETE", _entity(kind, key), None, terms, fresh)


def batch_call(
    operations: Sequence[Mapping[str, Any]], *, simultaneous: bool, terms: Terms, fresh: str
) -> Call:
    """Several operations as one entry."""
    body = {"operations": list(operations), "simultaneous": simultaneous}
    return _write("POST", "/batch", body, terms, fresh)


def revert_call(
    to: int | str, entities: Sequence[tuple[Kind, str]] | None, terms: Terms, fresh: str
) -> Call:
    """Bring back an older state as a new entry."""
    body: dict[str, Any] = {"to": to}
    if entities is not None:
        body["entities"] = [{"kind": kind, "key": key} for kind, key in entities]
    return _write("POST", "/revert", body, terms, fresh)


def _get(path: str, wants: tuple[str, ...], **query: str | int | None) -> Call:
    told = {name: value for name, value in query.items() if value is not None}
    return Call("GET", _ROOT + path + (f"?{urlencode(told)}" if told else ""), wants=wants)


def _posted(path: str, body: Any, wants: tuple[str, ...]) -> Call:
    headers = {"Content-Type": "application/json"}
    return Call("POST", path, headers, json.dumps(body).encode(), wants=wants)


def _write(method: str, path: str, body: Any, terms: Terms, fresh: str) -> Call:
    query: dict[str, str] = {"dry_run": "true"} if terms.dry_run else {}
    if terms.wait is not None:
        query |= {"wait": terms.wait, "timeout": f"{terms.wait_timeout_s:g}"}
    # An answer can be lost behind the commit: the same key gets it again, and no second entry.
    headers = {"Idempotency-Key": terms.idempotency_key or fresh}
    optional = {
        "X-SIE-Reason": _header(terms.reason),
        "X-SIE-Force": _header(terms.force),
        "If-Match": terms.if_match,
        "If-None-Match": "*" if terms.if_absent else None,
        "If-Match-Epoch": None if terms.if_epoch is None else str(terms.if_epoch),
    }
    headers |= {name: value for name, value in optional.items() if value}
    content = b""
    if body is not None or method == "PATCH":
        headers["Content-Type"] = "application/json"
        content = json.dumps(body, ensure_ascii=False).encode()
    where = _ROOT + path + (f"?{urlencode(query)}" if query else "")
    return Call(method, where, headers, content, patience=Patience(), wants=("changed", "epoch"))


def _entity(kind: Kind, key: str) -> str:
    if len(key) > _KEY_MAX:
        raise FixRequest(f"no {kind} has a name of {len(key)} characters")
    return f"/{_PLURALS[kind]}/{quote(key, safe='/')}"


def _header(text: str) -> str:
    # Headers travel as Latin-1; the service reads UTF-8 out of them.
    return text.encode().decode("latin-1")
