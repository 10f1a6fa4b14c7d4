"""The engine against sentence-transformers: MiniLM, one thread, texts of mixed length.

*main.* Each turn has texts that nobody ran before, the same for all: users repeat nothing, and
kernels are built for shapes. sentence-transformers runs in batches of 32 after its own sorting, the
engine in batches of the sidecar's budget as the texts come. Ratios are of CPU time, over
sentence-transformers in the same precision; beside each stands the greatest cosine distance to the
same model in float64. *Again* runs the texts of a turn a second time, over its first. Exits 2 where
sentence-transformers is not installed.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from measuring import (
    Timing,
    arguments,
    cosine_distance,
    machine,
    median_of,
    mixed_texts,
    report,
    timed,
)
from minilm import SOURCE, TOKENS_MAX, exact_vectors
from minilm import tokenizer as minilm_tokenizer
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers.utils.logging import disable_progress_bar

from sie_schemas import ipc
from sie_schemas.documents import EncodeTask, ProfileDocument, Tasks
from sie_server.backends.backend import Backend, DeviceSpec, ModelSpec
from sie_server.backends.encode import transformer
from sie_server.packed.prepacked import multiplies_bfloat16
from sie_server.weights.sources import Weights, resolve

_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}
_CHECK_SEED: Final = 10_000
"""Of the texts whose vectors are compared: none of a turn's."""


def main() -> None:
    """Measure and report."""
    chosen = arguments(__doc__ or "")
    if importlib.util.find_spec("sentence_transformers") is None:
        sys.stderr.write("sentence-transformers is not installed: there is nothing to beat\n")
        sys.exit(2)
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(1)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    weights = resolve(SOURCE)
    tokenizer = minilm_tokenizer(weights.folder)
    count, rounds = (96, 3) if chosen.quick else (256, 9)
    exact = mixed_texts(tokenizer, 16, seed=_CHECK_SEED)
    reference = exact_vectors(weights.folder, exact)
    contenders: dict[str, Vectors] = {}
    for dtype in _DTYPES:
        contenders[f"engine {dtype}"] = _engine(_load(weights, dtype), tokenizer)
        contenders[f"sentence-transformers {dtype}"] = _sentence_transformers(
            weights.folder, _DTYPES[dtype]
        )
    first, again = _turns(contenders, tokenizer, count, rounds)
    figures = {
        name: {
            "items_per_cpu_s": round(count / timing.cpu_s, 1),
            "items_per_s": round(count / timing.wall_s, 1),
            "fresh_over_again": round(again[name].cpu_s / timing.cpu_s, 3),
            "cosine_distance": cosine_distance(contenders[name](exact), reference),
        }
        for name, timing in first.items()
    }
    ratios = {
        dtype: round(
            first[f"sentence-transformers {dtype}"].cpu_s / first[f"engine {dtype}"].cpu_s, 3
        )
        for dtype in _DTYPES
    }
    result = {
        "benchmark": "engine",
        "quick": chosen.quick,
        "machine": machine(),
        "texts": count,
        "threads": 1,
        # Where it is false, bfloat16 was asked for and float32 ran.
        "multiplies_bfloat16": multiplies_bfloat16(),
        "ratios": ratios,
        "figures": figures,
    }
    lines = [f"{'':27}items/CPU-s  items/s  fresh/again  cosine distance to float64"] + [
        f"{name:27}{row['items_per_cpu_s']:11}  {row['items_per_s']:7}  "
        f"{row['fresh_over_again']:11.2f}  {row['cosine_distance']:.1e}"
        for name, row in figures.items()
    ]
    lines += [
        f"{dtype}: {ratio:.2f} times sentence-transformers" for dtype, ratio in ratios.items()
    ]
    report(result, lines, as_json=chosen.json)


Vectors = Callable[[Sequence[str]], NDArray[Any]]


def _turns(
    contenders: Mapping[str, Vectors], tokenizer: Tokenizer, count: int, rounds: int
) -> tuple[dict[str, Timing], dict[str, Timing]]:
    """Each contender's time on fresh texts, and on the same ones right after; a round before them
    is not counted."""
    first: dict[str, list[Timing]] = {name: [] for name in contenders}
    again: dict[str, list[Timing]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        texts = mixed_texts(tokenizer, count, seed=turn)
        for name, run in contenders.items():
            for taken in (first, again):
                timing = timed(partial(run, texts))
                if turn:
                    taken[name].append(timing)
    return (
        {name: median_of(taken) for name, taken in first.items()},
        {name: median_of(taken) for name, taken in again.items()},
    )


def _load(weights: Weights, dtype: Any) -> Backend:
    profile = ProfileDocument(backend="transformer", dtype=dtype)
    spec = ModelSpec("bench/minilm", dtype, weights, Tasks(encode=EncodeTask()), profile)
    return transformer.load(spec, DeviceSpec("cpu", 1, Path("/nonexistent")))


def _engine(backend: Backend, tokenizer: Tokenizer) -> Vectors:
    def vectors(texts: Sequence[str]) -> NDArray[Any]:
        return np.concatenate([_run(backend, part) for part in _batches(tokenizer, texts)])

    return vectors


def _batches(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[list[ipc.TokensInput]]:
    """In the order in which they come, within the profile's usual budget."""
    batch: list[ipc.TokensInput] = []
    cost = 0
    for found in tokenizer.encode_batch(list(texts)):
        if batch and cost + len(found.ids) > ProfileDocument(backend="any").batch_cost_max:
            yield batch
            batch, cost = [], 0
        batch.append(ipc.TokensInput(np.asarray(found.ids, dtype="<i4").tobytes()))
        cost += len(found.ids)
    yield batch


def _run(backend: Backend, inputs: Sequence[ipc.TokensInput]) -> NDArray[Any]:
    answers = backend.run(
        ipc.RunBatch(id=1, model_revision="r", operation="encode", inputs=tuple(inputs))
    )
    assert isinstance(answers, ipc.DenseAnswers)
    return np.frombuffer(answers.values, "<f4").reshape(-1, answers.dim)


def _sentence_transformers(folder: Path, dtype: torch.dtype) -> Vectors:
    model = importlib.import_module("sentence_transformers").SentenceTransformer(
        str(folder), device="cpu", model_kwargs={"dtype": dtype}
    )
    [found_dtype] = {parameter.dtype for parameter in model.parameters()}
    assert found_dtype == dtype, "a peer is measured in the precision that stands at its name"
    model.max_seq_length = TOKENS_MAX

    def vectors(texts: Sequence[str]) -> NDArray[Any]:
        found = model.encode(
            list(texts), batch_size=32, show_progress_bar=False, convert_to_tensor=True
        )
        vectors: NDArray[Any] = found.float().numpy()
        return vectors

    return vectors


if __name__ == "__main__":
    main()
