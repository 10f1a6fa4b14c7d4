"""Tables in place of a transformer, and queries that go another way: as sentence-transformers does.

Each model is built with the reference, which saves it; both answer the same texts as documents and
as queries, alone and in a mixed batch, through the sidecar's tokens.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentence_transformers as st
import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from sentence_transformers.base.modules import Dense, Normalize, Router, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling
from tests.support.conformance import TEXTS, Answerer, assert_as_reference, load, save_small
from tests.support.sameness import assert_same
from tests.support.small_tokenizers import small_tokenizer

from sie_cli.models.proposal import propose
from sie_layouts.architectures.tensors.pickled import pickles_wanted
from sie_layouts.folder import FolderFiles
from sie_layouts.steps import StaticStep, TextLayout
from sie_schemas import ipc
from sie_schemas.errors import OurFault
from sie_server.vectors.tables import read_table
from sie_server.weights.pickles import convert_pickles
from sie_server.weights.sources import Weights

WIDTH = 16
_SIZES: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 66,
}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = small_tokenizer("Bert", model_max_length=40)
    config = tf.BertConfig(vocab_size=len(tokenizer), **_SIZES)
    return save_small(tmp_path_factory.mktemp("bert"), tf.BertForMaskedLM(config), tokenizer)


def _static(width: int = WIDTH, *, cut: int | None = None) -> StaticEmbedding:
    torch.manual_seed(4)
    native = small_tokenizer("Bert").backend_tokenizer
    if cut is not None:
        native.enable_truncation(cut)
    return StaticEmbedding(native, embedding_weights=torch.randn(native.get_vocab_size(), width))


def _dense(width: int, seed: int) -> Dense:
    torch.manual_seed(seed)
    return Dense(WIDTH, width)


def _token_weights(bert: Path) -> SparseStaticEmbedding:
    tokenizer: Any = tf.AutoTokenizer.from_pretrained(bert)
    weights = torch.rand(len(tokenizer), generator=torch.Generator().manual_seed(6))
    return SparseStaticEmbedding(tokenizer, weight=weights, frozen=True)


def _saved(folder: Path, kind: type, modules: Sequence[torch.nn.Module], **options: Any) -> Path:
    kind(modules=list(modules), device="cpu", **options).save(str(folder), create_model_card=False)
    return folder


def _require_same(folder: Path, kind: type, **options: Any) -> Answerer:
    answerer = Answerer(load(folder, **options))
    reference = kind(str(folder), device="cpu")
    assert_as_reference(reference, {"document": TEXTS, "query": TEXTS}, answerer)
    return answerer


@pytest.mark.parametrize("cut", [None, 7])
def test_a_table_of_vectors_answers_with_their_mean(tmp_path, cut):
    modules = [_static(cut=cut), _dense(8, 1), Normalize()]
    folder = _saved(tmp_path / "model", st.SentenceTransformer, modules)
    answerer = _require_same(folder, st.SentenceTransformer)
    assert answerer.loaded.dims == {"dense": 8}
    assert answerer.loaded.max_sequence_length == (cut or 0)


@pytest.mark.parametrize("weighed", [torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_table_as_model2vec_keeps_it_is_folded(dtype, weighed, tmp_path):
    folder = _saved(tmp_path / "model", st.SentenceTransformer, [_static()])
    size = small_tokenizer("Bert").backend_tokenizer.get_vocab_size()
    generator = torch.Generator().manual_seed(1)
    tensors = {
        "embeddings": torch.randn(20, WIDTH, generator=generator).to(dtype),
        "mapping": torch.randint(0, 20, (size,), generator=generator),
        "weights": torch.rand(size, generator=generator, dtype=weighed),
    }
    save_file(tensors, folder / "model.safetensors")
    _require_same(folder, st.SentenceTransformer)
    table = read_table(
        Weights(folder, None),
        StaticStep("", TextLayout(None), "model.safetensors"),
        torch.device("cpu"),
    )
    rows = StaticEmbedding.load(str(folder)).embedding.weight
    # Each token alone, to the last bit.
    assert table.of([torch.tensor([token]) for token in range(size)]).equal(rows)


def test_a_router_sends_queries_to_a_table_and_documents_to_a_transformer(bert, tmp_path):
    router = Router.for_query_document(
        query_modules=[_static()],
        document_modules=[Transformer(str(bert)), Pooling(WIDTH, "mean")],
    )
    prompts = {"query": "the query: ", "document": "a document: "}
    modules = [router, Normalize()]
    folder = _saved(tmp_path / "model", st.SentenceTransformer, modules, prompts=prompts)
    answerer = _require_same(folder, st.SentenceTransformer)
    assert answerer.loaded.query_form is not None
    assert not answerer.loaded.query_form.special_tokens
    _require_same(folder, st.SentenceTransformer, padded=True)


def test_a_router_behind_the_pooling_gives_queries_layers_of_their_own(bert, tmp_path):
    router = Router.for_query_document([_dense(8, 1)], [_dense(8, 2)])
    modules = [Transformer(str(bert)), Pooling(WIDTH, "mean"), router]
    folder = _saved(tmp_path / "model", st.SentenceTransformer, modules)
    _require_same(folder, st.SentenceTransformer)


@pytest.mark.parametrize(
    ("names", "options", "side"),
    [
        (("query", "document"), {"default_route": "query"}, "query"),
        (("query", "document"), {}, "query"),  # the first is the default
        (("document", "query"), {}, "document"),
        (("query", "text"), {"default_route": "query"}, "document"),  # by what it is
        (("q", "d"), {"route_mappings": {("query", "text"): "q", (None, None): "d"}}, "document"),
    ],
)
def test_a_text_that_is_called_neither_goes_the_routers_way(bert, tmp_path, names, options, side):
    parts = dict(zip(names, ([_dense(8, 1)], [_dense(8, 2)]), strict=True))
    modules = [Transformer(str(bert)), Pooling(WIDTH, "mean"), Router(parts, **options)]
    folder = _saved(tmp_path / "model", st.SentenceTransformer, modules)
    answerer = Answerer(load(folder))
    assert answerer.loaded.query_form is not None
    assert answerer.loaded.query_form.by_default == (side == "query")
    reference = st.SentenceTransformer(str(folder), device="cpu")
    every: Any = dict.fromkeys(("encode", "query", "document"), TEXTS[:3])
    assert_as_reference(reference, every, answerer)


def test_a_third_way_for_a_text_that_is_called_neither_is_refused(bert, tmp_path):
    parts: Any = {
        name: [_dense(8, place)] for place, name in enumerate(("query", "document", "other"))
    }
    router = Router(parts, default_route="other")
    modules = [Transformer(str(bert)), Pooling(WIDTH, "mean"), router]
    folder = _saved(tmp_path / "model", st.SentenceTransformer, modules)
    with pytest.raises(OurFault, match="called neither query nor document; make the route of doc"):
        load(folder)


def test_a_router_of_an_older_release_is_named_asym(bert, tmp_path):
    router = Router.for_query_document([_dense(8, 1)], [_dense(8, 2)])
    modules = [Transformer(str(bert)), Pooling(WIDTH, "mean"), router]
    folder = _saved(tmp_path / "model", st.SentenceTransformer, modules)
    listed = json.loads((folder / "modules.json").read_text())
    listed[2]["type"] = "sentence_transformers.models.Asym"
    (folder / "modules.json").write_text(json.dumps(listed))
    home = folder / listed[2]["path"]
    (home / "router_config.json").rename(home / "config.json")
    _require_same(folder, st.SentenceTransformer)


def test_queries_and_documents_of_other_widths_are_refused(bert, tmp_path):
    router = Router.for_query_document([_dense(8, 1)], [_dense(9, 2)])
    modules = [Transformer(str(bert)), Pooling(WIDTH, "mean"), router]
    folder = _saved(tmp_path / "model", st.SentenceTransformer, modules)
    with pytest.raises(OurFault, match=r"'dense': 9.* and queries to .*'dense': 8"):
        load(folder)


def test_queries_without_inference_weigh_their_own_tokens(bert, tmp_path):
    """As opensearch-neural-sparse-encoding-doc-v3 is published."""
    document = Transformer(str(bert), transformer_task="fill-mask")
    router = Router.for_query_document(
        query_modules=[_token_weights(bert)], document_modules=[document, SpladePooling()]
    )
    folder = _saved(tmp_path / "model", st.SparseEncoder, [router])
    _require_same(folder, st.SparseEncoder, outputs=("sparse",))


def test_a_table_of_weights_alone_is_a_model(bert, tmp_path):
    folder = _saved(tmp_path / "model", st.SparseEncoder, [_token_weights(bert)], max_active_dims=4)
    _require_same(folder, st.SparseEncoder, outputs=("sparse",))


@pytest.mark.parametrize("outputs", [("dense", "multivector"), ("dense", "sparse")])
def test_a_table_gives_one_output_and_a_document_that_names_another_is_refused(outputs, tmp_path):
    folder = _saved(tmp_path / "model", st.SentenceTransformer, [_static()])
    with pytest.raises(OurFault, match="gives the output dense, and no other"):
        load(folder, outputs=outputs)


def test_queries_and_documents_share_a_batch(bert, tmp_path):
    router = Router.for_query_document([_static()], [Transformer(str(bert)), Pooling(WIDTH)])
    folder = _saved(tmp_path / "model", st.SentenceTransformer, [router])
    answerer = Answerer(load(folder))
    inputs: list[ipc.Input] = []
    for place, text in enumerate(TEXTS):
        inputs += answerer.inputs([text], "query" if place % 2 else "document")
    expected = [
        answerer.vectors([text], "query" if place % 2 else "document")[0]
        for place, text in enumerate(TEXTS)
    ]
    assert_same(answerer.answered(inputs), np.stack(expected))


def test_an_asym_whose_layers_are_pickles_is_converted_whole(bert, tmp_path):
    """As the library saved it before it had a Router: its layers lie a folder deeper."""
    ways = Router({"query": [_dense(8, 1)], "document": [_dense(8, 2)]})
    modules = [Transformer(str(bert)), Pooling(WIDTH, "mean"), ways]
    folder = _saved(tmp_path / "model", st.SentenceTransformer, modules)
    listed = json.loads((folder / "modules.json").read_text())
    home = folder / listed[2]["path"]
    listed[2]["type"] = "sentence_transformers.models.Asym"
    (folder / "modules.json").write_text(json.dumps(listed))
    told = json.loads((home / "router_config.json").read_text())
    told["types"] = dict.fromkeys(told["types"], "sentence_transformers.models.Dense")
    (home / "config.json").write_text(json.dumps({**told, "parameters": {"allow_empty_key": True}}))
    (home / "router_config.json").unlink()
    for file in home.rglob("model.safetensors"):
        torch.save(load_file(file), file.with_name("pytorch_model.bin"))
        file.unlink()
    files = FolderFiles(folder)
    assert propose(files, takes_pickles=True).refusals == ()
    wanted = pickles_wanted(files.names())
    assert len(wanted) == 2
    convert_pickles(folder, wanted, "a model")
    _require_same(folder, st.SentenceTransformer)
