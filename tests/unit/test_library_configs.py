"""The table of values that `sie add` has of config classes: the library's own.

What a class checks of a value's type is what the table says of it, for each field of each family.
"""

import json
from dataclasses import fields
from typing import Any

import pytest
import transformers as tf
from tests.support.library_configs import MADE, common, entry, fails, kinds
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from sie_layouts.architectures.configs import TABLE, fits, read_of, untaken

_TABLE = json.loads(TABLE.read_text())
_VALUES: tuple[Any, ...] = (
    None, True, 0, 1, 0.5, "text", "cls", "mean", [], [1], [0.5], ["text"], [[1]], {},
    {"a": 1}, {"full_attention": {"b": 1}}, {"a": "b"},
)  # fmt: skip
_SLID = ["sliding_attention"]


def _longrope(long_factor: Any) -> dict[str, Any]:
    lengths = {"original_max_position_embeddings": 4096, "factor": 2.0}
    return {"type": "longrope", **lengths, "long_factor": long_factor, "short_factor": [1.0]}


def test_each_family_is_in_the_table_and_what_is_of_every_one() -> None:
    assert list(_TABLE) == ["", *kinds()]
    assert json.loads(json.dumps(common())) == _TABLE[""]


@pytest.mark.parametrize("kind", ["deberta-v2", "distilbert", "qwen3"])
def test_the_table_is_what_the_program_makes_of_the_library(kind: str) -> None:
    assert json.loads(json.dumps(entry(kind))) == _TABLE[kind]


def test_a_type_is_taken_exactly_where_the_class_itself_takes_it() -> None:
    for kind in kinds():
        forms = {key: form for form, keys in _TABLE[kind][0].items() for key in keys}
        family: Any = CONFIG_MAPPING[kind]
        checks = family.__validators__
        for each in fields(family):
            for value in _VALUES:
                try:
                    # The first is of the type; what others hold the value to is a bound.
                    for check in checks.get(each.name, ())[:1]:
                        check(value)
                    is_taken = True
                except (TypeError, ValueError):
                    is_taken = False
                own = fits(value, forms.get(each.name, "any"))
                if value is None and is_taken and not own:
                    assert fails(kind, **{each.name: None}), (kind, each.name)
                else:
                    assert own == is_taken, (kind, each.name, each.type, value)


def test_the_config_that_a_class_writes_itself_is_taken() -> None:
    for kind in kinds():
        config = tf.AutoConfig.for_model(kind, **MADE.get(kind, {}))
        written = json.loads(config.to_json_string(use_diff=False))
        assert not list(untaken("config.json", kind, written)), kind


@pytest.mark.parametrize(
    ("kind", "key", "is_read"),
    [("deberta-v2", "head_dim", False), ("bert", "head_dim", False), ("qwen2", "head_dim", True)],
)
def test_a_size_counts_only_in_a_family_whose_tensors_change_with_it(kind, key, is_read) -> None:
    assert (key in read_of({"model_type": kind, key: 8})) == is_read


def test_a_size_by_its_other_name_is_the_class_s_own() -> None:
    assert read_of({"model_type": "t5", "head_dim": 8, "d_kv": 4})["d_kv"] == 8


