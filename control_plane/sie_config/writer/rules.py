"""The rules: what may be written now.

*pure.* Admission, as opposed to the fold. It runs on the writer alone, may be tightened in any
release, and never changes what an entry of the log means. Promises that an admitted change can be
folded, and that a write which changes nothing makes no change. Its cost does not grow with the
registry. Whether a document is well-formed is settled before, by `sie_schemas.documents`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, assert_never

import msgspec

from sie_config.writer.dark import Names
from sie_core.backend_options import without_adapters
from sie_core.nearest import choice
from sie_core.registry import Entity, Registry
from sie_core.stored_documents import DocumentJson
from sie_schemas.entry import log_id8
from sie_schemas.errors import FixRequest, invalid_field

__all__ = [
    "Admitted",
    "Command",
    "Delete",
    "Expectation",
    "Index",
    "Put",
    "absent",
    "admit",
    "check",
    "etag",
    "judge",
]

_PATHS = frozenset({"blame", "history", "status"})
"""Last parts of API paths, which no entity may have for a name."""
_SHOWN_MAX = 5
"""Names in one sentence."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """The client's belief: the entity has one of `etags` (`*`: any), or it is `absent`."""

    etags: tuple[str, ...] | None = None
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Put:
    """Create or replace an entity. `body` is the canonical form of `document`."""

    kind: str
    key: str
    document: DocumentJson
    body: bytes
    expects: Expectation = Expectation()


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove an entity that is there."""

    kind: str
    key: str
    expects: Expectation = Expectation()


Command: TypeAlias = Put | Delete


@dataclass(frozen=True, slots=True)
class Admitted:
    """The effect of a command. `changed` is False for a put of what is there already."""

    changed: bool
    created: bool = False


class Index:
    """The tables that the rules look up, kept beside a registry. Owned by the sequencer.

    Invariant: it equals `Index.of` the registry that all `update` calls have led to.
    """

    def __init__(self) -> None:
        self.aliases: dict[str, str] = {}
        self.backends: dict[str, tuple[str, ...]] = {}
        self.adapters: dict[str, set[str]] = {}
        self._aliases_of: dict[str, tuple[str, ...]] = {}

    @classmethod
    def of(cls, registry: Registry) -> "Index":
        """The index of a registry, from nothing."""
        index = cls()
        for entity in registry:
            index.update(entity.kind, entity.key, msgspec.json.decode(entity.document))
        return index

    def update(self, kind: str, key: str, document: DocumentJson | None) -> None:
        """Note that an entity now has this document; None is absent."""
        if kind == "model":
            self._update_model(key, document)
        elif kind == "bundle":
            self.backends.pop(key, None)
            if document is not None:
                self.backends[key] = tuple(document["backends"])
        elif kind == "adapter":
            model_id, _, name = key.rpartition("/")
            names = self.adapters.setdefault(model_id, set())
            names.discard(name)
            if document is not None:
                names.add(name)

    def names(self, touched: Sequence[tuple[str, str]] = ()) -> Names:
        """Names of this registry, and of the one before a change of `touched`."""
        before = {key for kind, key in touched if kind == "bundle"}
        return Names(frozenset(self.backends.keys() | before), self.aliases)

    def restore(self, touched: Sequence[tuple[str, str]], registry: Registry) -> None:
        """Set these entities back to what the registry holds."""
        # All leave before any returns: an alias may have moved from one of them to another.
        for kind, key in touched:
            self.update(kind, key, None)
        for kind, key in touched:
            entity = registry.get(kind, key)
            if entity is not None:
                self.update(kind, key, msgspec.json.decode(entity.document))

    def _update_model(self, model_id: str, document: DocumentJson | None) -> None:
        for alias in self._aliases_of.pop(model_id, ()):
            del self.aliases[alias]
        aliases = tuple(document.get("aliases", ())) if document is not None else ()
        if aliases:
            self._aliases_of[model_id] = aliases
            self.aliases.update(dict.fromkeys(aliases, model_id))


def etag(log_id: str, modified_epoch: int) -> str:
    """The ETag of an entity: which log, and where in it the entity last changed."""
    return f'"{log_id8(log_id)}-{modified_epoch}"'


def admit(
    registry: Registry, index: Index, log_id: str, command: Command, *, forced: bool = False
) -> Admitted:
    """Judge one command against one state. Raises `FixRequest`; changes nothing."""
    admitted = judge(registry, log_id, command)
    if admitted.changed:
        check(registry, index, command, forced=forced)
    return admitted


def judge(registry: Registry, log_id: str, command: Command) -> Admitted:
    """Check the client's expectation, and find whether the command changes anything."""
    entity = registry.get(command.kind, command.key)
    _check_expectation(entity, log_id, command)
    match command:
        case Put():
            # Bytes, since both are canonical: the same document in another spelling makes no entry.
            changed = entity is None or entity.document != command.body
            return Admitted(changed, created=entity is None)
        case Delete():
            if entity is None:
                raise absent(command.kind, command.key)
            return Admitted(changed=True)
        case _:
            assert_never(command)


def check(registry: Registry, index: Index, command: Command, *, forced: bool) -> None:
    """Check a command that changes something against what else is there. Raises `FixRequest`."""
    match command:
        case Put():
            _check_references(registry, index, command)
        case Delete():
            _check_unused(registry, index, command, forced=forced)
        case _:
            assert_never(command)


