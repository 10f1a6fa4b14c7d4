"""Gates: what may refuse a write that is well-formed and allowed, asked once and in one place.

*pure.* Each gate judges the registry before an admitted write and the one that it would leave.
Most refuse with `FORCE_REQUIRED`; the reason that forces them is stored in the entry. Gates are
admission rules: they may change in any release and never change what an entry means. What the
replicas told is an argument.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from sie_config.writer.dark import Dark, Live, Names, check_dark, going_dark
from sie_core.registry import EntityId, Registry
from sie_schemas.errors import FixRequest

__all__ = ["OPEN", "Gates", "Nobody", "Replicas", "Step", "check_removals"]

_REMOVED_MAX: Final = 3
"""Somebody who removes three by hand means it."""
_REMOVED_SHARE_MAX: Final = 0.2
"""A folder that was read in part removes more than a fifth; tidying up does not."""
_NAMED_MAX: Final = 20
"""An answer that a person reads."""
_SHOWN_MAX: Final = 5
"""Commands in one sentence."""


class Replicas(Protocol):
    """The last words of all replicas, as they stand at the moment of asking."""

    def lacking(self, kinds: Collection[str], log_id: str) -> Sequence[str]:
        """Role and id of live replicas of this log that cannot read one of these kinds."""
        ...

    def users_of(self, model_ids: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """By whom and how each of these models is used; a model that nobody uses is left out."""
        ...

    def live(self) -> Live:
        """The places of live workers, and what is asked for."""
        ...


class Nobody:
    """No replica has said anything: the log begins, or its file is worked on alone."""

    def lacking(self, kinds: Collection[str], log_id: str) -> Sequence[str]:
        """None."""
        return ()

    def users_of(self, model_ids: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """None."""
        return {}

    def live(self) -> Live:
        """Nobody."""
        return Live()


@dataclass(frozen=True, slots=True)
class Step:
    """An admitted write: its kinds of change, and the registries around it."""

    log_id: str
    kinds: Collection[str]
    touched: Sequence[EntityId]
    before: Registry
    after: Registry

    @property
    def gone(self) -> list[EntityId]:
        """The entities that it takes away."""
        return sorted(
            {
                each
                for each in self.touched
                if self.before.get(*each) is not None and self.after.get(*each) is None
            }
        )


@dataclass(frozen=True, slots=True)
class Gates:
    """All gates of one writer. `entities_max` bounds the registry; None leaves it unbounded."""

    replicas: Replicas = field(default_factory=Nobody)
    entities_max: int | None = None

    def check(
        self, step: Step, names: Callable[[], Names], *, forced: str, is_trial: bool
    ) -> tuple[Dark, ...]:
        """Raise `FixRequest` for a write that must not pass, or not without a reason.

        Gives what a forced trial would take out; nobody is asked on behalf of a forced write.
        `names` gives the names of both registries.
        """
        # Also where a write is forced: a reason does not teach an older replica to read, and it
        # would halt.
        self._check_readable(step)
        self._check_size(step)
        if not forced:
            check_removals(step)
            self._check_in_use(step)
        elif not is_trial:
            return ()
        dark = going_dark(step.before, step.after, step.touched, self.replicas.live, names)
        if not forced:
            check_dark(dark)
        return dark

    def _check_readable(self, step: Step) -> None:
        lacking = self.replicas.lacking(step.kinds, step.log_id)
        if lacking:
            raise _cannot_read(lacking, step.kinds)

    def _check_size(self, step: Step) -> None:
        size = len(step.after)
        if self.entities_max is not None and size > max(self.entities_max, len(step.before)):
            raise FixRequest(
                f"the registry holds {len(step.before)} entities and takes up to "
                f"{self.entities_max}",
                code="PAYLOAD_TOO_LARGE",
            )

    def _check_in_use(self, step: Step) -> None:
        """A model that is loaded or asked for; `going_dark` knows those that are asked for."""
        users = self.replicas.users_of([key for kind, key in step.gone if kind == "model"])
        if not users:
            return
        model_id, used = next(iter(sorted(users.items())))
        raise FixRequest(
            f"model {model_id!r} is in use: {', '.join(used[:3])}. Its last profile would go: say "
            "in X-SIE-Force why",
            code="FORCE_REQUIRED",
            field="X-SIE-Force",
            details={"models": {name: list(by)[:_NAMED_MAX] for name, by in sorted(users.items())}},
        )


OPEN: Final = Gates()
"""The gates of a log that begins, or of a file that is worked on alone."""


def check_removals(step: Step) -> None:
    """Refuse a write that removes more than 3 entities and more than a fifth of all."""
    if len(step.touched) <= _REMOVED_MAX:
        return
    gone, size = step.gone, len(step.before)
    if len(gone) > _REMOVED_MAX and len(gone) > _REMOVED_SHARE_MAX * size:
        raise FixRequest(
            f"this removes {len(gone)} of {size} entities: say in X-SIE-Force why",
            code="FORCE_REQUIRED",
            field="X-SIE-Force",
            details={"removed": [f"{kind} {key}" for kind, key in gone[:_NAMED_MAX]]},
        )


def _cannot_read(replicas: Sequence[str], kinds: Collection[str]) -> FixRequest:
    """The refusal of a write that these replicas, by role and id, would halt at."""
    forget = "; ".join(f"`sie replica forget {each}`" for each in replicas[:_SHOWN_MAX])
    more = f" and {len(replicas) - _SHOWN_MAX} more" if len(replicas) > _SHOWN_MAX else ""
    return FixRequest(
        f"{', '.join(replicas[:_SHOWN_MAX])}{more} cannot read {', '.join(sorted(set(kinds)))} and "
        f"would halt: upgrade them first. One that will not be upgraded, or that is no replica of "
        f"this cluster, holds up no write once it is given up: {forget}",
        code="ENTITY_CONFLICT",
        details={"replicas": list(replicas)},
    )
