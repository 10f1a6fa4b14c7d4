"""Labels that are asked for, and which of a model's own they mean.

*pure.* A model with fixed labels knows each by its kind (`LOC`) and by the tags of that kind
(`B-LOC`). It also knows the words that the table of synonyms in its document has for it
(`location`), in any case. Anything else is refused with the list of its labels: asking for what a
model cannot find is an error, and never an empty answer. Answers tell the model's own labels.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sie_schemas.errors import FixRequest
from sie_server.backends.backend import ModelSpec, load_failed
from sie_server.backends.extraction.tags import Tag

__all__ = ["FixedLabels", "any_labels"]

_LABELS_MAX: Final = 256
"""Every label is in the model's row, whose length is 512 tokens or so."""
_LABEL_CHARS_MAX: Final = 4096
"""Of one label of a request; it is written again for each text, and into each place of a template.
"""


class FixedLabels:
    """The labels of one model that cannot be taught others."""

    def __init__(self, spec: ModelSpec, kinds: Iterable[str], tags: Sequence[Tag] = ()) -> None:
        """Raises MODEL_LOAD_FAILED where the document's labels are not the model's."""
        assert spec.tasks.extract is not None, "a backend that extracts has checked that"
        self._model_id = spec.model_id
        self.kinds = frozenset(kinds)
        self._tags = {tag.name: tag.kind for tag in tags if tag.kind is not None}
        self._synonyms = _folded(spec.tasks.extract.synonyms or {})
        try:
            self.default = self.asked(spec.tasks.extract.labels)
        except FixRequest as error:
            raise load_failed(f"tasks.extract.labels of the config: {error.message}") from error

    def asked(self, labels: Sequence[str]) -> frozenset[str]:
        """The kinds that labels mean, none where there are none. Raises INVALID_REQUEST."""
        return frozenset(kind for label in labels for kind in self._meant(label))

    def wanted(self, labels: Sequence[str]) -> frozenset[str]:
        """The kinds that a request is answered with: its own, else the document's, else all."""
        return self.asked(labels) or self.default or self.kinds

    def _meant(self, label: str) -> tuple[str, ...]:
        # The name to the letter first: of two labels that differ in case alone each can be meant.
        if label in self.kinds:
            return (label,)
        if label in self._tags:
            return (self._tags[label],)
        word = label.casefold()
        meant = {word, *self._synonyms.get(word, ())}
        if known := tuple(kind for kind in self.kinds if kind.casefold() in meant):
            return known
        raise FixRequest(
            f"{self._model_id} knows no label {label[:80]!r}; "
            f"its labels are {', '.join(sorted(self.kinds))}",
            field="labels",
        )


def any_labels(labels: Sequence[str], model_id: str) -> tuple[str, ...]:
    """The labels for a model that finds any, as they were given. Raises INVALID_REQUEST."""
    found = tuple(labels)
    if not found:
        raise FixRequest(
            f"{model_id} finds any labels, and none were given: name those to look for",
            field="labels",
        )
    if len(found) > _LABELS_MAX or not all(label.strip() for label in found):
        raise FixRequest(
            f"labels are at most {_LABELS_MAX} words that are not blank", field="labels"
        )
    longest = max(map(len, found))
    if longest > _LABEL_CHARS_MAX:
        raise FixRequest(
            f"a label has {longest} characters; one has at most {_LABEL_CHARS_MAX}", field="labels"
        )
    return found


def _folded(table: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The table in lower case, words that differ in case alone joined."""
    folded: dict[str, tuple[str, ...]] = {}
    for word, kinds in table.items():
        lowered = tuple(kind.casefold() for kind in kinds)
        folded[word.casefold()] = folded.get(word.casefold(), ()) + lowered
    return folded
