"""The examples of model documents are admitted, and bge-m3 runs from the files of its hub."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file
from tests.support.encoder_models import DEVICE, VOCABULARY, write_tiny
from transformers import XLMRobertaConfig

from sie_catalog.published import published
from sie_cli.config.documents import LocalDocument, read_documents
from sie_config.writer.rules import Index, Put, admit
from sie_core.registry import Entity, Registry
from sie_layouts.architectures.tensors.pickled import pickles_wanted
from sie_schemas import canonical
from sie_schemas.documents import ModelDocument, admit_document
from sie_schemas.errors import FixRequest
from sie_server.adapters.adapter_shelf import AdapterShelf
from sie_server.backends.backend import ModelSpec
from sie_server.backends.encode import transformer
from sie_server.backends.names import backend_names
from sie_server.weights.pickles import convert_pickles
from sie_server.weights.sources import Weights

_EXAMPLES = sorted((Path(__file__).parents[2] / "examples/models").glob("*.yaml"))


def _put(kind: str, key: str, given: Mapping[str, Any]) -> Put:
    document = admit_document(kind, given)
    return Put(kind, key, document, canonical.dumps(document))


def _read(path: Path) -> LocalDocument:
    (found,) = read_documents(str(path)).documents
    return found


def _model(path: Path) -> ModelDocument:
    return ModelDocument.model_validate_json(msgspec.json.encode(_read(path).document))


@pytest.mark.parametrize("path", _EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_admitted_at_the_commit_of_the_catalog(path):
    bundle = _put("bundle", "default", {"name": "default", "backends": list(backend_names())})
    pool = _put("pool", "default", {"name": "default"})
    there = Registry.of([Entity(one.kind, one.key, 1, one.body) for one in (bundle, pool)])
    example = _read(path)
    command = _put(example.kind, example.key, example.document)
    assert admit(there, Index.of(there), "0" * 32, command).created
    row = next(row for row in published() if row.id == example.key)
    assert example.document["source"]["revision"] == row.commit
    # An example stands for the catalog's, and who applies it must not lose an operation.
    assert set(example.document["tasks"]) == set(row.tasks)
    assert set(example.document["tasks"]["encode"]["outputs"]) == set(row.outputs)


def test_a_branch_is_refused_with_the_way_to_its_commit():
    document = {**_read(_EXAMPLES[0]).document}
    document["source"] = {**document["source"], "revision": "main"}
    with pytest.raises(FixRequest, match=r"full commit hash \(40 hex digits\).*sie add") as refused:
        admit_document("model", document)
    assert "source.hub.revision" in str(refused.value.details)


def test_bge_m3_runs_from_its_files_once_their_pickles_are_converted(tmp_path):
    """On a small random model of the same architecture and files."""
    config = XLMRobertaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=66,
    )
    folder = write_tiny(tmp_path / "bge-m3", config, special=(2, 3))
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    for name, width in (("sparse_linear", 1), ("colbert_linear", 32)):
        torch.save(torch.nn.Linear(32, width).state_dict(), folder / f"{name}.pt")
    library = "sentence_transformers.models"
    steps = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"idx": place, "name": str(place), "path": path, "type": f"{library}.{kind}"}
        for place, (kind, path) in enumerate(steps.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True}
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 64}')

    convert_pickles(folder, pickles_wanted([path.name for path in folder.iterdir()]), "bge-m3")
    (path,) = [path for path in _EXAMPLES if "bge" in path.stem]
    model = _model(path)
    spec = ModelSpec(
        model.model_id, "r1", Weights(folder, None), model.tasks, model.profiles["default"]
    )
    loaded = transformer.load(
        spec, replace(DEVICE, adapters=AdapterShelf(), verdicts={})
    ).describe()
    assert loaded.dims == {"dense": 32, "sparse": VOCABULARY, "multivector": 32}
    assert loaded.execution == "packed", loaded.reason
