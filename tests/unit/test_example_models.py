"""The examples of model documents: admitted once the blanks are filled in, and not before."""

import re
from collections.abc import Mapping
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from tests.support.encoder_models import DEVICE, VOCABULARY, write_tiny
from transformers import XLMRobertaConfig

from sie_cli.config.documents import LocalDocument, read_documents
from sie_config.writer.rules import Index, Put, admit
from sie_core.registry import Entity, Registry
from sie_layouts.steps import NormalizeStep, PoolingStep
from sie_schemas import canonical
from sie_schemas.documents import ModelDocument, PathSource, admit_document
from sie_schemas.errors import FixRequest
from sie_server.adapters.adapter_shelf import AdapterShelf
from sie_server.backends import transformer
from sie_server.backends.backend import ModelSpec
from sie_server.backends.folder_layout import read_layout
from sie_server.backends.names import backend_names
from sie_server.weights.file_hashes import sha256
from sie_server.weights.sources import resolve

_FOLDER = Path(__file__).parents[2] / "examples/models"
_STAND_INS = {"PUT-ITS-SHA256-HERE": "a" * 64, "PUT-THE-COMMIT-HERE": "b" * 40}
_EXAMPLES = sorted(_FOLDER.glob("*.yaml"))


def _put(kind: str, key: str, given: Mapping[str, Any]) -> Put:
    document = admit_document(kind, given)
    return Put(kind, key, document, canonical.dumps(document))


def _filled(path: Path, folder: Path) -> LocalDocument:
    text = path.read_text()
    for blank, value in _STAND_INS.items():
        text = text.replace(blank, value)
    copy = folder / path.name
    copy.write_text(text)
    (found,) = read_documents(str(copy)).documents
    return found


def _model(example: LocalDocument) -> ModelDocument:
    return ModelDocument.model_validate_json(msgspec.json.encode(example.document))


@pytest.mark.parametrize("path", _EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_admitted_once_its_blanks_are_filled_in(path, tmp_path):
    bundle = _put("bundle", "default", {"name": "default", "backends": list(backend_names())})
    pool = _put("pool", "default", {"name": "default"})
    there = Registry.of([Entity(one.kind, one.key, 1, one.body) for one in (bundle, pool)])
    example = _filled(path, tmp_path)
    command = _put(example.kind, example.key, example.document)
    assert admit(there, Index.of(there), "0" * 32, command).created


@pytest.mark.parametrize("path", _EXAMPLES, ids=lambda path: path.stem)
def test_an_example_with_a_blank_is_refused_and_the_field_is_named(path):
    (found,) = read_documents(str(path)).documents
    with pytest.raises(FixRequest) as refused:
        admit_document(found.kind, found.document)
    assert re.search(r"source\.\S*(revision|manifest)", str(refused.value.details))


def test_the_examples_say_what_was_published_of_the_models(tmp_path):
    bge, stella = (_model(_filled(path, tmp_path)) for path in _EXAMPLES)
    assert (bge.model_id, stella.model_id) == ("BAAI/bge-m3", "NovaSearch/stella_en_400M_v5")
    assert bge.tasks.encode is not None
    assert set(bge.tasks.encode.outputs) == {"dense", "sparse", "multivector"}
    profile = bge.profiles["default"]
    assert profile.max_sequence_length == 8192
    # A folder of the weights alone says nothing of vectors: the profile does.
    (tmp_path / "config.json").write_text("{}")
    layout = read_layout(tmp_path, profile)
    assert layout.document[1:] == (PoolingStep(("cls",), width=0), NormalizeStep())
    # Its own files say how vectors are made, but call the prompt of a query by a name of their own.
    assert stella.profiles["default"].options == {"query_prompt": "s2p_query"}


def test_the_conversion_in_the_example_of_bge_m3_gives_a_folder_that_its_profile_runs(tmp_path):
    """On a small random model of the same architecture and files."""
    config = XLMRobertaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=66,
    )
    published = write_tiny(tmp_path / "bge-m3", config, special=(2, 3))
    for name, width in (("sparse_linear", 1), ("colbert_linear", 32)):
        torch.save(torch.nn.Linear(32, width).state_dict(), published / f"{name}.pt")
    text = (_FOLDER / "bge-m3.yaml").read_text().replace("#   ", "")
    (script,) = re.findall(r"python - <<'END'\n(.*?)\nEND\n", text, re.DOTALL)
    with chdir(tmp_path):
        exec(compile(script, "bge-m3.yaml", "exec"), {})
    model = _model(_filled(_FOLDER / "bge-m3.yaml", tmp_path))
    converted = tmp_path / "converted"
    assert isinstance(model.source, PathSource)
    pinned = {name: sha256(converted / name) for name in model.source.manifest}
    source = PathSource(type="path", path=str(converted), manifest=pinned)
    profile = model.profiles["default"]
    spec = ModelSpec(model.model_id, "r1", resolve(source), model.tasks, profile)
    loaded = transformer.load(
        spec, replace(DEVICE, adapters=AdapterShelf(), verdicts={})
    ).describe()
    assert loaded.dims == {"dense": 32, "sparse": VOCABULARY, "multivector": 32}
    assert loaded.execution == "packed", loaded.reason
