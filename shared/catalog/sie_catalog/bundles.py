"""Bundles: the sets of backends that one kind of worker runs, as a new log holds them.

*pure.* Data that the seed of a log, `sie up` and the images read alike. `default` is every backend
whose library is among the cluster's own packages. A bundle of `APART` has packages that the bounds
of the rest keep out: its workers run in an environment of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["APART", "BUNDLES", "Bundle"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """One bundle that this release makes workers for."""

    name: str
    backends: Sequence[str]
    words: str

    @property
    def document(self) -> dict[str, Any]:
        """The document, as `POST /v1/configs/bundles` takes it."""
        return {"name": self.name, "backends": list(self.backends), "description": self.words}


_DEFAULT: Final = Bundle(
    "default",
    (
        "transformer",
        "cross-encoder",
        "token-classification",
        "text-classification",
        "zero-shot-classification",
        "image-text",
        "onnx-cross-encoder",
        "spacy",
    ),
    "Every backend of models that is built in.",
)
_GLINER: Final = Bundle(
    "gliner",
    ("gliner", "gliclass"),
    "Entities and classes for any labels, by packages that are installed apart.",
)

BUNDLES: Final[Mapping[str, Bundle]] = {each.name: each for each in (_DEFAULT, _GLINER)}
APART: Final = frozenset({_GLINER.name})
"""The bundles whose workers run in an environment of their own."""
