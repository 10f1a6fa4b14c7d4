"""Answers: from what the device gave for a batch to the public answer of each item.

*pure.* One msgpack-encoded map for each input, in order: what the gateway puts into a response
without looking inside. Vectors keep their bytes (`sie_schemas.arrays`). Raises `OurFault` where the
device's arrays do not fit the batch; a score that is not finite fails its item alone.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, assert_never

import msgspec
import numpy as np
from numpy.typing import NDArray

from sie_schemas import arrays
from sie_schemas.arrays import DTYPES, in_dtype
from sie_schemas.errors import OurFault, SIEError
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
from sie_schemas.items import Item

__all__ = ["kept", "public_answers"]

_ENCODER: Final = msgspec.msgpack.Encoder()
_SPARSE_DTYPES: Final = frozenset({"float32", "float16"})
"""Other types would save nothing beside the indices, and a sign of a weight says nothing."""
_NORM_MIN: Final = 1e-12
"""Below it a length counts as this, as torch's normalize has it."""

_NOTHING_EXTRACTED: Final[dict[str, Any]] = {
    "entities": [],
    "relations": [],
    "classifications": [],
    "objects": [],
    "data": {},
}


def public_answers(
    answers: Answers,
    items: Sequence[Item],
    output_dtypes: Sequence[str],
    dimensions: Sequence[int | None] = (),
) -> list[bytes | SIEError]:
    """The answer of each item, or why it has none.

    `output_dtypes` has one dtype per item; `dimensions`, where any item wants its vectors cut, how
    many numbers each keeps.
    """
    widths = dimensions or [None] * len(items)
    match answers:
        case DenseAnswers() if all(dtype == "float32" for dtype in output_dtypes) and all(
            width is None for width in widths
        ):
            return _vectors(answers, items)
        case DenseAnswers():
            return _encoded_items(EncodeAnswers(dense=answers), items, output_dtypes, widths)
        case EncodeAnswers():
            return _encoded_items(answers, items, output_dtypes, widths)
        case ScoreAnswers():
            return _scores(answers, items)
        case EntityAnswers():
            return _extracted(answers.entities, items, "entities")
        case ClassAnswers():
            return _extracted(answers.classes, items, "classifications")
        case _:
            assert_never(answers)


def _vectors(answers: DenseAnswers, items: Sequence[Item]) -> list[bytes | SIEError]:
    """The vectors, asked for nearly always, without an array for each item: slices of the bytes."""
    _check_dense(answers, len(items))
    size = 4 * answers.dim
    return [
        _encoded(
            item,
            {
                "dense": {
                    "dims": answers.dim,
                    "dtype": "float32",
                    "values": arrays.wire_of(
                        "<f4", [answers.dim], answers.values[place * size : (place + 1) * size]
                    ),
                }
            },
        )
        for place, item in enumerate(items)
    ]


def _encoded_items(
    answers: EncodeAnswers,
    items: Sequence[Item],
    output_dtypes: Sequence[str],
    widths: Sequence[int | None],
) -> list[bytes | SIEError]:
    """One map for each item, of the outputs that there are."""
    count = len(items)
    outputs: dict[str, list[tuple[Any, ...]]] = {}
    if answers.dense is not None:
        outputs["dense"] = [(vector,) for vector in _dense(answers.dense, count)]
    if answers.sparse is not None:
        outputs["sparse"] = _sparse(answers.sparse, count)
    if answers.multivector is not None:
        outputs["multivector"] = [(rows,) for rows in _multivectors(answers.multivector, count)]
    return [
        _encoded_item(item, {name: values[place] for name, values in outputs.items()}, dtype, width)
        for place, (item, dtype, width) in enumerate(zip(items, output_dtypes, widths, strict=True))
    ]


def _encoded_item(
    item: Item, outputs: dict[str, tuple[Any, ...]], dtype: str, width: int | None
) -> bytes | SIEError:
    if dtype not in DTYPES:
        return SIEError(f"output_dtype {dtype!r} is not offered", code="UNSUPPORTED_OPERATION")
    answer: dict[str, Any] = {}
    for name, arrays_ in outputs.items():
        *indices, values = arrays_
        if width is not None and name != "sparse":
            values = kept(values, width)
        told = dtype if name != "sparse" or dtype in _SPARSE_DTYPES else "float32"
        wired = {"dtype": told, "values": arrays.to_wire(in_dtype(values, told))}
        match name:
            case "dense":
                answer[name] = {"dims": int(values.size), **wired}
            case "sparse":
                answer[name] = {"indices": arrays.to_wire(indices[0]), **wired}
            case _:
                answer[name] = {
                    "token_dims": int(values.shape[1]),
                    "num_tokens": int(values.shape[0]),
                    **wired,
                }
    return _encoded(item, answer)


