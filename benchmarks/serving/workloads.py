"""The workloads, their texts, and their requests.

*pure.* Every server gets the same texts in the same order, in requests that were made beforehand.
Each turn has texts of its own: users repeat nothing, and a kernel is built for a shape.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from measuring import cosine_distance, mixed_texts, short_texts
from numpy.typing import NDArray
from tokenizers import Tokenizer

from serving.load import post

__all__ = ["CHECKED", "WORKLOADS", "Workload", "greatest_distance", "requests", "texts_of"]

CHECKED: Final = 64
"""Texts of each kind whose vectors are compared with the reference: the first."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests of `size` texts each, so many at once, in windows of `seconds`."""

    name: str
    concurrency: int
    size: int
    mixed: bool
    seconds: float
    fresh: int
    """Texts for one window: more than any server answers in it, so that none comes twice."""


WORKLOADS: Final = (
    Workload("single-1", concurrency=1, size=1, mixed=False, seconds=1.5, fresh=1024),
    Workload("single-8", concurrency=8, size=1, mixed=False, seconds=2.0, fresh=2048),
    Workload("single-64", concurrency=64, size=1, mixed=False, seconds=2.5, fresh=4096),
    Workload("lists-short", concurrency=4, size=32, mixed=False, seconds=3.0, fresh=8192),
    Workload("lists-mixed", concurrency=4, size=32, mixed=True, seconds=5.0, fresh=3072),
)


def texts_of(workload: Workload, tokenizer: Tokenizer, turn: int) -> list[str]:
    """The texts of a turn: 8 to 12 words each, or 8 to 256 tokens of lognormal length."""
    make = mixed_texts if workload.mixed else short_texts
    return make(tokenizer, workload.fresh, seed=turn)


def requests(
    workload: Workload, texts: Sequence[str], path: str, body: Mapping[str, Any]
) -> list[bytes]:
    """The requests, in order. A request for one text gives it as a list of one."""
    size = workload.size
    return [
        post(path, json.dumps({**body, "input": list(texts[start : start + size])}).encode())
        for start in range(0, len(texts), size)
    ]


def greatest_distance(
    workload: Workload, bodies: Mapping[int, bytes], reference: NDArray[Any]
) -> float:
    """The greatest cosine distance between checked answers and the reference's rows."""
    greatest = 0.0
    for place, body in bodies.items():
        start = place * workload.size
        expected = reference[start : start + workload.size]
        if len(expected):
            rows = json.loads(body)["data"][: len(expected)]
            found = np.array([row["embedding"] for row in rows])
            greatest = max(greatest, cosine_distance(found, expected))
    return greatest
