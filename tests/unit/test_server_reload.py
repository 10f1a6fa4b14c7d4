"""A model that comes back: the same answers, however little of the load is done again."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.support.encoder_models import dense, fresh_device, random_tokens, reference, write_tiny
from tests.support.sameness import assert_same
from transformers import AutoModel, BertConfig, PreTrainedModel

from sie_schemas.documents import EncodeTask, ProfileDocument, Tasks
from sie_server.backends.backend import Backend, DeviceSpec, ModelSpec
from sie_server.backends.encode import transformer
from sie_server.packed.prepacked import multiplies_bfloat16
from sie_server.weights.file_hashes import sha256, sha256_as_of
from sie_server.weights.sources import Weights

CONFIG = BertConfig(
    vocab_size=60,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
    max_position_embeddings=200,
)
TEXTS = random_tokens([9, 30, 3], vocabulary=60)


class Loads:
    """Loads one folder again and again, and counts what transformers was asked for."""

    def __init__(self, folder: Path, **profile: Any) -> None:
        self.device: DeviceSpec = fresh_device()
        self.folder = folder
        self.profile = ProfileDocument(
            backend="transformer", options={"pooling": "mean"}, batch_cost_max=96, **profile
        )

    def once(self) -> Backend:
        spec = ModelSpec(
            "test/model", "r1", Weights(self.folder, None), Tasks(encode=EncodeTask()), self.profile
        )
        return transformer.load(spec, self.device)

    def revived(self) -> PreTrainedModel | None:
        """The model that a further load would be given, without transformers' loading."""
        dtype = torch.bfloat16 if self.profile.dtype == "bf16" else torch.float32
        files = [self.folder / "model.safetensors"]
        place = torch.device("cpu")
        if dtype == torch.bfloat16 and not multiplies_bfloat16():
            dtype = torch.float32
        key = (self.folder, "r1", AutoModel, dtype)
        return self.device.skeletons.revive(key, files, place)


def rename(folder: Path, change: Any) -> None:
    """Write the weights under other names."""
    path = folder / "model.safetensors"
    save_file({change(name): tensor for name, tensor in load_file(path).items()}, path)


@pytest.mark.parametrize("prefix", ["", "bert."])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_model_that_comes_back_answers_as_before(tmp_path: Path, prefix: str, dtype: str) -> None:
    folder = write_tiny(tmp_path / "model", CONFIG)
    rename(folder, lambda name: prefix + name)
    loads = Loads(folder, dtype=dtype)
    runs_in = torch.bfloat16 if dtype == "bf16" else torch.float32
    right = reference(write_tiny(tmp_path / "plain", CONFIG), TEXTS)
    first = dense(loads.once(), TEXTS)
    assert_same(first, right, runs_in)
    assert loads.revived() is None, "most models never leave: nothing is kept of a first load"
    loads.once()
    assert loads.revived() is not None
    third = loads.once()
    before = dense(third, TEXTS)
    assert_same(before, right, runs_in)
    assert_same(before, first, runs_in)
    # Enough to have the weights laid out anew.
    dense(third, random_tokens([190] * 6, vocabulary=60))
    after = dense(third, TEXTS)
    assert_same(after, right, runs_in)
    assert_same(after, first, runs_in)


def test_names_that_only_transformers_can_read_are_left_to_it(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", CONFIG)
    rename(folder, lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma"))
    loads = Loads(folder)
    first = dense(loads.once(), TEXTS)
    assert_same(dense(loads.once(), TEXTS), first)
    assert loads.revived() is None
    assert_same(dense(loads.once(), TEXTS), first)


def test_files_that_are_not_what_they_were_are_left_to_transformers(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", CONFIG)
    loads = Loads(folder)
    loads.once()
    loads.once()
    rename(folder, lambda name: name.replace("pooler", "gone"))
    assert loads.revived() is None
    (folder / "model.safetensors").write_bytes(b"no tensors")
    assert loads.revived() is None


def test_a_hash_is_remembered_until_the_file_is_written(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    first = sha256_as_of(path)
    assert first == sha256_as_of(path) == sha256(path)
    fresh = tmp_path / "fresh"
    fresh.write_bytes(b"two")
    fresh.replace(path)
    assert sha256_as_of(path) == sha256(path) != first
    path.write_bytes(b"tri")
    assert sha256_as_of(path) == sha256(path)
