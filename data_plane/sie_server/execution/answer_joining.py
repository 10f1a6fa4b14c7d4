"""One answer out of the answers to the parts of a batch.

*pure.* Parts are in order and of one kind; their bytes are put one behind the other.
"""

from collections.abc import Sequence
from itertools import chain
from typing import TypeVar, assert_never

from sie_schemas.ipc import (
    Answers,
    ClassAnswers,
    DenseAnswers,
    EncodeAnswers,
    EntityAnswers,
    MultivectorAnswers,
    ScoreAnswers,
    SparseAnswers,
)

__all__ = ["join"]

T = TypeVar("T")


def join(parts: Sequence[Answers]) -> Answers:
    """The answer to the whole batch; `parts` has one at least."""
    first = parts[0]
    match first:
        case DenseAnswers():
            return _dense(_all(parts, DenseAnswers))
        case ScoreAnswers():
            return _scores(_all(parts, ScoreAnswers))
        case EntityAnswers():
            named = _all(parts, EntityAnswers)
            found = chain.from_iterable(part.entities for part in named)
            return EntityAnswers(tuple(found), _tokens(named))
        case ClassAnswers():
            told = _all(parts, ClassAnswers)
            return ClassAnswers(
                tuple(chain.from_iterable(part.classes for part in told)), _tokens(told)
            )
        case EncodeAnswers():
            return _encoded(_all(parts, EncodeAnswers))
        case _:
            assert_never(first)


def _all(parts: Sequence[object | None], kind: type[T]) -> list[T]:
    found = [part for part in parts if isinstance(part, kind)]
    if len(found) != len(parts):
        raise TypeError(f"not every part of the batch was answered with {kind.__name__}")
    return found


def _tokens(parts: Sequence[ScoreAnswers | EntityAnswers | ClassAnswers]) -> tuple[int, ...]:
    return tuple(chain.from_iterable(part.tokens for part in parts))


def _encoded(parts: Sequence[EncodeAnswers]) -> EncodeAnswers:
    first = parts[0]
    dense = [part.dense for part in parts]
    sparse = [part.sparse for part in parts]
    multivector = [part.multivector for part in parts]
    return EncodeAnswers(
        dense=_dense(_all(dense, DenseAnswers)) if first.dense else None,
        sparse=_sparse(_all(sparse, SparseAnswers)) if first.sparse else None,
        multivector=_multivector(_all(multivector, MultivectorAnswers))
        if first.multivector
        else None,
    )


def _dense(parts: Sequence[DenseAnswers]) -> DenseAnswers:
    return DenseAnswers(parts[0].dim, b"".join(part.values for part in parts))


def _scores(parts: Sequence[ScoreAnswers]) -> ScoreAnswers:
    return ScoreAnswers(
        values=b"".join(part.values for part in parts),
        relevance=b"".join(part.relevance for part in parts),
        logits=b"".join(part.logits for part in parts),
        tokens=_tokens(parts),
    )


def _sparse(parts: Sequence[SparseAnswers]) -> SparseAnswers:
    return SparseAnswers(
        counts=b"".join(part.counts for part in parts),
        indices=b"".join(part.indices for part in parts),
        values=b"".join(part.values for part in parts),
    )


def _multivector(parts: Sequence[MultivectorAnswers]) -> MultivectorAnswers:
    return MultivectorAnswers(
        parts[0].dim,
        b"".join(part.counts for part in parts),
        b"".join(part.values for part in parts),
    )
