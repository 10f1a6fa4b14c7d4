"""A model folder's layout is read from its small files, and what is not done there is refused."""

import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest

from sie_layouts.folder import FolderFiles
from sie_layouts.reader import Reader
from sie_layouts.reading import read
from sie_layouts.routes import steps_of
from sie_layouts.sentence import read_sentence
from sie_layouts.steps import AutoEncoderStep, NormalizeStep, PoolingStep, TransformerStep

_MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {
        "idx": 2,
        "name": "2",
        "path": "2_Normalize",
        "type": "sentence_transformers.base.modules.normalize.Normalize",
    },
]
_POOLING = {"embedding_dimension": 8, "pooling_mode": "mean", "include_prompt": True}


class _Held:
    """Files that are held in memory: what a folder is to the reader."""

    def __init__(self, **files: Any) -> None:
        self._files = {
            name: content if isinstance(content, bytes) else json.dumps(content).encode()
            for name, content in files.items()
        }

    def names(self) -> Mapping[str, int]:
        return {name: len(content) for name, content in self._files.items()}

    def read(self, name: str) -> bytes | None:
        return self._files.get(name)

    def head(self, name: str, count: int) -> bytes | None:
        content = self._files.get(name)
        return None if content is None else content[:count]


def _folder(**changed: Any) -> _Held:
    files: dict[str, Any] = {
        "modules.json": _MODULES,
        "1_Pooling/config.json": _POOLING,
        "config.json": {"model_type": "bert", "architectures": ["BertModel"]},
        **changed,
    }
    return _Held(**{name: content for name, content in files.items() if content is not None})


def _refusals(files: _Held) -> str:
    return "\n".join(map(str, read(files).refusals))


def test_a_folder_of_sentence_transformers_is_read_step_by_step():
    found = read_sentence(_folder(**{"tokenizer_config.json": {"model_max_length": 256}}))
    assert found.refusals == ()
    assert found.layout is not None
    kinds = [type(step) for step in found.layout.document]
    assert kinds == [TransformerStep, PoolingStep, NormalizeStep]
    assert (found.layout.kind, found.layout.width, found.layout.routed) == ("dense", 8, False)
    assert found.layout.text.tokens_max == 256
    said = {(fact.name, fact.value, fact.source) for fact in found.layout.facts}
    assert ("tokens_max", "256", "tokenizer_config.json: model_max_length") in said


@pytest.mark.parametrize(
    ("sentence", "tokenizer", "tokens_max", "capped"),
    [
        ({}, {}, None, True),
        ({}, {"model_max_length": 1e30}, None, True),
        ({}, {"max_len": 48}, 48, True),
        ({}, {"model_max_length": 256}, 256, True),
        ({"max_seq_length": None}, {"model_max_length": 256}, 256, True),
        ({"max_seq_length": 24}, {"model_max_length": 256}, 24, False),
        ({"tokenizer_args": {"model_max_length": 40}, "max_seq_length": 24}, {}, 40, False),
        ({"processing_kwargs": {"text": {"max_length": 12}}}, {"model_max_length": 256}, 12, False),
    ],
)
def test_the_length_is_read_where_the_reference_reads_it(sentence, tokenizer, tokens_max, capped):
    found = read_sentence(
        _folder(**{"sentence_bert_config.json": sentence, "tokenizer_config.json": tokenizer})
    )
    assert found.layout is not None, found.refusals
    assert found.layout.text.tokens_max == tokens_max
    assert found.layout.text.capped_by_positions == capped


