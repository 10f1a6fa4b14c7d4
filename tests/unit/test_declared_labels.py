"""The tensors of GLiNER and GLiClass: what a file lacks is refused in a worker's words."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.support.apart import forgotten
from tests.support.encoder_models import fresh_device
from tests.support.gliner_models import ENCODERS, KINDS, write_gliclass, write_gliner

from sie_cli.models.proposal import propose
from sie_layouts.architectures.tensors.any_labels import lacking_of_gliclass, lacking_of_gliner
from sie_layouts.facts import Refusal
from sie_layouts.folder import FolderFiles
from sie_schemas.documents import ExtractTask, ProfileDocument, Tasks
from sie_schemas.errors import OurFault
from sie_server.backends.backend import ModelSpec
from sie_server.backends.names import load_backend
from sie_server.weights.sources import Weights

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

_LACKING: Mapping[str, Callable[[FolderFiles], tuple[Refusal, ...]]] = {
    "gliner": lacking_of_gliner,
    "gliclass": lacking_of_gliclass,
}


@pytest.fixture(autouse=True, scope="module")
def _here_alone() -> Iterator[None]:
    with forgotten("gliner"), forgotten("gliclass"):
        yield


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder of each kind, made once."""
    made: dict[str, Path] = {}

    def folder_of(kind: str) -> Path:
        if kind not in made:
            folder = tmp_path_factory.mktemp("model")
            backend, _, own = kind.partition(" ")
            if backend == "gliclass":
                write_gliclass(folder, own)
                made[kind] = folder
            else:
                write_gliner(folder, *own.split(" "))
                made[kind] = folder / "model"
        return made[kind]

    return folder_of


def _load(folder: Path, backend: str) -> None:
    tasks = Tasks(extract=ExtractTask())
    profile = ProfileDocument(backend=backend)
    load_backend(
        ModelSpec("test/model", "r1", Weights(folder, None), tasks, profile), fresh_device()
    )


def _changed(source: Path, folder: Path, how: str, name: str) -> None:
    shutil.copytree(source, folder, dirs_exist_ok=True)
    path = folder / "model.safetensors"
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-8])
        return
    tensors = load_file(path)
    tensor = tensors.pop(name)
    if how == "reshaped":
        tensors[name] = tensor[..., :-1].contiguous()
    elif how == "misnamed":
        tensors[f"{name}_"] = tensor
    elif how == "whole numbers":
        tensors[name] = tensor.to(torch.int8)
    save_file(tensors, path, {"format": "pt"})


_WHOLE = [
    *(f"gliner {kind} deberta-v3" for kind in KINDS),
    "gliner uni-token bert",
    "gliner bi-span modernbert",
    # Of a ConvBERT nothing is declared.
    *(f"gliclass {encoder}" for encoder in ENCODERS if encoder != "convbert"),
]


@pytest.mark.parametrize("kind", _WHOLE)
def test_what_a_library_saved_is_whole_and_what_is_declared_counts(
    kind: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = saved(kind)
    lacking = _LACKING[kind.partition(" ")[0]]
    assert propose(FolderFiles(folder), takes_pickles=False).refusals == ()
    tensors = load_file(folder / "model.safetensors")
    layers = sorted(name for name in tensors if name.endswith((".Wo.weight", "output.dense.bias")))
    for name in ("gliner_config.json", "config.json"):
        if (folder / name).is_file():
            (tmp_path / name).write_bytes((folder / name).read_bytes())
    for gone in layers:
        del tensors[gone]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    assert f"lacks {len(layers)} tensors" in str(lacking(FolderFiles(tmp_path))[0])


_SAID = {
    "dropped": "lacks 1 tensors of the model that {config} describes: {name}",
    "misnamed": "lacks 1 tensors of the model that {config} describes: {name}",
    "reshaped": "holds {name} as ",
    "whole numbers": "holds {name} as ",
    "cut": "it is cut short, or damaged",
}
_SPANS = "span_rep_layer.span_rep_layer.out_project.0.weight"
_CASES = [
    *(("gliner uni-span deberta-v3", how, _SPANS) for how in _SAID),
    ("gliner uni-token deberta-v3", "reshaped", "scorer.out_mlp.3.weight"),
    ("gliner uni-token deberta-v3", "dropped", "rnn.lstm.weight_hh_l0_reverse"),
    ("gliner bi-span deberta-v3", "misnamed",
     "token_rep_layer.labels_encoder.model.encoder.layer.1.output.dense.weight"),
    ("gliclass deberta-v3", "reshaped", "model.encoder_model.encoder.layer.0.output.dense.weight"),
    ("gliclass deberta-v3", "cut", ""),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "how", "name"), _CASES)
def test_what_weights_lack_is_refused_when_added_and_when_loaded(
    kind: str, how: str, name: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    backend = kind.partition(" ")[0]
    _changed(saved(kind), tmp_path, how, name)
    (refusal,) = propose(FolderFiles(tmp_path), takes_pickles=False).refusals
    config = "gliner_config.json" if backend == "gliner" else "config.json"
    assert _SAID[how].format(config=config, name=name) in str(refusal)
    with pytest.raises(OurFault) as refused:
        _load(tmp_path, backend)
    assert str(refusal) in str(refused.value)


_CHANGES: dict[str, dict[str, Any]] = {
    "no rnn": {"num_rnn_layers": 0},
    "two layers of it": {"num_rnn_layers": 2},
    "an odd width": {"hidden_size": 27},
    "another width than its encoder's": {"hidden_size": 48},
    "another way to see spans": {"span_mode": "query"},
    "spans by all words inside": {"span_mode": "conv_max"},
    "spans by a table": {"span_mode": "cat", "max_width": 3},
    "spans by one layer": {"span_mode": "mlp"},
    "spans by three words": {"span_mode": "markerV2"},
    "spans by what is there alone": {"span_mode": "marker"},
    "layers that are weighed": {"fuse_layers": True},
    "labels that meet words": {"post_fusion_schema": "l2l-t2l", "num_post_fusion_layers": 2},
    "words read again": {"span_encoder_config": {"model_type": "rnn", "num_hidden_layers": 2}},
    "at another width": {"span_encoder_config": {"model_type": "rnn", "hidden_size": 10}},
    "by an encoder": {"span_encoder_config": {"model_type": "modernbert", "hidden_size": 16}},
    "tokens and spans": {"span_mode": "token_level", "represent_spans": True},
    "the encoder's width alone": {"encoder_config": {"model_type": "bert", "hidden_size": 24}},
}


@pytest.mark.parametrize("changes", _CHANGES)
def test_configs_of_any_kind_are_not_judged_too_strictly(
    changes: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    """The library makes the model of a config, and its tensors are held to what is declared."""
    import gliner

    source = saved("gliner uni-span deberta-v3")
    given = json.loads((source / "gliner_config.json").read_text())
    own = dict(_CHANGES[changes])
    encoder = {**given["encoder_config"], "num_hidden_layers": 2, **own.pop("encoder_config", {})}
    config = {**given, **own, "encoder_config": encoder, "vocab_size": encoder["vocab_size"]}
    (tmp_path / "gliner_config.json").write_text(json.dumps(config))
    model = gliner.GLiNER.from_config(
        config, load_tokenizer=False, resize_token_embeddings=False, backbone_from_pretrained=False
    ).model
    tensors = {name: each.contiguous().clone() for name, each in model.state_dict().items()}
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    assert lacking_of_gliner(FolderFiles(tmp_path)) == ()
