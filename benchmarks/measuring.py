"""The part that the engine's benchmarks share: texts, interleaved timing, words about the machine.

*shell* over clocks. Contenders take turns in one process, so that a noisy neighbour hurts all of
them; CPU time is measured beside wall time and the ratios are made of it, for it does not count
what others took. Every script takes `--quick` and `--json`.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

__all__ = [
    "ZIPF",
    "Timing",
    "arguments",
    "arguments_parser",
    "cosine_distance",
    "interleave",
    "machine",
    "median_of",
    "mixed_texts",
    "report",
    "short_texts",
    "timed",
    "tokenizer_of",
]

ZIPF = 1.1
"""The skew of what is asked for: of eight names the first takes four in ten, the last one in 25."""
_PACKAGES = ("torch", "transformers", "sentence-transformers", "peft", "tokenizers")


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds that a run took, or their medians over several."""

    wall_s: float
    cpu_s: float


def arguments_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the flags of every benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="less of everything: under a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser


def arguments(description: str) -> argparse.Namespace:
    """The flags of a benchmark that has no others."""
    return arguments_parser(description).parse_args()


def timed(run: Callable[[], object]) -> Timing:
    """The times of one run."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return Timing(time.perf_counter() - wall, time.process_time() - cpu)


def median_of(taken: Iterable[Timing]) -> Timing:
    """The medians of several, wall and CPU each by itself."""
    walls, cpus = zip(*[(timing.wall_s, timing.cpu_s) for timing in taken], strict=True)
    return Timing(statistics.median(walls), statistics.median(cpus))


def interleave(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Run each once unmeasured, then all in turn, `rounds` times."""
    for run in contenders.values():
        run()
    turns: dict[str, list[Timing]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            turns[name].append(timed(run))
    return {name: median_of(taken) for name, taken in turns.items()}


def tokenizer_of(folder: Path, tokens_max: int) -> Tokenizer:
    """A model's tokenizer without padding, cutting at a length."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(tokens_max)
    return tokenizer


def mixed_texts(tokenizer: Tokenizer, count: int, *, seed: int = 0) -> list[str]:
    """Texts of 8 to 256 tokens, lognormal about 46, of words that are one token each."""
    generator = np.random.default_rng(seed)
    lengths = np.clip(np.exp(generator.normal(np.log(46), 0.7, count)).round(), 8, 256).astype(int)
    words = _words(tokenizer)
    return [" ".join(generator.choice(words, size - 2)) for size in lengths]


def short_texts(tokenizer: Tokenizer, count: int, *, seed: int = 0) -> list[str]:
    """Texts of 8 to 12 words, each of one token."""
    generator = np.random.default_rng(seed)
    words = _words(tokenizer)
    return [" ".join(generator.choice(words, size)) for size in generator.integers(8, 13, count)]


def _words(tokenizer: Tokenizer) -> list[str]:
    """Words that are one token each."""
    candidates = sorted(word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha())
    return [
        word
        for word in candidates
        if len(tokenizer.encode(word, add_special_tokens=False).ids) == 1
    ]


def cosine_distance(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """The greatest over all rows."""
    left, right = found.astype(np.float64), expected.astype(np.float64)
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float((1 - (left * right).sum(axis=1) / norms).max())


def machine() -> dict[str, Any]:
    """The machine that the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def report(result: Mapping[str, Any], lines: Sequence[str], *, as_json: bool) -> None:
    """One JSON object, or a table for people."""
    text = json.dumps(result, indent=2) if as_json else "\n".join(lines)
    sys.stdout.write(text + "\n")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
