"""Labels that are asked for, and from a label for each token to entities with their offsets.

*pure.* A word has the label of its first token, so no entity begins or ends inside a word. Labels
are read as BIO (`B-PER`, `I-PER`, `O`) where they have such prefixes; without them neighbouring
words of one label are one entity. An entity's score is the mean of its words'.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from sie_schemas.errors import FixRequest
from sie_server.backends.backend import ModelSpec, load_failed

__all__ = ["Word", "default_labels", "entities", "merged", "require_labels"]

_OUTSIDE = "O"


@dataclass(frozen=True, slots=True)
class Word:
    """A word's place in the text, with the label and the probability of its first token."""

    start: int
    stop: int
    label: str
    score: float


def merged(
    windows: Sequence[Mapping[int, Word]], margins: Sequence[Mapping[int, float]]
) -> list[Word]:
    """The words of a text in its order, each from the window where its margin is widest.

    Words and margins are by the word's number in the text; windows overlap, so a word may be in
    two of them. Of equal margins the earlier window's counts.
    """
    best: dict[int, tuple[float, Word]] = {}
    for words, wide in zip(windows, margins, strict=True):
        for number, word in words.items():
            if number not in best or wide[number] > best[number][0]:
                best[number] = (wide[number], word)
    return [best[number][1] for number in sorted(best)]


def entities(
    text: str, words: Sequence[Word], wanted: frozenset[str]
) -> tuple[dict[str, Any], ...]:
    """The entities of a text, in its order; an empty `wanted` lets every label through."""
    runs: list[tuple[str, list[Word]]] = []
    before = _OUTSIDE
    for word in words:
        begins, kind = _read(word.label)
        if kind == _OUTSIDE:
            before = _OUTSIDE
            continue
        if begins or kind != before:
            runs.append((kind, []))
        runs[-1][1].append(word)
        before = kind
    return tuple(_entity(text, kind, run) for kind, run in runs if not wanted or kind in wanted)


def _read(label: str) -> tuple[bool, str]:
    """Read a label: true if it begins an entity, and the entity's kind."""
    prefix, dash, kind = label.partition("-")
    if dash and prefix in {"B", "I"}:
        return prefix == "B", kind
    return False, label


def _entity(text: str, kind: str, run: Sequence[Word]) -> dict[str, Any]:
    start, stop = run[0].start, run[-1].stop
    return {
        "text": text[start:stop],
        "label": kind,
        "score": sum(word.score for word in run) / len(run),
        "start": start,
        "end": stop,
    }


def require_labels(labels: Sequence[str], known: Set[str], model_id: str) -> frozenset[str]:
    """The labels that are asked for. Raises INVALID_REQUEST for one that the model has not."""
    unknown = sorted(set(labels) - known)
    if unknown:
        raise FixRequest(
            f"{model_id} knows no label {unknown[0]!r}; its labels are {', '.join(sorted(known))}",
            field="labels",
        )
    return frozenset(labels)


def default_labels(spec: ModelSpec, known: Set[str]) -> frozenset[str]:
    """The labels of the model's config. Raises MODEL_LOAD_FAILED for one that it does not have."""
    assert spec.tasks.extract is not None, "a backend that extracts has checked that"
    try:
        return require_labels(spec.tasks.extract.labels, known, spec.model_id)
    except FixRequest as error:
        raise load_failed(f"tasks.extract.labels of the config: {error.message}") from error