def _module(place: int, **changed: Any) -> list[dict[str, Any]]:
    return [{**each, **changed} if each["idx"] == place else each for each in _MODULES]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"modules.json": b"{"}, "modules.json is no JSON"),
        ({"modules.json": {}}, "modules.json is no list of modules"),
        ({"modules.json": _module(1, type="custom_st.Pooling")}, "modules.json: 1.type is 'custom"),
        (
            # jina-embeddings-v3 as it is published.
            {"modules.json": _module(0, type="custom_st.Transformer")},
            "modules.json: 0.type is 'custom_st.Transformer', code of the model's own",
        ),
        (
            {"modules.json": _module(1, type="sentence_transformers.models.LSTM")},
            "modules.json: 1.type names a step 'LSTM', which is not done here: it runs a recurrent",
        ),
        (
            {"modules.json": _module(1, type="sentence_transformers.models.Newest")},
            "names a step 'Newest', which is not done here; done are Dense, LayerNorm",
        ),
        ({"modules.json": _module(1, path="../other")}, "1.path is '../other', outside the folder"),
        # Wherever in it the way leads out, and however the way is written.
        ({"modules.json": _module(1, path="1_Pooling/../../other")}, "outside the folder"),
        ({"modules.json": _module(1, path="1_Pooling\\..\\..\\other")}, "outside the folder"),
        ({"modules.json": _module(1, path="/other")}, "1.path is '/other', outside the folder"),
        ({"modules.json": _MODULES[:1]}, "ends without a sentence_embedding"),
        ({"modules.json": _MODULES[1:]}, "begins with Pooling, which takes no texts in"),
        (
            {"1_Pooling/config.json": {**_POOLING, "sharpness": 2}},
            "1_Pooling/config.json: sharpness is 2, which is not done here: Pooling has no such",
        ),
        (
            {"1_Pooling/config.json": {**_POOLING, "pooling_mode": ["mean", "median"]}},
            "pooling_mode is ['mean', 'median'], which is not done here; cls, lasttoken, max",
        ),
        (
            {"1_Pooling/config.json": {**_POOLING, "embedding_dimension": "8"}},
            'embedding_dimension is "8", and a whole number is wanted',
        ),
        (
            {"sentence_bert_config.json": {"max_sequence_length": 3}},
            "sentence_bert_config.json: max_sequence_length is 3, which is not done here",
        ),
        (
            {"sentence_bert_config.json": {"transformer_task": "text-generation"}},
            "transformer_task is 'text-generation', which makes no vectors here",
        ),
        (
            {"sentence_bert_config.json": {"modality_config": {"message": {}, "text": {}}}},
            "modality_config.message is there: the reference puts every text into a chat template",
        ),
        (
            {"tokenizer_config.json": {"truncation_side": None}},
            "tokenizer_config.json: truncation_side is null",
        ),
        (
            {"tokenizer_config.json": {"model_input_names": None}},
            "tokenizer_config.json: model_input_names is null",
        ),
        (
            {"sentence_bert_config.json": {"query_length": 32}},
            "sentence_bert_config.json: query_length is 32, which is not done here",
        ),
        (
            {"sentence_bert_config.json": {"processor_kwargs": {"vocab_file": "/etc/passwd"}}},
            "processor_kwargs.vocab_file is '/etc/passwd', which is not done here",
        ),
        (
            {"sentence_bert_config.json": {"model_args": {"default_task": "retrieval"}}},
            "model_args.default_task is 'retrieval', which is not done here",
        ),
        (
            {"sentence_bert_config.json": {"processing_kwargs": {"text": {"stride": 3}}}},
            "processing_kwargs.text.stride is 3, which is not done here",
        ),
        (
            {"config_sentence_transformers.json": {"default_prompt_name": "clustering"}},
            "default_prompt_name is 'clustering', and the prompts are []",
        ),
        (
            {"config.json": {"model_type": "bert", "position_embedding_type": "relative_key"}},
            "position_embedding_type is 'relative_key', and transformers' own bert has absolute",
        ),
        (
            {"config.json": {"model_type": "nomic_bert", "num_experts": 8}},
            "config.json: n_embd is no whole number above 0, and one is wanted",
        ),
        (
            {"config.json": {"model_type": "nomic_bert", "n_embd": 24, "prenorm": True}},
            "config.json: prenorm is True, which is not done here; False is",
        ),
        (
            {"config.json": {"model_type": "bert", "quantization_config": {"bits": 4}}},
            "config.json: quantization_config is there: weights in integers are not read",
        ),
        (
            {"adapter_config.json": {"peft_type": "LORA"}},
            "adapter_config.json is there: the reference puts an adapter of its own on another",
        ),
        (
            {"config.json": {"model_type": "blip", "vision_config": {"a": 1}}},
            "config.json: vision_config is there: a model that takes more than texts",
        ),
        (
            {"config.json": {"model_type": "bart", "is_encoder_decoder": True}},
            "config.json: is_encoder_decoder is true of a bart; of mt5, t5, umt5 the encoder",
        ),
        (
            {"modules.json": None, "config.json": None},
            "config.json is not there, nor is modules.json",
        ),
        (
            {"modules.json": None, "chat_template.jinja": b"{{ messages }}"},
            "chat_template.jinja has a chat template, into which the reference puts every text",
        ),
        (
            {"modules.json": None, "additional_chat_templates/rag.jinja": b"{{ messages }}"},
            "additional_chat_templates/rag.jinja has a chat template",
        ),
        (
            {
                "sentence_bert_config.json": {
                    "processing_kwargs": {"text": {"padding": "max_length"}}
                }
            },
            "processing_kwargs.text.padding is 'max_length', which is not done here",
        ),
        (
            {"tokenizer_config.json": {"split_special_tokens": True}},
            "tokenizer_config.json: split_special_tokens is true: a text's own marks would be read",
        ),
    ],
)
def test_a_file_that_says_what_is_not_done_is_named_with_its_key(changed, said):
    assert said in _refusals(_folder(**changed))


