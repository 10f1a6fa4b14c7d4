"""The tensors of a pickled file are told without running it, or not at all."""

import json
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from tests.support.conformance import save_small
from tests.support.small_tokenizers import small_tokenizer

from sie_cli.models.proposal import propose
from sie_layouts.architectures.tensors.pickle_header import read_pickle
from sie_layouts.folder import FolderFiles


def _saved(folder: Path, value: Any, **options: Any) -> FolderFiles:
    torch.save(value, folder / "pytorch_model.bin", **options)
    return FolderFiles(folder)


def test_names_types_and_shapes_are_those_that_were_saved(tmp_path: Path) -> None:
    shared = torch.zeros(4, 2)
    tensors: dict[str, torch.Tensor] = {
        "a": torch.zeros(2, 3), "b.weight": torch.nn.Parameter(torch.ones(5)), "tied": shared,
        "tied too": shared, "view": shared.T, "scalar": torch.tensor(1.0), "none": torch.zeros(0),
        "h": torch.zeros(2, dtype=torch.float16), "bf": torch.zeros(2, dtype=torch.bfloat16),
        "l": torch.arange(300), "flag": torch.tensor([True]), "long" * 90: torch.zeros(70_000),
    }  # fmt: skip
    for value in (tensors, OrderedDict(tensors)):
        found = read_pickle(_saved(tmp_path, value), "pytorch_model.bin")
        assert found is not None
        assert {name: each.shape for name, each in found.items()} == {
            name: tuple(each.shape) for name, each in tensors.items()
        }
        assert [found[name].type for name in ("a", "h", "bf", "l", "flag")] == [
            "F32", "F16", "BF16", "I64", "BOOL",
        ]  # fmt: skip
    many = {f"layer.{place}.weight": torch.zeros(1) for place in range(3000)}
    found = read_pickle(_saved(tmp_path, many), "pytorch_model.bin")
    assert found is not None
    assert found.keys() == many.keys()


class _Harm:
    def __reduce__(self) -> Any:
        return os.system, ("touch harmed",)


@pytest.mark.parametrize(
    "value",
    [{"a": _Harm()}, {"state_dict": {"a": torch.zeros(2)}}, [torch.zeros(2)], {"a": 1}, _Harm()],
)
def test_whatever_else_was_pickled_is_not_told(value: Any, tmp_path: Path) -> None:
    assert read_pickle(_saved(tmp_path, value), "pytorch_model.bin") is None
    assert not Path("harmed").exists()


@pytest.mark.parametrize("kept", [0, 9, 40, 200])
def test_a_file_that_ends_early_is_not_told(kept: int, tmp_path: Path) -> None:
    files = _saved(tmp_path, {"a": torch.zeros(2, 3)})
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:kept])
    assert read_pickle(files, "pytorch_model.bin") is None
    path.write_bytes(pickle.dumps({"a": 1}))
    assert read_pickle(files, "pytorch_model.bin") is None
    _saved(tmp_path, {"a": torch.zeros(2)}, _use_new_zipfile_serialization=False)
    assert read_pickle(files, "pytorch_model.bin") is None


class _Counted(FolderFiles):
    """A folder that keeps the number of bytes of each request for a beginning."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked: list[int] = []

    def head(self, name: str, count: int) -> bytes | None:
        self.asked.append(count)
        return super().head(name, count)


def test_a_file_of_the_older_form_is_asked_for_its_first_bytes_alone(tmp_path: Path) -> None:
    _saved(tmp_path, {"a": torch.zeros(100_000)}, _use_new_zipfile_serialization=False)
    files = _Counted(tmp_path)
    assert read_pickle(files, "pytorch_model.bin") is None
    assert files.asked == [64 * 1024]


def test_pickled_weights_that_would_not_load_are_refused_when_added(tmp_path: Path) -> None:
    tokenizer = small_tokenizer("Bert", model_max_length=60)
    config = tf.BertConfig(
        hidden_size=16, num_attention_heads=2, num_hidden_layers=1, intermediate_size=24,
        vocab_size=len(tokenizer),
    )  # fmt: skip
    model = tf.BertModel(config)
    save_small(tmp_path, model, tokenizer)
    (tmp_path / "model.safetensors").unlink()
    tensors = model.state_dict()
    files = _saved(tmp_path, tensors)
    assert not propose(files, takes_pickles=True).refusals
    name = "encoder.layer.0.output.dense.weight"
    _saved(tmp_path, {key: each for key, each in tensors.items() if key != name})
    (refusal,) = propose(FolderFiles(tmp_path), takes_pickles=True).refusals
    assert str(refusal).startswith(
        f"pytorch_model.bin lacks 1 tensors of the model that {'config'}"
    )
    _saved(tmp_path, tensors)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"intermediate_size": 32}))
    refusals = propose(FolderFiles(tmp_path), takes_pickles=True).refusals
    assert "holds encoder.layer.0.intermediate.dense.weight as [24, 16]" in str(refusals)
