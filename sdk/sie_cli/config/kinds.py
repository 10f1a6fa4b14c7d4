"""Kinds by every name that people give them: `model`, `models`, `m`.

*pure.* Promises that one name means one kind, and that a near miss is told the nearest name.
"""

from collections.abc import Sequence
from typing import Final

from sie_cli.show.habits import kind_habit
from sie_core.nearest import nearest
from sie_schemas.errors import FixRequest
from sie_sdk.config.calls import Kind

__all__ = ["ALL", "KINDS", "NAMES", "kind_named", "kinds_named"]

KINDS: Final[tuple[Kind, ...]] = ("bundle", "pool", "model", "adapter")
"""In the order in which they can be written: what is needed first."""
ALL: Final = "all"
_SHOWN: Final[tuple[Kind, ...]] = ("model", "adapter", "bundle", "pool")
"""In the order in which they are read: what is asked for first."""
NAMES: Final[dict[str, Kind]] = {
    name: kind for kind in KINDS for name in (kind, f"{kind}s", kind[0], kind[:2])
}
"""Kind by each of its names: the word, its plural, and its first letter or two."""


def kind_named(text: str) -> Kind:
    """The kind that a text names. Raises `FixRequest`."""
    found = NAMES.get(text.lower())
    if found is not None:
        return found
    kind, slash, rest = text.partition("/")
    if slash and kind in NAMES:
        raise FixRequest(f"{text!r} is no kind: write `{kind} {rest}`, in two words")
    if text == ALL:
        raise FixRequest(f"{ALL!r} is for `sie get {ALL}` alone: say {', '.join(KINDS)}")
    if habit := kind_habit(text):
        raise FixRequest(f"{text!r} is no kind: {habit}; kinds are {', '.join(KINDS)}")
    meant = nearest(text, KINDS)
    hint = f"did you mean {meant!r}? " if meant else ""
    raise FixRequest(f"{text!r} is no kind; {hint}kinds are {', '.join(KINDS)}")


def kinds_named(text: str) -> Sequence[Kind]:
    """The kinds that a text names, of which `all` names each. Raises `FixRequest`."""
    return _SHOWN if text == ALL else (kind_named(text),)