@pytest.mark.parametrize("kind", ["vectors", "scores", "token_vectors", "texts_and_images"])
def test_two_modules_of_one_name_are_refused_whoever_reads_them(kind):
    """The reference keeps them by name: the second runs in the place of the first."""
    settings = {"model_type": "CrossEncoder"} if kind == "scores" else {}
    files = _folder(
        **{
            "modules.json": _module(2, name="1"),
            "config_sentence_transformers.json": settings,
        }
    )
    told = "\n".join(map(str, read(files, kind).refusals))
    assert "modules.json: 2.name is '1', as of a module before it" in told


def test_every_refusal_is_told_at_once():
    found = _refusals(
        _folder(
            **{
                "1_Pooling/config.json": {**_POOLING, "sharpness": 2},
                "sentence_bert_config.json": {"max_sequence_length": 3},
            }
        )
    )
    assert "sharpness" in found
    assert "max_sequence_length" in found


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [(["BertModel"], "mean"), (["Qwen3ForCausalLM"], "last"), (None, "mean")],
)
def test_a_bare_transformer_is_pooled_as_the_reference_chooses(architecture, expected):
    config = {"model_type": "bert", "architectures": architecture, "hidden_size": 24}
    found = read_sentence(_folder(**{"modules.json": None, "config.json": config}))
    assert found.layout is not None, found.refusals
    assert found.layout.document[1] == PoolingStep((expected,), width=24)
    assert found.layout.width == 24
    assert any("no file says another" in fact.value for fact in found.layout.facts)


def test_the_output_that_is_wanted_is_the_one_that_the_folder_makes():
    found = read_sentence(_folder(), "sparse")
    assert found.layout is None
    assert "modules.json makes dense vectors, and sparse ones are wanted" in str(found.refusals[0])


def test_a_folder_on_disk_is_read_and_never_left(tmp_path):
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "1_Pooling/config.json").write_text("{}")
    (tmp_path / "secret").write_text("no")
    files = FolderFiles(folder)
    assert files.names() == {"1_Pooling/config.json": 2}
    assert files.read("1_Pooling/config.json") == b"{}"
    assert files.read("../secret") is None
    assert files.read(str(tmp_path / "secret")) is None
    assert files.read("absent") is None