@pytest.mark.parametrize(
    ("kind", "told", "said"),
    [
        ("bert", {"layer_norm_eps": 0}, "layer_norm_eps is 0, and a number with a point is wanted"),
        ("bert", {"hidden_act": "GELU"}, "the nearest is gelu"),
        ("bert", {"hidden_act": None}, "hidden_act is null, and a text is wanted"),
        ("bert", {"hidden_dropout_prob": 2}, "is 2, and a number from 0 to 1 is wanted"),
        ("bert", {"use_return_dict": True}, "takes no value for it; remove the key"),
        ("bert", {"num_attention_heads": 0}, "a number above 0 is wanted"),
        ("bert", {"num_attention_heads": 5}, "the width of 768 is no multiple of it"),
        ("bert", {"pad_token_id": 99, "vocab_size": 9}, "the number of a token of its vocabulary"),
        ("bert", {"dtype": "float31"}, "the nearest is float"),
        ("bert", {"layer_types": ["full_attention"]}, "a type for each of 12 layers is wanted"),
        ("bert", {"rope_scaling": {"type": "linear"}}, "linear asks for factor"),
        ("bert", {"_attn_implementation": "spda"}, "the nearest is sdpa"),
        ("bert", {"experts_implementation": "nope"}, "is no name that transformers knows there"),
        ("bert", {"architectures": "BertModel"}, "and a list of a text or null is wanted"),
        ("bert", {"architectures": {"a": 1}}, "and a list of a text or null is wanted"),
        ("bert", {"architectures": [None]}, "and a list of a text or null is wanted"),
        ("qwen3", {"experts_implementation": {"": "nope"}}, "is no name that transformers knows"),
        ("qwen3", {"_experts_implementation": ["eager"]}, "and a text or null is wanted"),
        ("qwen3", {"attn_implementation": {"": "spda"}}, "the nearest is sdpa"),
        ("qwen3", {"_attn_implementation": {"": 1}}, "and a text or null is wanted"),
        ("deberta-v2", {"num_hidden_layers": 0}, "a number above 0 is wanted"),
        ("gemma2", {"query_pre_attn_scalar": 0}, "a number other than 0 is wanted"),
        ("modernbert", {"sliding_window": [1]}, "a whole number is wanted"),
        ("modernbert", {"sliding_window": None}, "a whole number is wanted"),
        ("gemma2", {"sliding_window": "x"}, "a whole number is wanted"),
        ("qwen3", {"rope_parameters": {"rope_type": "linar"}}, "the nearest is linear"),
        ("qwen3", {"rope_parameters": {"rope_type": "linear", "factor": "x"}}, "wanted for factor"),
        ("qwen3", {"layer_types": ["conv"] * 32}, "'conv' is no name"),
        ("qwen3", {"layer_types": _SLID * 32}, "sliding_attention ask for use_sliding_window"),
        ("smollm3", {"layer_types": _SLID * 36}, "sliding_attention ask for sliding_window"),
        ("exaone4", {"sliding_window": None}, "sliding_attention ask for sliding_window"),
        ("gemma2", {"sliding_window": None}, "is null, and a whole number is wanted"),
        ("gemma3_text", {"sliding_window": None}, "is null, and a whole number is wanted"),
        ("bert", {"type_vocab_size": 0}, "is 0, and a number above 0 is wanted"),
        ("roberta", {"type_vocab_size": 0}, "is 0, and a number above 0 is wanted"),
        ("electra", {"type_vocab_size": 0}, "is 0, and a number above 0 is wanted"),
        ("bert", {"dtype": ["float32"]}, "or null or a text is wanted"),
        ("bert", {"torch_dtype": []}, "or null or a text is wanted"),
        ("modernbert", {"head_dim": 8}, "12 heads of a width of 768 have 64; remove the key"),
        (
            "mistral",
            {"sliding_window": None, "layer_types": _SLID * 32},
            "a whole number is wanted",
        ),
        ("gpt_neo", {"activation_function": "nope"}, "is no name that transformers knows"),
        ("phi3", {"rope_scaling": _longrope([1.0] * 47)}, "list of 48 numbers is wanted for long"),
        ("phi3", {"rope_scaling": _longrope(["x"])}, "a list of 48 numbers is wanted for long"),
        ("phi3", {"rope_scaling": _longrope(1.0)}, "a list of 48 numbers is wanted for long"),
    ],
)
def test_a_value_that_fails_is_told_with_its_key_and_the_nearest_right_one(kind, told, said):
    refusals = [str(each) for each in untaken("config.json", kind, told)]
    assert len(refusals) == 1, refusals
    assert said in refusals[0], refusals
    assert refusals[0].startswith(f"config.json: {next(iter(told))} ")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("bert", {"sliding_window": "x", "num_key_value_heads": 3, "unknown": [1]}),
        ("bert", {"dtype": "float32", "torch_dtype": "nope"}),
        ("bert", {"attn_implementation": "flash_attention_2", "pad_token_id": -1, "vocab_size": 9}),
        ("bert", {"_attn_implementation": "kernels-community/flash-attn"}),
        ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_theta": 10000}),
        ("bert", {"_attn_implementation": {"": "eager"}, "architectures": None}),
        ("bert", {"experts_implementation": {"part": "nope"}, "attn_implementation": {}}),
        ("nobody", {"hidden_act": "nope"}),
        ("qwen3", {"layer_types": _SLID * 32, "use_sliding_window": True}),
        ("qwen3", {"sliding_window": None}),
        ("smollm3", {"layer_types": _SLID * 36, "sliding_window": 0}),
        ("exaone4", {"layer_types": ["full_attention"] * 32, "sliding_window": None}),
        ("mistral", {"sliding_window": None}),
        ("mistral", {"sliding_window": 0}),
        ("deberta-v2", {"type_vocab_size": 0}),
        ("bert", {"dtype": {"": "float16"}}),
        ("modernbert", {"head_dim": 64}),
        ("modernbert", {"head_dim": None}),
        ("phi3", {"rope_scaling": _longrope([1.0] * 48)}),
        ("qwen3", {"rope_scaling": _longrope([1])}),
        ("mistral", {"layer_types": _SLID * 32, "head_dim": 128}),
        ("phi3", {"rope_scaling": {**_longrope([1.0] * 24), "partial_rotary_factor": 0.5}}),
    ],
)
def test_a_value_that_the_library_passes_over_is_taken(kind, told) -> None:
    assert not list(untaken("config.json", kind, told))
