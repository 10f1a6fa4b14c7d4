"""Answers: from what the device gave for a batch to the public answer of each item.

*pure.* One msgpack-encoded map for each input, in order: what the gateway puts into a response
without looking inside. Vectors keep their bytes (`sie_schemas.arrays`). Raises `OurFault` where the
device's arrays do not fit the batch; a score that is not finite fails its item alone.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, assert_never

import msgspec
import numpy as np

from sie_schemas import arrays
from sie_schemas.errors import OurFault, SIEError
from sie_schemas.ipc import Answers, DenseAnswers, EntityAnswers, ScoreAnswers
from sie_schemas.items import Item

__all__ = ["public_answers"]

_ENCODER: Final = msgspec.msgpack.Encoder()
_DTYPES: Final = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}


def public_answers(
    answers: Answers, items: Sequence[Item], output_dtypes: Sequence[str]
) -> list[bytes | SIEError]:
    """The answer of each item, or why it has none. `output_dtypes` has one dtype per item."""
    match answers:
        case DenseAnswers():
            return _dense(answers, items, output_dtypes)
        case ScoreAnswers():
            return _scores(answers, items)
        case EntityAnswers():
            return _entities(answers, items)
        case _:
            assert_never(answers)


def _dense(
    answers: DenseAnswers, items: Sequence[Item], output_dtypes: Sequence[str]
) -> list[bytes | SIEError]:
    if answers.dim < 1 or len(answers.values) != 4 * answers.dim * len(items):
        raise _misfit("vectors", len(items))
    vectors = np.frombuffer(answers.values, dtype="<f4").reshape(len(items), answers.dim)
    return [
        _dense_answer(item, vector, dtype)
        for item, vector, dtype in zip(items, vectors, output_dtypes, strict=True)
    ]


def _dense_answer(item: Item, vector: Any, dtype: str) -> bytes | SIEError:
    if dtype not in _DTYPES:
        return SIEError(f"output_dtype {dtype!r} is not offered", code="UNSUPPORTED_OPERATION")
    values = arrays.to_wire(vector.astype(_DTYPES[dtype], copy=False))
    return _encoded(item, {"dense": {"dims": int(vector.size), "dtype": dtype, "values": values}})


def _scores(answers: ScoreAnswers, items: Sequence[Item]) -> list[bytes | SIEError]:
    if len(answers.values) != 4 * len(items):
        raise _misfit("scores", len(items))
    scores = np.frombuffer(answers.values, dtype="<f4").tolist()
    return [
        _ENCODER.encode({"item_id": item.id, "score": score})
        if math.isfinite(score)
        else OurFault("the model gave a score that is not a number", code="INFERENCE_ERROR")
        for item, score in zip(items, scores, strict=True)
    ]


def _entities(answers: EntityAnswers, items: Sequence[Item]) -> list[bytes | SIEError]:
    if len(answers.entities) != len(items):
        raise _misfit("lists of entities", len(items))
    return [
        _encoded(
            item,
            {
                "entities": list(entities),
                "relations": [],
                "classifications": [],
                "objects": [],
                "data": {},
            },
        )
        for item, entities in zip(items, answers.entities, strict=True)
    ]


def _encoded(item: Item, answer: dict[str, Any]) -> bytes:
    return _ENCODER.encode(answer if item.id is None else {"id": item.id, **answer})


def _misfit(what: str, count: int) -> OurFault:
    return OurFault(
        f"model execution did not answer with {what} for {count} inputs", code="INFERENCE_ERROR"
    )