def _dense(answers: DenseAnswers, count: int) -> Any:
    _check_dense(answers, count)
    return np.frombuffer(answers.values, dtype="<f4").reshape(count, answers.dim)


def _check_dense(answers: DenseAnswers, count: int) -> None:
    # Another process wrote them: a wrong size would give one input the numbers of the next.
    if answers.dim < 1 or len(answers.values) != 4 * answers.dim * count:
        raise _misfit("vectors", count)


def _sparse(answers: SparseAnswers, count: int) -> list[tuple[Any, ...]]:
    bounds = _bounds(answers.counts, count, "sparse vectors")
    indices = _array(answers.indices, "<i4", int(bounds[-1]), "sparse vectors")
    values = _array(answers.values, "<f4", int(bounds[-1]), "sparse vectors")
    return [(indices[start:stop], values[start:stop]) for start, stop in pairwise(bounds)]


def _multivectors(answers: MultivectorAnswers, count: int) -> list[Any]:
    bounds = _bounds(answers.counts, count, "multivectors")
    if answers.dim < 1:
        raise _misfit("multivectors", count)
    flat = _array(answers.values, "<f4", int(bounds[-1]) * answers.dim, "multivectors")
    rows = flat.reshape(-1, answers.dim)
    return [rows[start:stop] for start, stop in pairwise(bounds)]


def _bounds(counts: bytes, count: int, what: str) -> Any:
    """The place where each input's part begins, and the end of the last."""
    sizes = _array(counts, "<i4", count, what)
    # It would move all that follow it to other inputs, and the sum may still be right.
    if count and int(sizes.min()) < 0:
        raise _misfit(what, count)
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])


def _array(data: bytes, dtype: str, size: int, what: str) -> Any:
    if len(data) != 4 * size:
        raise _misfit(what, size)
    return np.frombuffer(data, dtype=dtype)


def _scores(answers: ScoreAnswers, items: Sequence[Item]) -> list[bytes | SIEError]:
    """`score`, and beside it what other APIs ask for: `relevance` and `logit`, where there are."""
    told = {"score": answers.values, "relevance": answers.relevance, "logit": answers.logits}
    columns = {
        name: _array(data, "<f4", len(items), "scores").tolist()
        for name, data in told.items()
        if data or name == "score"
    }
    rows = [
        dict(zip(columns, numbers, strict=True)) for numbers in zip(*columns.values(), strict=True)
    ]
    return [
        _ENCODER.encode({"item_id": item.id, **row})
        if all(math.isfinite(number) for number in row.values())
        else OurFault("the model gave a score that is not a number", code="INFERENCE_ERROR")
        for item, row in zip(items, rows, strict=True)
    ]


def _extracted(
    found: Sequence[Sequence[dict[str, Any]]], items: Sequence[Item], name: str
) -> list[bytes | SIEError]:
    """Every list of `extract` is in its answer, those that the model does not give empty."""
    if len(found) != len(items):
        raise _misfit(f"lists of {name}", len(items))
    return [
        _encoded(item, {**_NOTHING_EXTRACTED, name: list(told)})
        for item, told in zip(items, found, strict=True)
    ]


def _encoded(item: Item, answer: dict[str, Any]) -> bytes:
    return _ENCODER.encode(answer if item.id is None else {"id": item.id, **answer})


def _misfit(what: str, count: int) -> OurFault:
    return OurFault(
        f"model execution did not answer with {what} for {count} inputs", code="INFERENCE_ERROR"
    )


def kept(vectors: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """The first `width` numbers of each vector, normalised; all of them as they are.

    A row of zeros stays one. Matryoshka models are trained to be cut so.
    """
    if width >= vectors.shape[-1]:
        return vectors
    cut = vectors[..., :width]
    lengths = np.linalg.norm(cut, axis=-1, keepdims=True)
    return np.ascontiguousarray(cut / np.maximum(lengths, np.float32(_NORM_MIN)))
