"""The benchmark for CUDA devices runs on a processor too, part by part, on tiny models."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SHAPES = ("minilm", "bert-base", "xlm-r-large", "qwen3-0.6b")


@pytest.fixture
def shapes(monkeypatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("gpu_figures.shapes")


@pytest.mark.parametrize("name", SHAPES)
def test_the_products_of_a_shape_are_those_that_torch_counts(shapes, name, tmp_path):
    shape, length = shapes.tiny(shapes.SHAPES[name]), 20
    shapes.save(shape, tmp_path)
    model = shapes.load(tmp_path, shape, torch.float32, torch.device("cpu"))
    with FlopCounterMode(display=False) as counted, torch.inference_mode():
        hidden = model(input_ids=torch.full((1, length), 7)).last_hidden_state
    pooler = 2 * shape.width**2 if getattr(model, "pooler", None) is not None else 0
    # A text costs a product for each token, and attention by the square, which torch leaves out.
    attention = (shape.flops([2]) - 2 * shape.flops([1])) / 2
    assert hidden.shape == (1, length, shape.width)
    assert counted.get_total_flops() - pooler == length * (shape.flops([1]) - attention)


def test_texts_of_another_turn_are_other_texts(shapes):
    first, again, other = (shapes.texts(20, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert not set(first) & set(other)
    assert all(8 <= len(text.split()) <= 256 for text in first)


@pytest.mark.parametrize("name", ["minilm", "qwen3-0.6b"])
def test_every_part_of_the_engine_runs_and_each_contender_is_right(name):
    command = [sys.executable, "gpu.py", "--device", "cpu", "--tiny", "--json", "--only", name]
    ran = subprocess.run(
        command, cwd=BENCHMARKS, capture_output=True, text=True, timeout=600, check=False
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["parts"].keys() == {name}
    for dtype, bound in (("fp16", 1e-4), ("bf16", 1e-3)):
        row = told["parts"][name][dtype]
        distances = {key: value for key, value in row.items() if key.startswith("cosine_")}
        assert len(distances) == 4
        assert max(distances.values()) < bound, distances
        # The adapters were there: what they gave is not what the base gives.
        assert row["adapters_move_vectors_by"] > 10 * max(distances.values())
        assert min(row["items_per_s"], row["over_padded"], row["16_adapters_of_base"]) > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a CUDA device")
def test_without_a_device_nothing_is_measured_and_it_says_so():
    ran = subprocess.run(
        [sys.executable, "gpu.py"], cwd=BENCHMARKS, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "no CUDA device" in ran.stderr
