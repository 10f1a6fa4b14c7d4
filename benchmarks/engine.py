"""The engine against sentence-transformers: MiniLM, one thread, texts of mixed length.

*main.* Both tokenize and encode the same texts; sentence-transformers in batches of 32 after its
own sorting, the engine in batches of the sidecar's budget as the texts come. Ratios are of CPU
time, over sentence-transformers in float32; beside each stands the greatest cosine distance to the
same model in float64. Exits 2 where sentence-transformers is not installed.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import (
    arguments,
    cosine_distance,
    interleave,
    machine,
    mixed_texts,
    report,
)
from minilm import SOURCE, TOKENS_MAX, exact_vectors
from minilm import tokenizer as minilm_tokenizer
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers.utils.logging import disable_progress_bar

from sie_schemas import ipc
from sie_schemas.documents import EncodeTask, ProfileDocument, Tasks
from sie_server.backends import transformer
from sie_server.backends.backend import Backend, DeviceSpec, ModelSpec
from sie_server.packed.prepacked import multiplies_bfloat16
from sie_server.weights.sources import Weights, resolve


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
    texts = mixed_texts(tokenizer, 96 if chosen.quick else 256)
    exact = texts[:: len(texts) // 16]
    reference = exact_vectors(weights.folder, exact)
    engines = {dtype: _engine(_load(weights, dtype), tokenizer) for dtype in ("fp32", "bf16")}
    peer = _sentence_transformers(weights.folder)
    contenders = {"sentence-transformers": peer, **engines}
    timings = interleave(
        {name: _bound(run, texts) for name, run in contenders.items()}, 3 if chosen.quick else 7
    )
    base = timings["sentence-transformers"].cpu_s
    figures = {
        name: {
            "items_per_cpu_s": round(len(texts) / timing.cpu_s, 1),
            "items_per_s": round(len(texts) / timing.wall_s, 1),
            "ratio": round(base / timing.cpu_s, 3),
            "cosine_distance": cosine_distance(contenders[name](exact), reference),
        }
        for name, timing in timings.items()
    }
    result = {
        "benchmark": "engine",
        "quick": chosen.quick,
        "machine": machine(),
        "texts": len(texts),
        "threads": 1,
        # Where it is false, bfloat16 was asked for and float32 ran.
        "multiplies_bfloat16": multiplies_bfloat16(),
        "ratios": {dtype: figures[dtype]["ratio"] for dtype in engines},
        "figures": figures,
    }
    lines = [f"{'':24}items/CPU-s  items/s  ratio  cosine distance to float64"] + [
        f"{name:24}{row['items_per_cpu_s']:11}  {row['items_per_s']:7}  {row['ratio']:5.2f}  "
        f"{row['cosine_distance']:.1e}"
        for name, row in figures.items()
    ]
    report(result, lines, as_json=chosen.json)


Vectors = Callable[[Sequence[str]], NDArray[Any]]


def _bound(run: Vectors, texts: Sequence[str]) -> Callable[[], object]:
    return lambda: run(texts)


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


def _sentence_transformers(folder: Path) -> Vectors:
    model = importlib.import_module("sentence_transformers").SentenceTransformer(
        str(folder), device="cpu"
    )
    model.max_seq_length = TOKENS_MAX

    def vectors(texts: Sequence[str]) -> NDArray[Any]:
        found: NDArray[Any] = model.encode(list(texts), batch_size=32, show_progress_bar=False)
        return found

    return vectors


if __name__ == "__main__":
    main()