def _check_expectation(entity: Entity | None, log_id: str, command: Command) -> None:
    expects = command.expects
    current = etag(log_id, entity.modified_epoch) if entity is not None else None
    if expects.absent and entity is not None:
        raise _stale(f"{command.kind} {command.key!r} exists already", entity, current)
    if expects.etags is None:
        return
    if current is None or ("*" not in expects.etags and current not in expects.etags):
        raise _stale(
            f"{command.kind} {command.key!r} is not what If-Match expects: "
            + (f"it is at {current}" if current is not None else "it does not exist"),
            entity,
            current,
        )


def _stale(message: str, entity: Entity | None, current: str | None) -> FixRequest:
    details: dict[str, Any] = {"etag": current}
    if entity is not None:
        details["modified_epoch"] = entity.modified_epoch
        details["document"] = msgspec.json.decode(entity.document)
    return FixRequest(message, code="PRECONDITION_FAILED", details=details)


def absent(kind: str, key: str, epoch: int | None = None) -> FixRequest:
    """The refusal of what is about an entity that is not there, or was not at an epoch."""
    when = "is" if epoch is None else "was"
    where = "" if epoch is None else f" at epoch {epoch}"
    return FixRequest(f"there {when} no {kind} {key!r}{where}", code=f"{kind.upper()}_NOT_FOUND")


def _check_references(registry: Registry, index: Index, command: Put) -> None:
    last = command.key.rpartition("/")[2]
    if last in _PATHS:
        raise invalid_field(
            "name" if command.kind != "model" else "model_id",
            f"`{last}` cannot be a name: it is a path of the API",
        )
    if command.kind == "model":
        _check_backends(index, command)
        _check_pool(registry, command)
        _check_names(registry, index, command)
        _check_adapted(index, command)
    elif command.kind == "adapter":
        _check_model(registry, command)


def _check_model(registry: Registry, command: Put) -> None:
    """Refuse an adapter of a model that is not there, or that no backend would apply."""
    model_id = command.document["model_id"]
    model = registry.get("model", model_id)
    if model is None:
        raise FixRequest(
            f"there is no model {model_id!r} for this adapter; register the model first",
            code="MODEL_NOT_FOUND",
            field="model_id",
        )
    backends = _without_adapters(msgspec.json.decode(model.document))
    if backends:
        raise invalid_field(
            "model_id",
            f"model {model_id!r} runs on the backend {backends}, which takes no adapters; merge "
            "the adapter into its base, and register that as a model",
        )


def _check_adapted(index: Index, command: Put) -> None:
    """Refuse to move a model away from its adapters, to backends that would not apply them."""
    names = sorted(index.adapters.get(command.key, ()))
    backends = _without_adapters(command.document) if names else ""
    if backends:
        raise _conflict(
            "profiles",
            f"model {command.key!r} has adapters ({', '.join(names[:_SHOWN_MAX])}), and the "
            f"backend {backends} takes none. Delete them first",
        )


def _without_adapters(model: DocumentJson) -> str:
    return without_adapters(profile["backend"] for profile in model["profiles"].values())


def _check_backends(index: Index, command: Put) -> None:
    runnable = {backend for backends in index.backends.values() for backend in backends}
    for name, profile in command.document["profiles"].items():
        if profile["backend"] not in runnable:
            raise invalid_field(
                f"profiles.{name}.backend",
                f"no bundle runs backend {profile['backend']!r}; "
                + choice(profile["backend"], runnable, "bundles run"),
            )


def _check_pool(registry: Registry, command: Put) -> None:
    pool = command.document["pool"]
    if registry.get("pool", pool) is None:
        known = [entity.key for entity in registry.of_kind("pool")]
        raise invalid_field(
            "pool", f"there is no pool {pool!r}; {choice(pool, known, 'there are')}"
        )


def _check_names(registry: Registry, index: Index, command: Put) -> None:
    owner = index.aliases.get(command.key)
    if owner is not None:
        raise _conflict("model_id", f"{command.key!r} is an alias of model {owner!r}")
    seen: set[str] = set()
    for position, alias in enumerate(command.document.get("aliases", ())):
        field = f"aliases.{position}"
        if alias == command.key or alias in seen:
            raise invalid_field(field, f"the name {alias!r} is given twice")
        seen.add(alias)
        if registry.get("model", alias) is not None:
            raise _conflict(field, f"{alias!r} is the id of another model")
        owner = index.aliases.get(alias, command.key)
        if owner != command.key:
            raise _conflict(field, f"{alias!r} is an alias of model {owner!r}")


def _check_unused(registry: Registry, index: Index, command: Delete, *, forced: bool) -> None:
    if command.kind == "model":
        names = sorted(index.adapters.get(command.key, ()))
        if names:
            raise _conflict(
                None, f"model {command.key!r} has adapters: {', '.join(names)}. Delete them first"
            )
    elif command.kind in {"bundle", "pool"} and not forced:
        users = _models_that_need(registry, index, command)
        if users:
            raise FixRequest(
                f"{command.kind} {command.key!r} is needed by: {', '.join(users[:5])}. Move them, "
                "or say in X-SIE-Force why it is to go all the same",
                code="FORCE_REQUIRED",
                field="X-SIE-Force",
                details={"models": list(users[:100])},
            )


def _models_that_need(registry: Registry, index: Index, command: Delete) -> Sequence[str]:
    others = {
        backend
        for name, backends in index.backends.items()
        if name != command.key
        for backend in backends
    }
    users = []
    for entity in registry.of_kind("model"):
        document = msgspec.json.decode(entity.document)
        if command.kind == "pool":
            needed = document["pool"] == command.key
        else:
            needed = any(p["backend"] not in others for p in document["profiles"].values())
        if needed:
            users.append(entity.key)
    return users


def _conflict(field: str | None, message: str) -> FixRequest:
    return FixRequest(message, code="ENTITY_CONFLICT", field=field)