def test_a_router_sends_queries_another_way():
    router = {
        "types": {
            "query_0_StaticEmbedding": "sentence_transformers.models.StaticEmbedding",
            "document_0_Transformer": "sentence_transformers.models.Transformer",
            "document_1_Pooling": "sentence_transformers.models.Pooling",
        },
        "structure": {
            "query": ["query_0_StaticEmbedding"],
            "document": ["document_0_Transformer", "document_1_Pooling"],
        },
        "parameters": {"default_route": "document", "allow_empty_key": True},
    }
    files = _folder(
        **{
            "modules.json": [
                {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Router"},
                _MODULES[2],
            ],
            "router_config.json": router,
            "document_1_Pooling/config.json": _POOLING,
        }
    )
    found = read_sentence(files)
    assert found.layout is not None, found.refusals
    assert found.layout.routed
    assert [type(step).__name__ for step in found.layout.query] == ["StaticStep", "NormalizeStep"]
    assert [type(step).__name__ for step in found.layout.document] == [
        "TransformerStep",
        "PoolingStep",
        "NormalizeStep",
    ]
    del router["structure"]["query"]  # type: ignore[attr-defined]
    files = _folder(
        **{
            "modules.json": [
                {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Router"}
            ],
            "router_config.json": router,
            "document_1_Pooling/config.json": _POOLING,
        }
    )
    assert "router_config.json: structure has no route for a query" in _refusals(files)


_PAIRS = [("query", "text"), ("query", None), (None, "text"), (None, None)]
"""The keys of a router's mappings for the text of a query, from the nearest on."""


@pytest.mark.parametrize(
    "there", [each for count in (1, 2, 3, 4) for each in itertools.combinations(_PAIRS, count)]
)
def test_a_router_takes_the_nearest_of_its_mappings_whatever_their_order(there):
    static = "sentence_transformers.models.StaticEmbedding"
    router = {
        "types": {f"at{place}": static for place in range(4)},
        "structure": {f"route{place}": [f"at{place}"] for place in range(4)},
        "parameters": {
            "route_mappings": {str(pair): f"route{_PAIRS.index(pair)}" for pair in there[::-1]}
        },
    }
    listed = [{"name": "0", "path": "", "type": "sentence_transformers.models.Router"}]
    files = _folder(**{"modules.json": listed, "router_config.json": router})
    (taken,) = steps_of(Reader(files), "query")
    assert taken.file.startswith(f"at{_PAIRS.index(there[0])}/")  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["query", "document", "passage", "other", ""])
@pytest.mark.parametrize("prompts", [{}, {"passage": "p: "}, {"query": "q: ", "": ""}])
def test_a_default_prompt_is_one_that_is_listed_or_that_every_folder_has(name, prompts):
    settings = {"default_prompt_name": name, "prompts": prompts}
    found = read_sentence(_folder(**{"config_sentence_transformers.json": settings}))
    is_there = name in prompts or name in ("query", "document")
    assert (found.layout is not None) is is_there
    if found.layout is not None:
        assert found.layout.default_prompt == name


@pytest.mark.parametrize(("said", "kept"), [(None, 4), (3, 3), (16, 16), (17, None)])
def test_the_entries_that_a_folder_keeps_are_kept_of_queries_and_documents_alike(said, kept):
    encoder = {"input_dim": 8, "hidden_dim": 16, "k": 4}
    path = "sentence_transformers.sparse_encoder.models.SparseAutoEncoder"
    files = _folder(
        **{
            "modules.json": [*_MODULES[:2], {"name": "2", "path": "2_Sparse", "type": path}],
            "2_Sparse/config.json": encoder,
            "config_sentence_transformers.json": {
                "model_type": "SparseEncoder",
                "max_active_dims": said,
            },
        }
    )
    found = read_sentence(files)
    if kept is None:
        told = f"max_active_dims is {said}, and a vector has 16 numbers"
        assert told in str(found.refusals[0])
        return
    assert found.layout is not None, found.refusals
    for steps in (found.layout.query, found.layout.document):
        assert [step.kept for step in steps if isinstance(step, AutoEncoderStep)] == [kept]
