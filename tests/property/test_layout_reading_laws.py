"""Laws of reading a model folder: whatever its files hold, the answer is a layout or a refusal."""

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from sie_layouts.facts import WORDS
from sie_layouts.layout import SentenceLayout
from sie_layouts.reading import Kind, read
from sie_layouts.sentence import read_sentence

_KEYS = st.sampled_from(
    [
        *(
            "activation_function",
            "architectures",
            "auto_map",
            "bias",
            "config_args",
            "default_route",
        ),
        *("dimension", "do_lower_case", "embedding_dimension", "in_features", "include_prompt"),
        *("is_encoder_decoder", "k", "max_active_dims", "max_len", "max_length", "max_seq_length"),
        *("modality_config", "model_args", "model_max_length", "model_type", "module_input_name"),
        *("num_experts", "out_features", "parameters", "path", "pooling_mode", "processing_kwargs"),
        *("processor_kwargs", "prompts", "route_mappings", "structure", "text", "tokenizer_args"),
        *("transformer_task", "truncate_dim", "truncation_side", "type", "types", "use_residual"),
        *("document_length", "query_expansion", "query_length", "query_maxlen", "doc_maxlen"),
        *("keep_only_token_ids", "length", "skiplist_tasks", "skiplist_words", "strategy"),
        *("activation_fn", "chat_template", "image", "size", "text_config", "vision_config"),
    ]
)
_WORDS = st.sampled_from(
    [
        *("", "..", "/", "mean", "query", "document", "left", "torch.nn.Tanh", "0_Pooling", "x"),
        *("sentence_transformers.models.Pooling", "sentence_transformers.models.Router"),
        *("sentence_transformers.models.Transformer", "sentence_transformers.models.Dense"),
        *("SparseEncoder", "CrossEncoder", "BertForMaskedLM", "nomic_bert", "token_embeddings"),
        *("ColBERT", "MultiVectorEncoder", "HF_ColBERT", "Qwen3ForCausalLM", "fixed"),
        *("BertForSequenceClassification", "clip", "siglip", "CLIPModel", "GLiClassModel"),
        "sentence_transformers.multi_vector_encoder.modules.MultiVectorMask",
        *("('query', None)", "(((", "1 if"),
    ]
)
_PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | _WORDS
_VALUES = st.recursive(
    _PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS | _WORDS, inner, max_size=5),
    max_leaves=12,
)
_NAMES = st.sampled_from(
    [
        *("modules.json", "config.json", "config_sentence_transformers.json", "router_config.json"),
        *("sentence_bert_config.json", "tokenizer_config.json", "0_Pooling/config.json"),
        *("adapter_config.json", "chat_template.jinja", "model.safetensors"),
        *("artifact.metadata", "preprocessor_config.json", "processor_config.json"),
    ]
)
_KINDS: tuple[Kind, ...] = ("scores", "token_vectors", "texts_and_images")
_CONTENTS = _VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=12)


class _Held:
    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self.asked: set[str] = set()

    def names(self) -> Mapping[str, int]:
        return {name: len(content) for name, content in self._files.items()}

    def read(self, name: str) -> bytes | None:
        self.asked.add(name)
        return self._files.get(name)

    def head(self, name: str, count: int) -> bytes | None:
        self.asked.add(name)
        return None if name not in self._files else self._files[name][:count]


@given(st.dictionaries(_NAMES, _CONTENTS, max_size=7), st.sampled_from([None, "dense", "sparse"]))
def test_a_folder_is_a_layout_or_says_why_not(files: dict[str, bytes], output: Any) -> None:
    held = _Held(files)
    readings = [read(held, kind) for kind in (None, *_KINDS)]
    for found in (*readings, read_sentence(held, output)):
        assert (found.layout is None) == bool(found.refusals)
        assert all(refusal.source and refusal.what for refusal in found.refusals)
    # What is read is what workers fetch and manifests pin.
    assert [name for name in held.asked if not name.endswith(WORDS)] == []


@given(st.lists(st.dictionaries(st.sampled_from(["type", "path"]), _WORDS), max_size=4))
def test_a_list_of_modules_is_read_to_its_end(modules: list[dict[str, str]]) -> None:
    files = {
        "modules.json": json.dumps(modules).encode(),
        "0_Pooling/config.json": b'{"embedding_dimension": 4}',
    }
    found = read(_Held(files))
    assert (found.layout is None) == bool(found.refusals)


_WHOLE = {
    "modules.json": json.dumps(
        [
            {"path": "", "type": "sentence_transformers.models.Transformer"},
            {"path": "0_Pooling", "type": "sentence_transformers.models.Pooling"},
        ]
    ).encode(),
    "0_Pooling/config.json": b'{"embedding_dimension": 4}',
    "config.json": b"{}",
}


@example("tokenizer_config.json", {"model_max_length": float("nan")})
@example("sentence_bert_config.json", {"tokenizer_args": {"model_max_length": float("nan")}})
@example("config.json", {"model_type": ["bert"]})
@example("model.safetensors.index.json", {"weight_map": {"a": []}})
@given(
    st.sampled_from(["sentence_bert_config.json", "tokenizer_config.json", "config.json"]),
    st.dictionaries(_KEYS, _VALUES, min_size=1, max_size=3),
)
def test_a_setting_of_a_whole_folder_is_done_or_refused(name: str, told: dict[str, Any]) -> None:
    assert read(_Held(_WHOLE)).layout is not None
    found = read(_Held({**_WHOLE, name: json.dumps(told).encode()}))
    assert (found.layout is None) == bool(found.refusals)
    if found.layout is not None and hasattr(found.layout, "text"):
        limit = found.layout.text.tokens_max
        assert limit is None or limit > 0


@given(st.sampled_from(["./0_Pooling", "0_Pooling/", "0_Pooling/.", ".//0_Pooling/"]))
def test_a_folder_is_the_same_however_a_list_spells_it(spelled: str) -> None:
    modules = json.loads(_WHOLE["modules.json"])
    modules[1]["path"] = spelled
    assert read(_Held({**_WHOLE, "modules.json": json.dumps(modules).encode()})) == read(
        _Held(_WHOLE)
    )
    modules[0]["path"] = spelled.replace("0_Pooling", "0_Transformer")
    inside = {
        "0_Transformer/config.json": b"{}",
        "0_Transformer/sentence_bert_config.json": b'{"max_seq_length": 7}',
        "0_Pooling/config.json": _WHOLE["0_Pooling/config.json"],
        "modules.json": json.dumps(modules).encode(),
    }
    found = read(_Held(inside)).layout
    assert isinstance(found, SentenceLayout)
    assert found.text.tokens_max == 7
