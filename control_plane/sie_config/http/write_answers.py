"""The answers to writes.

*pure.* Promises that the answer to a write is a function of its entry and of what was asked. So a
repeated key gets the first answer again, in another process too.
"""

from collections.abc import Container, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from sie_config.documents.differences import changes_between, human_lines, registry_patch
from sie_config.writer.draft import Outcome
from sie_config.writer.rules import etag
from sie_schemas.api.writes import (
    AffectedReplica,
    DryRun,
    EntityDeleted,
    EntityWritten,
    GroupWritten,
    Written,
    WrittenChange,
)
from sie_schemas.entry import ENTITY_KINDS

__all__ = ["dry_run_answer", "entity_answer", "group_answer", "models_met"]


class _Profile(Struct):
    backend: str


class _Model(Struct):
    """The pool and the backends of a model."""

    pool: str
    profiles: dict[str, _Profile]

    def is_placed(self, pools: Container[str], backends: Container[str]) -> bool:
        """True if it runs in one of these pools, or on one of these backends."""
        return self.pool in pools or any(p.backend in backends for p in self.profiles.values())


class _Bundle(Struct):
    backends: tuple[str, ...]


_MODEL: Final = msgspec.json.Decoder(_Model)
_BUNDLE: Final = msgspec.json.Decoder(_Bundle)


def entity_answer(
    kind: str, key: str, outcome: Outcome, *, is_put: bool, is_published: bool
) -> EntityDeleted | EntityWritten:
    """The answer to a write of one entity."""
    told: EntityDeleted = {
        "kind": kind,
        "key": key,
        **_written(outcome, is_published),
        "created": outcome.created,
    }
    if not is_put:
        return told
    return {**told, "etag": etag(outcome.entry.log_id, outcome.modified_epoch)}


def group_answer(outcome: Outcome, *, is_published: bool) -> GroupWritten:
    """The answer to a batch or a revert: what its one entry changed."""
    entry = outcome.entry
    changes: list[WrittenChange] = []
    for change in entry.changes if outcome.changed else ():
        if change.entity_kind in ENTITY_KINDS:
            row: WrittenChange = {
                "kind": change.entity_kind,
                "key": change.key,
                "verb": change.verb,
            }
            if change.verb == "put":
                row["etag"] = etag(entry.log_id, entry.epoch)
            changes.append(row)
    return {**_written(outcome, is_published), "changes": changes}


def dry_run_answer(outcome: Outcome, replicas: Sequence[AffectedReplica]) -> DryRun:
    """The answer to a dry run: the changes that a write would make. There is no hash: it would hold
    the time of the write."""
    assert outcome.before is not None and outcome.after is not None
    changes = changes_between(outcome.before, outcome.after)
    return {
        "dry_run": True,
        "log_id": outcome.entry.log_id,
        "epoch": outcome.entry.epoch,
        "state_digest": outcome.after.digest,
        "changed": outcome.changed,
        "created": outcome.created,
        "changes": [{"kind": c.kind, "key": c.key, "verb": c.verb} for c in changes],
        "patch": registry_patch(changes),
        "human": [
            *human_lines(changes),
            *(f"! nobody could serve {each.name} any more: {each.needs}" for each in outcome.dark),
        ],
        "replicas": list(replicas),
        "dark": [each.row for each in outcome.dark],
    }


def models_met(outcome: Outcome) -> list[str]:
    """The models that a trial touches: by name, by an adapter, or by their pool or bundle."""
    assert outcome.before is not None and outcome.after is not None
    changed = {kind: set[str]() for kind in ENTITY_KINDS}
    for change in outcome.entry.changes if outcome.changed else ():
        changed[change.entity_kind].add(change.key)
    met = changed["model"] | {key.rpartition("/")[0] for key in changed["adapter"]}
    if changed["pool"] or changed["bundle"]:
        found = (outcome.before.get("bundle", key) for key in changed["bundle"])
        found_after = (outcome.after.get("bundle", key) for key in changed["bundle"])
        bundles = [each for each in (*found, *found_after) if each is not None]
        backends = {name for each in bundles for name in _BUNDLE.decode(each.document).backends}
        met |= {
            each.key
            for each in outcome.after.of_kind("model")
            if _MODEL.decode(each.document).is_placed(changed["pool"], backends)
        }
    return sorted(met)


def _written(outcome: Outcome, is_published: bool) -> Written:
    entry = outcome.entry
    return {
        "log_id": entry.log_id,
        "epoch": entry.epoch,
        "hash": entry.hash,
        "state_digest": entry.state_digest,
        "ts": entry.ts,
        "changed": outcome.changed,
        "published": is_published,
    }
