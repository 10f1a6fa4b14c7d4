"""LoRA in the packed engine: what adapters cost over the base alone.

*main.* MiniLM, one thread, texts of mixed length, batches of the sidecar's budget in which every
text has an adapter of its own choice: 16 adapters under a Zipf distribution (rank 8 on query and
value; rank 16 on all linear layers), and 1,000 adapters drawn uniformly with room for all and for
a quarter. Each turn has texts that nobody ran before, the same for all. Ratios are items per CPU
second over those of the base in the same type. Then: the time from a cold adapter's files to its
first answer, beyond reading the file.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from measuring import ZIPF, Timing, arguments, machine, median_of, mixed_texts, report, timed
from minilm import SOURCE
from minilm import tokenizer as minilm_tokenizer
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers.utils.logging import disable_progress_bar

from sie_schemas import ipc
from sie_schemas.documents import EncodeTask, ProfileDocument, Tasks
from sie_schemas.jobs import AdapterPin
from sie_server.adapters.adapter_shelf import AdapterShelf
from sie_server.backends.backend import Backend, DeviceSpec, ModelSpec
from sie_server.backends.encode import transformer
from sie_server.weights.sources import Weights, resolve

_LAYERS: Final = 6
"""MiniLM's, whose adapters these are."""
_ATTENTION: Final = {"attention.self.query": (384, 384), "attention.self.value": (384, 384)}
_ALL: Final = {
    **_ATTENTION,
    "attention.self.key": (384, 384),
    "attention.output.dense": (384, 384),
    "intermediate.dense": (384, 1536),
    "output.dense": (1536, 384),
}
_ID_BYTES: Final = 4
"""A batch's cost is counted in units of four bytes of input ids, as `sie-worker` counts it."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """A kind of adapter."""

    rank: int
    layers: dict[str, tuple[int, int]]

    @property
    def bytes(self) -> int:
        """Bytes of one adapter in float32."""
        return 4 * self.rank * _LAYERS * sum(sum(size) for size in self.layers.values())


_SMALL: Final = _Shape(8, _ATTENTION)
_LARGE: Final = _Shape(16, _ALL)


def main() -> None:
    """Measure and report."""
    chosen = arguments(__doc__ or "")
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(1)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    weights = resolve(SOURCE)
    tokenizer = minilm_tokenizer(weights.folder)
    count, rounds = (96, 3) if chosen.quick else (192, 4)
    turns = [_inputs(tokenizer, count, seed) for seed in range(rounds + 1)]
    ratios: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        many = _write(Path(folder) / "small", _SMALL, 1000)
        few = _write(Path(folder) / "large", _LARGE, 16)
        for dtype in ("fp32",) if chosen.quick else ("fp32", "bf16"):
            ratios[dtype] = _ratios(weights, dtype, turns, many, few)
        cold, warm = _cold_ms(weights, min(turns[0], key=lambda given: len(given.ids)), many[:20])
    result = {
        "benchmark": "lora",
        "quick": chosen.quick,
        "machine": machine(),
        "texts": count,
        "threads": 1,
        "ratios": ratios,
        "cold_first_answer_ms_beyond_read": cold,
        "warm_answer_ms": warm,
    }
    lines = [
        f"{dtype}  {name:36}{ratio:6.2f} of the base alone"
        for dtype, row in ratios.items()
        for name, ratio in row.items()
    ] + [
        f"cold adapter to first answer, beyond its file read: {cold:.1f} ms, "
        f"of which the answer {warm:.1f}"
    ]
    report(result, lines, as_json=chosen.json)


def _inputs(tokenizer: Tokenizer, count: int, seed: int) -> list[ipc.TokensInput]:
    texts = mixed_texts(tokenizer, count, seed=seed)
    return [
        ipc.TokensInput(np.asarray(found.ids, dtype="<i4").tobytes())
        for found in tokenizer.encode_batch(texts)
    ]


def _ratios(
    weights: Weights,
    dtype: str,
    turns: Sequence[Sequence[ipc.TokensInput]],
    many: Sequence[Path],
    few: Sequence[Path],
) -> dict[str, float]:
    """Medians over the turns; the first is not counted."""
    count = len(turns[0])
    half = 1 if dtype == "fp32" else 2
    generator = np.random.default_rng(1)
    skewed = np.minimum(generator.zipf(ZIPF, 1_000_000), 10**9)
    skewed = (skewed[skewed <= 16] - 1)[:count]
    uniform = generator.integers(0, len(many), count)
    room = _load(weights, dtype, 0)
    tight = _load(weights, dtype, _SMALL.bytes // half * len(many) // 4)
    large = _load(weights, dtype, 0)
    for backend, folders in ((room, many), (tight, many), (large, few)):
        for place, folder in enumerate(folders):
            backend.load_adapter(_pin(place), Weights(folder, None))
    base = "the base alone"
    contenders: dict[str, Callable[[Sequence[ipc.TokensInput]], object]] = {
        base: lambda texts: _encode(room, texts, None),
        "16, Zipf, rank 8 query and value": lambda texts: _encode(room, texts, skewed),
        "16, Zipf, rank 16 all linear": lambda texts: _encode(large, texts, skewed),
        "1,000, uniform, room for all": lambda texts: _encode(room, texts, uniform),
        "1,000, uniform, room for a quarter": lambda texts: _encode(tight, texts, uniform),
    }
    taken: dict[str, list[Timing]] = {name: [] for name in contenders}
    for turn, texts in enumerate(turns):
        for name, run in contenders.items():
            timing = timed(partial(run, texts))
            if turn:
                taken[name].append(timing)
    timings = {name: median_of(each) for name, each in taken.items()}
    return {
        name: round(timings[base].cpu_s / timing.cpu_s, 3)
        for name, timing in timings.items()
        if name != base
    }


def _encode(
    backend: Backend, inputs: Sequence[ipc.TokensInput], owners: Sequence[int] | Any
) -> None:
    start = 0
    while start < len(inputs):
        stop, cost = start, 0
        while stop < len(inputs) and (cost := cost + len(inputs[stop].ids) // _ID_BYTES) <= 4096:
            stop += 1
        pins = () if owners is None else tuple(_pin(int(owner)) for owner in owners[start:stop])
        batch = ipc.RunBatch(
            id=1,
            model_revision="r",
            operation="encode",
            inputs=tuple(inputs[start:stop]),
            adapters=pins,
        )
        backend.prepare(batch)
        backend.run(batch)
        start = stop


def _cold_ms(
    weights: Weights, given: ipc.TokensInput, folders: Sequence[Path]
) -> tuple[float, float]:
    """Medians of loading an adapter and answering one text less the read, and of such an answer."""
    backend = _load(weights, "fp32", 0)
    beyond: list[float] = []
    warm: list[float] = []
    for place, folder in enumerate(folders):
        started = time.perf_counter()
        (folder / "adapter_model.safetensors").read_bytes()
        read = time.perf_counter() - started
        started = time.perf_counter()
        backend.load_adapter(_pin(place), Weights(folder, None))
        _encode(backend, [given], [place])
        beyond.append((time.perf_counter() - started - read) * 1000)
        started = time.perf_counter()
        _encode(backend, [given], [place])
        warm.append((time.perf_counter() - started) * 1000)
    return round(statistics.median(beyond), 2), round(statistics.median(warm), 2)


def _pin(place: int) -> AdapterPin:
    return AdapterPin(f"a{place}", "1")


def _load(weights: Weights, dtype: Any, adapter_bytes_max: int) -> Backend:
    profile = ProfileDocument(backend="transformer", dtype=dtype)
    spec = ModelSpec("bench/minilm", "r", weights, Tasks(encode=EncodeTask()), profile)
    shelf = AdapterShelf(adapter_bytes_max)
    return transformer.load(spec, DeviceSpec("cpu", 1, Path("/nonexistent"), shelf))


def _write(root: Path, shape: _Shape, count: int) -> list[Path]:
    """Random adapters; beyond sixteen their files are links, which cost as much to read."""
    torch.manual_seed(0)
    folders: list[Path] = []
    for place in range(count):
        folder = root / str(place)
        folder.mkdir(parents=True)
        config = {"peft_type": "LORA", "r": shape.rank, "lora_alpha": 2 * shape.rank}
        (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
        file = folder / "adapter_model.safetensors"
        if place < 16:
            save_file(_factors(shape), file)
        else:
            file.hardlink_to(folders[place % 16] / file.name)
        folders.append(folder)
    return folders


def _factors(shape: _Shape) -> dict[str, torch.Tensor]:
    factors: dict[str, torch.Tensor] = {}
    for layer in range(_LAYERS):
        for name, (inside, outside) in shape.layers.items():
            key = f"base_model.model.encoder.layer.{layer}.{name}"
            factors[f"{key}.lora_A.weight"] = torch.randn(shape.rank, inside) / 50
            factors[f"{key}.lora_B.weight"] = torch.randn(outside, shape.rank) / 50
    return factors


if __name__ == "__main__":
    main()
