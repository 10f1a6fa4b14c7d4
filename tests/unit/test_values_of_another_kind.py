"""A file of a model is data from a stranger: a value of another kind is read or refused.

Each value of each small file is replaced in its turn, and no reader ends in an error of Python.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from sie_cli.models.proposal import propose
from sie_layouts.reading import Kind, read

_MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
]
_DENSE = {
    "in_features": 8, "out_features": 4, "bias": True,
    "activation_function": "torch.nn.modules.activation.Tanh",
}  # fmt: skip
_BERT = {
    "model_type": "bert", "architectures": ["BertModel"], "hidden_size": 8,
    "chunk_size_feed_forward": 4, "position_embedding_type": "absolute", "is_decoder": False,
    "is_encoder_decoder": False, "num_hidden_layers": 1, "vocab_size": 20,
    "max_position_embeddings": 30, "dtype": "float32",
}  # fmt: skip
_TOKENIZER = {
    "model_max_length": 20, "tokenizer_class": "BertTokenizer", "truncation_side": "right",
    "padding_side": "right",
}  # fmt: skip
_SENTENCE = {
    "config.json": _BERT,
    "modules.json": _MODULES,
    "1_Pooling/config.json": {"embedding_dimension": 8, "pooling_mode": "mean"},
    "2_Dense/config.json": _DENSE,
    "tokenizer_config.json": _TOKENIZER,
    "sentence_bert_config.json": {
        "max_seq_length": 16, "do_lower_case": False, "processor_kwargs": {"padding_side": "right"},
        "processing_kwargs": {"text": {"max_length": 9}},
    },
    "config_sentence_transformers.json": {
        "model_type": "SentenceTransformer", "prompts": {"query": "q "},
        "default_prompt_name": "query", "similarity_fn_name": "cosine",
    },
}  # fmt: skip
_LATE = {
    "config.json": _BERT,
    "modules.json": [
        _MODULES[0], {"idx": 1, "name": "1", "path": "1", "type": "pylate.models.Dense.Dense"}
    ],
    "1/config.json": _DENSE,
    "tokenizer_config.json": {**_TOKENIZER, "padding_side": None},
    "tokenizer.json": {"padding": {"direction": "Right"}, "model": {"type": "WordLevel"}},
    "config_sentence_transformers.json": {
        "model_type": "ColBERT", "query_prefix": "Q", "document_prefix": "D", "query_length": 9,
        "document_length": 12, "skiplist_words": ["!"], "do_query_expansion": True,
        "attend_to_expansion_tokens": False, "similarity_fn_name": "MaxSim", "prompts": {},
    },
}  # fmt: skip
_FOLDERS: Mapping[str, Mapping[str, Any]] = {
    "whole texts": _SENTENCE,
    "no length": {**_SENTENCE, "config.json": {"model_type": "t5"}, "tokenizer_config.json": {}},
    "tokens": _LATE,
    "decoder": {
        "config.json": {
            "model_type": "qwen2", "auto_map": {"AutoModel": "a.B"},
            "architectures": ["Qwen2ForCausalLM"],
        },
        "tokenizer_config.json": {**_TOKENIZER, "auto_map": {"AutoTokenizer": ["a.B", None]}},
    },
    "classes": {
        "config.json": {
            **_BERT, "architectures": ["BertForSequenceClassification"],
            "id2label": {"0": "a", "1": "b"}, "problem_type": "single_label_classification",
        },
        "tokenizer_config.json": _TOKENIZER,
    },
    "words": {"config.json": {**_BERT, "architectures": ["BertForMaskedLM"]}},
}  # fmt: skip
_KINDS: tuple[Kind, ...] = ("vectors", "scores", "token_vectors")
_ODD: tuple[Any, ...] = (["x"], {"x": ["y"]}, 3, 2.5, True, "x", None, [], [{}], {})


class _Held:
    """Files that are held in memory, and weights of which nothing can be read."""

    def __init__(self, files: Mapping[str, Any]) -> None:
        self._files = {name: json.dumps(each).encode() for name, each in files.items()}
        self._files["model.safetensors"] = b"\0" * 9

    def names(self) -> Mapping[str, int]:
        return {name: len(content) for name, content in self._files.items()}

    def read(self, name: str) -> bytes | None:
        return self._files.get(name)

    def head(self, name: str, count: int) -> bytes | None:
        content = self._files.get(name)
        return None if content is None else content[: count if count >= 0 else None]


def _replaced(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Copies of a value, in each of which one part is of another kind; and where it stands."""
    for odd in _ODD:
        yield f"{place} = {odd!r}", odd
    parts = value.items() if isinstance(value, dict) else ()
    for key, part in enumerate(value) if isinstance(value, list) else parts:
        for where, changed in _replaced(part, f"{place}.{key}"):
            copy = value.copy()
            copy[key] = changed
            yield where, copy


@pytest.mark.parametrize("name", _FOLDERS)
def test_a_value_of_another_kind_ends_no_reader(name: str) -> None:
    folder, failed = _FOLDERS[name], {}
    for file, content in folder.items():
        for where, changed in _replaced(content, file):
            held = _Held({**folder, file: changed})
            try:
                propose(held, takes_pickles=False, name="org/name")
                for kind in _KINDS:
                    read(held, kind)
            except (TypeError, AttributeError, KeyError, ValueError, IndexError) as error:
                failed[where] = repr(error)
    assert failed == {}
