"""A mutant: one known way to break such a system, as an edit of our own code.

*types.* An edit is textual and its fragment stands exactly once in its file, so that a mutant which
no longer applies is noticed and not passed over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Edit", "Mutant", "NotApplicable", "edit", "mutated"]


class NotApplicable(ValueError):
    """The fragment of an edit does not stand exactly once in its file."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Put `replacement` where `fragment` is."""

    file: str
    fragment: str
    replacement: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A fault of the protocol, and the tests of which one at least must see it."""

    name: str
    why: str
    """The damage, for somebody who runs the cluster."""
    edits: tuple[Edit, ...]
    killers: tuple[str, ...]
    """Tests that are run, as pytest names them."""


def edit(
    name: str, why: str, file: str, fragment: str, replacement: str, killers: Sequence[str]
) -> Mutant:
    """A mutant of one edit."""
    return Mutant(name, why, (Edit(file, fragment, replacement),), tuple(killers))


def mutated(root: Path, mutant: Mutant) -> dict[Path, str]:
    """The files of a mutant, as they are with its edits. Raises `NotApplicable`."""
    texts: dict[Path, str] = {}
    for each in mutant.edits:
        path = root / each.file
        text = texts[path] if path in texts else path.read_text()
        count = text.count(each.fragment)
        if count != 1:
            raise NotApplicable(
                f"{mutant.name}: the fragment stands {count} times in {each.file}:\n{each.fragment}"
            )
        texts[path] = text.replace(each.fragment, each.replacement)
    return texts
