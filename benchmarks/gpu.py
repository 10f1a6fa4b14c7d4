"""The packed engine on one device, and the whole cluster around it.

*main.* `python benchmarks/gpu.py [--quick] [--json] [--only PART]`. On a CUDA device: MiniLM,
BERT-base, XLM-R-large and Qwen3-0.6B shapes with random weights, in float16 and bfloat16. Every
turn has fresh texts of mixed length, and every contender of a turn the same ones. Told are items
and tokens a second; the share of the measured matmul peak; the engine over padded attention in
sorted batches and over sentence-transformers, both in the same precision; 16 LoRA adapters over the
base alone; and each contender's greatest cosine distance to float32, each text alone. Then MiniLM
in the whole cluster, with one gateway and with four.

Where there is no CUDA device it says so and exits 2. `--device cpu` with `--tiny` runs every part
on a processor: that all of it works, and no figure.
"""

import argparse
import importlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from gpu_figures.contenders import Encode, Engine, adapters, sentence_transformers
from gpu_figures.shapes import SHAPES, Shape, load, save, texts, tiny
from tokenizers import Tokenizer

_DTYPES: Final = {"fp16": torch.float16, "bf16": torch.bfloat16}
_ADAPTERS: Final = 16
_CHECKED: Final = 32
"""Texts whose vectors are compared with float32."""
_GATEWAYS: Final = (1, 4)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description="The engine and the cluster on one device.")
    parser.add_argument("--quick", action="store_true", help="fewer texts and rounds")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--only", choices=[*SHAPES, "cluster"], help="one part alone")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny models and few texts: no figures")
    chosen = parser.parse_args()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        sys.stderr.write("no CUDA device is here: nothing was measured\n")
        sys.exit(2)
    result = measured(chosen)
    if chosen.json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
        return
    for name, rows in result["parts"].items():
        for label, row in rows.items():
            sys.stdout.write(f"{name}, {label}\n")
            for key, value in row.items():
                sys.stdout.write(f"  {key:42}{value}\n")


def measured(chosen: argparse.Namespace) -> dict[str, Any]:
    """Every part that was chosen, with the machine."""
    device = torch.device(chosen.device)
    attention = importlib.import_module("sie_server.packed.packed_attention")
    attention.register()
    peaks = {name: _matmul_peak(device, dtype) for name, dtype in _DTYPES.items()}
    parts: dict[str, Any] = {}
    for name, shape in SHAPES.items():
        if chosen.only in (None, name):
            parts[name] = {
                label: _measure(
                    tiny(shape) if chosen.tiny else shape, dtype, peaks[label], device, chosen
                )
                for label, dtype in _DTYPES.items()
            }
    if chosen.only == "cluster" or (chosen.only is None and not chosen.tiny):
        # It installs and starts processes: the engine's parts need none of them.
        cluster = importlib.import_module("gpu_figures.cluster")
        windows, seconds = (1, 3.0) if chosen.quick else (3, 8.0)
        parts["cluster"] = cluster.cluster_rates(
            _GATEWAYS, "bf16", seconds=seconds, windows=windows
        )
    return {
        "benchmark": "gpu",
        "quick": chosen.quick,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "variable_length_attention": attention._VARLEN is not None and device.type == "cuda",
        "matmul_peak_tflops": {name: round(peak / 1e12, 3) for name, peak in peaks.items()},
        "parts": parts,
    }


def _measure(
    shape: Shape, dtype: torch.dtype, peak: float, device: torch.device, chosen: argparse.Namespace
) -> dict[str, Any]:
    count = 48 if chosen.tiny else 512 if chosen.quick else 4096
    rounds = 1 if chosen.tiny else 3 if chosen.quick else 5
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(shape, folder)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        engine = Engine(load(folder, shape, dtype, device), tokenizer, device)
        lora = adapters(engine.model, shape, folder / "lora", _ADAPTERS)
        contenders: dict[str, Encode] = {
            "engine": engine.vectors,
            "padded": partial(engine.vectors, padded=True),
            **{
                f"sentence-transformers {size}": sentence_transformers(folder, dtype, device, size)
                for size in (32, 256)
            },
            "16 adapters": partial(engine.vectors, adapters=lora),
        }
        fresh = [texts(count, seed=turn, vocabulary=shape.vocabulary) for turn in range(rounds + 1)]
        seconds = _interleave(contenders, fresh, device)
        exact = Engine(load(folder, shape, torch.float32, device), tokenizer, device)
        few = fresh[0][:_CHECKED]
        alone = torch.cat([exact.vectors([text], padded=True) for text in few])
        distances = {
            f"cosine_distance_{label.replace(' ', '_')}": _distance(encode(few), alone)
            for label, encode in contenders.items()
            if label != "16 adapters"
        }
        changed = _distance(contenders["16 adapters"](few), alone)
    lengths = [len(text.split()) for turn in fresh[1:] for text in turn]
    best = min(seconds[f"sentence-transformers {size}"] for size in (32, 256))
    taken = seconds["engine"] * rounds
    return {
        "items_per_s": round(len(lengths) / taken, 1),
        "tokens_per_s": round(sum(lengths) / taken),
        "share_of_matmul_peak": round(shape.flops(lengths) / taken / peak, 3),
        "over_sentence_transformers": round(best / seconds["engine"], 2),
        "over_padded": round(seconds["padded"] / seconds["engine"], 2),
        "16_adapters_of_base": round(seconds["engine"] / seconds["16 adapters"], 3),
        **distances,
        "adapters_move_vectors_by": changed,
    }


def _distance(found: torch.Tensor, alone: torch.Tensor) -> float:
    both = found.float().cpu(), alone.float().cpu()
    return float((1 - torch.nn.functional.cosine_similarity(*both)).max())


def _interleave(
    contenders: Mapping[str, Encode], turns: Sequence[Sequence[str]], device: torch.device
) -> dict[str, float]:
    """The median seconds of each contender; the first turn warms up and is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for number, turn in enumerate(turns):
        for name, encode in contenders.items():
            seconds = _timed(partial(encode, turn), device)
            if number:
                taken[name].append(seconds)
    return {name: statistics.median(each) for name, each in taken.items()}


def _timed(run: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    started = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Multiplications and additions a second of one large product; of a small one on a CPU."""
    size, products = (8192, 10) if device.type == "cuda" else (256, 1)
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))

    def multiply() -> None:
        for _ in range(products):
            torch.mm(left, right)

    multiply()
    seconds = statistics.median(_timed(multiply, device) for _ in range(5))
    return products * 2 * size**3 / seconds


if __name__ == "__main__":
    main()
