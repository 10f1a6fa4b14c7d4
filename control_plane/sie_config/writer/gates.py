"""Gates: writes that are well-formed and allowed, and still want a second thought.

*pure.* A gate refuses with `FORCE_REQUIRED`; the reason that forces it is stored in the entry.
Gates are admission rules: they may change in any release and never change what an entry means.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from sie_core.registry import EntityId, Registry
from sie_schemas.errors import FixRequest

__all__ = ["check_in_use", "check_removals"]

_REMOVED_MAX: Final = 3
_REMOVED_SHARE_MAX: Final = 0.2
_NAMED_MAX: Final = 20


def check_removals(
    before: Registry, after: Registry, touched: Sequence[EntityId], *, forced: str
) -> None:
    """Refuse a write that removes more than 3 entities and more than a fifth of all."""
    if forced or len(touched) <= _REMOVED_MAX:
        return
    gone = sorted(
        {
            entity_id
            for entity_id in touched
            if before.get(*entity_id) is not None and after.get(*entity_id) is None
        }
    )
    if len(gone) > _REMOVED_MAX and len(gone) > _REMOVED_SHARE_MAX * len(before):
        raise FixRequest(
            f"this removes {len(gone)} of {len(before)} entities: say in X-SIE-Force why",
            code="FORCE_REQUIRED",
            field="X-SIE-Force",
            details={"removed": [f"{kind} {key}" for kind, key in gone[:_NAMED_MAX]]},
        )


def check_in_use(users: Mapping[str, Sequence[str]], *, forced: str) -> None:
    """Refuse to take away a model that is in use. `users` tells by model id by whom and how."""
    if forced or not users:
        return
    model_id, used = next(iter(sorted(users.items())))
    raise FixRequest(
        f"model {model_id!r} is in use: {', '.join(used[:3])}. Its last profile would go: say in "
        "X-SIE-Force why",
        code="FORCE_REQUIRED",
        field="X-SIE-Force",
        details={"models": {name: list(by)[:_NAMED_MAX] for name, by in sorted(users.items())}},
    )
