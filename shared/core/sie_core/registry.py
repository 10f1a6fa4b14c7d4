"""The registry: the state that a replay of the log yields, and its digest.

*pure.* An immutable, persistent map from (kind, key) to an entity. Promises that the digest depends
on the entities alone and never on the order in which they came, that it changes with every field of
every entity, and that a change costs what it touches: about ten microseconds, at any size.

The digest is the root of a Merkle map: an entity falls into one of 4,096 buckets by the SHA-256 of
its kind and key; 64 groups of 64 buckets stand under the root, so that a change hashes one bucket,
one group and the root. Every level has its own domain. Digests are computed when asked for, so a
long replay pays only where it compares.
"""

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, Final

__all__ = ["Entity", "EntityId", "Registry"]

EntityId = tuple[str, str]
"""(kind, key)."""

_FAN_OUT: Final = 64
_LEAF: Final = b"sie/registry/leaf/v1\0"
_BUCKET: Final = b"sie/registry/bucket/v1\0"
_GROUP: Final = b"sie/registry/group/v1\0"
_ROOT: Final = b"sie/registry/root/v1\0"


class Entity:
    """One thing of the registry, as the log left it. Immutable."""

    __slots__ = ("document", "key", "kind", "leaf", "modified_epoch")

    def __init__(self, kind: str, key: str, modified_epoch: int, document: bytes) -> None:
        self.kind: Final = kind
        self.key: Final = key
        self.modified_epoch: Final = modified_epoch
        self.document: Final = document
        """Canonical JSON, byte for byte as admitted."""
        # Kind and key hold no NUL (the fold refuses it), so the encoding is injective.
        self.leaf: Final = hashlib.sha256(
            b"%s%s\0%s\0%d\0%s" % (_LEAF, kind.encode(), key.encode(), modified_epoch, document)
        ).digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entity) and self.leaf == other.leaf

    def __hash__(self) -> int:
        return hash(self.leaf)

    def __repr__(self) -> str:
        return f"Entity({self.kind}:{self.key}@{self.modified_epoch})"


class _Bucket:
    """The entities whose id falls into one slot; never changed once made."""

    __slots__ = ("_digest", "entities")

    def __init__(self, entities: dict[EntityId, Entity]) -> None:
        self.entities: Final = entities
        self._digest: bytes | None = None

    @property
    def digest(self) -> bytes:
        if self._digest is None:
            leaves = sorted(entity.leaf for entity in self.entities.values())
            self._digest = hashlib.sha256(_BUCKET + b"".join(leaves)).digest()
        return self._digest


class _Group:
    """Sixty-four buckets; never changed once made."""

    __slots__ = ("_digest", "buckets")

    def __init__(self, buckets: tuple[_Bucket, ...]) -> None:
        self.buckets: Final = buckets
        self._digest: bytes | None = None

    @property
    def digest(self) -> bytes:
        if self._digest is None:
            # Past the property where the digest is known: this is most of what a write computes.
            joined = b"".join([bucket._digest or bucket.digest for bucket in self.buckets])
            self._digest = hashlib.sha256(_GROUP + joined).digest()
        return self._digest


class Registry:
    """All entities at one position of the log. Immutable: `with_changes` makes the next one."""

    __slots__ = ("_count", "_digest", "_groups")

    EMPTY: ClassVar["Registry"]

    def __init__(self, groups: tuple[_Group, ...], count: int) -> None:
        self._groups = groups
        self._count = count
        self._digest: str | None = None

    @classmethod
    def of(cls, entities: Iterable[Entity]) -> "Registry":
        """A registry of these entities. A later one with the same id replaces an earlier one."""
        return cls.EMPTY.with_changes({(entity.kind, entity.key): entity for entity in entities})

    @property
    def digest(self) -> str:
        """Hex SHA-256 root of the Merkle map."""
        if self._digest is None:
            joined = b"".join([group._digest or group.digest for group in self._groups])
            self._digest = hashlib.sha256(_ROOT + joined).hexdigest()
        return self._digest

    def recounted(self) -> str:
        """The digest once more, from the documents up: nothing that was remembered is believed."""
        entities = self._unordered()
        return Registry.of(
            [Entity(each.kind, each.key, each.modified_epoch, each.document) for each in entities]
        ).digest

    def get(self, kind: str, key: str) -> Entity | None:
        """The entity, or None."""
        group, bucket = _slot(kind, key)
        return self._groups[group].buckets[bucket].entities.get((kind, key))

    def of_kind(self, kind: str) -> list[Entity]:
        """Every entity of a kind, sorted by key. Walks the whole registry."""
        found = [entity for entity in self._unordered() if entity.kind == kind]
        found.sort(key=lambda entity: entity.key)
        return found

    def with_changes(self, changes: Mapping[EntityId, Entity | None]) -> "Registry":
        """The next registry: an entity is put, None takes it away (absent ones are ignored)."""
        if not changes:
            return self
        groups = list(self._groups)
        count = self._count
        opened: dict[tuple[int, int], dict[EntityId, Entity]] = {}
        for (kind, key), entity in changes.items():
            slot = _slot(kind, key)
            if slot not in opened:
                opened[slot] = dict(self._groups[slot[0]].buckets[slot[1]].entities)
            entities = opened[slot]
            count -= (kind, key) in entities
            if entity is None:
                entities.pop((kind, key), None)
            else:
                entities[kind, key] = entity
                count += 1
        touched: dict[int, list[_Bucket]] = {}
        for (group, bucket), entities in opened.items():
            buckets = touched.setdefault(group, list(self._groups[group].buckets))
            buckets[bucket] = _Bucket(entities) if entities else _EMPTY_BUCKET
        for group, buckets in touched.items():
            groups[group] = _Group(tuple(buckets))
        return Registry(tuple(groups), count)

    def difference(self, older: "Registry") -> dict[EntityId, Entity | None]:
        """What made this registry of an older one, None where an entity went.

        Parts that both share are passed over, so between neighbours it costs what changed.
        """
        changes: dict[EntityId, Entity | None] = {}
        for new, old in _unshared(self._groups, older._groups):
            changes |= {
                entity_id: entity
                for entity_id, entity in new.entities.items()
                if old.entities.get(entity_id) != entity
            }
            changes |= dict.fromkeys(old.entities.keys() - new.entities.keys())
        return changes

    def __iter__(self) -> Iterator[Entity]:
        """Every entity, sorted by kind and key."""
        return iter(sorted(self._unordered(), key=lambda entity: (entity.kind, entity.key)))

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Registry) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def _unordered(self) -> Iterator[Entity]:
        for group in self._groups:
            # Most of a small registry is empty, and readers walk it after every entry.
            if group is not _EMPTY_GROUP:
                for bucket in group.buckets:
                    if bucket.entities:
                        yield from bucket.entities.values()


def _unshared(
    groups: tuple[_Group, ...], others: tuple[_Group, ...]
) -> Iterator[tuple[_Bucket, _Bucket]]:
    for new_group, old_group in zip(groups, others, strict=True):
        if new_group is not old_group:
            for new, old in zip(new_group.buckets, old_group.buckets, strict=True):
                if new is not old:
                    yield new, old


@functools.lru_cache(maxsize=4096)
def _slot(kind: str, key: str) -> tuple[int, int]:
    # Kept: a write looks for the same few entities several times.
    head = hashlib.sha256(f"{kind}\0{key}".encode()).digest()
    number = int.from_bytes(head[:2], "big") >> 4
    return divmod(number, _FAN_OUT)


_EMPTY_BUCKET: Final = _Bucket({})
_EMPTY_GROUP: Final = _Group((_EMPTY_BUCKET,) * _FAN_OUT)
Registry.EMPTY = Registry((_EMPTY_GROUP,) * _FAN_OUT, 0)
