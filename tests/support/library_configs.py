"""The values that transformers' config classes take, as `sie add` reads them.

Each family's class says the types of its fields. What a value does is asked of the library: a
model is made without memory, and reads a text where it can. Whatever fails with each switch of the
family is written down, and nothing else: a table that refuses more would refuse what loads.
`python -m tests.support.library_configs` writes the file anew.
"""

import json
import logging
import types
import typing
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from typing import Any

import torch
import transformers as tf
from tests.support.library_tensors import kinds as named_kinds
from transformers.activations import ACT2CLS
from transformers.configuration_utils import _LEGACY_LAYER_TYPE_REMAP, ALLOWED_ATTN_LAYER_TYPES
from transformers.initialization import no_init_weights
from transformers.integrations.finegrained_fp8 import ALL_FP8_EXPERTS_FUNCTIONS
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from sie_layouts.architectures.configs import TABLE, Entry, fits
from sie_layouts.architectures.tensors.declared import declared_types
from sie_server.packed.packed_attention import PACKED

__all__ = ["MADE", "common", "entry", "fails", "kinds", "strays"]

_LAYERS = 2
"""So that one layer reads what another gave."""
_JUDGED = frozenset({
    "chunk_size_feed_forward", "d_ff", "d_inner", "d_model", "dim", "embedding_size", "ffn_dim",
    "hidden_dim", "hidden_size", "id2label", "initializer_range", "intermediate_size", "is_causal",
    "max_position_embeddings", "n_embd", "n_inner", "n_positions", "num_labels",
    "type_vocab_size", "use_cache", "vocab_size",
})  # fmt: skip
"""Keys with a rule of their own, or which a tensor's shape judges."""
MADE: Mapping[str, Mapping[str, Any]] = {
    "cohere_compass_text": {
        "rope_parameters": {
            key: {"rope_type": "default", "rope_theta": 1e4}
            for key in ("full_attention", "sliding_attention")
        }
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "num_layers": _LAYERS},
    "hunyuan_v1_dense": {"head_dim": 128},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8},
    "xmod": {"default_language": "en_XX"},
}
"""Values beside those of the class, by which alone no text is read."""
_SIZES = {"embedding_size": 8, "head_dim": 8, "num_key_value_heads": 1}
"""Sizes that only some families have, each with a value that is nobody's usual one."""
_HEADS = ("num_attention_heads", "num_key_value_heads")
_SOME = ("gelu_new", "relu2", "silu")
"""Names that stand for all of them: a family that takes these looks a name up among all."""
_ATTENTIONS = ("flash_attention_2", "flash_attention_3", "flash_attention_4")
"""Kernels of packages: a config names them also where one is missing."""
_BEYOND = 10**9
"""No vocabulary has as many words."""
_WORDS = 99
"""So that a model with memory takes little of it."""
_UNEVEN = 7
"""No width of a published model is a multiple of it."""
_OLDER_ROPES = ("su",)
"""Types that some families read as another one; the rest passes over what they ask for."""
_SLIDES = "sliding_attention"
_WINDOWS = {"use_sliding_window": True, "sliding_window": 3}
_PLACES = ("meta", "meta continued", "meta kept", "cpu")
_BOUNDS: Mapping[tuple[bool, ...], str] = {
    (False, False, True): "above", (False, True, True): "none below", (True, False, True): "not",
    (False, True, False): "share", (False, False, False): "",
}  # fmt: skip
"""By whether a value below 0, 0 itself, and one above 1 are taken."""
_PLAIN = {type(None): "null", bool: "bool", int: "int", float: "float", str: "str", Any: "any"}


def kinds() -> list[str]:
    """The types of texts whose tensors are known, by hand or from the library."""
    return sorted({*named_kinds(), *declared_types()} & set(CONFIG_MAPPING))


def _form(kind: Any) -> str:
    """A type as the table has it; "" of one that no JSON gives."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is None:
        return "null"
    if origin in (typing.Union, types.UnionType):
        return "|".join(
            dict.fromkeys(each for one in inner for each in _form(one).split("|") if each)
        )
    if origin is typing.Literal:
        return "|".join(f"={each}" for each in inner if isinstance(each, str)) or "any"
    if kind is list or origin is list:
        of = _form(inner[0]).replace("|", "/") if inner else ""
        return f"list:{of}" if of else "list"
    if kind is dict or origin is dict:
        of = _form(inner[1]).replace("|", "/") if inner and ":" not in _form(inner[1]) else ""
        return f"dict:{of}" if of and of != "any" else "dict"
    # No JSON gives a tuple, nor an object of the library's.
    return _PLAIN.get(kind, "" if isinstance(kind, type) or origin is tuple else "any")


@cache
def _class(kind: str) -> Any:
    return CONFIG_MAPPING[kind]


def _forms(kind: str) -> dict[str, str]:
    found = {each.name: _form(each.type) or "any" for each in fields(_class(kind))}
    # `setattr` by another name ends at the same field.
    mapped = {key: found[to] for key, to in _class(kind).attribute_map.items() if to in found}
    return {**mapped, **found, **_settable(kind), **dict.fromkeys(_read_only(kind), "")}


def _settable(kind: str) -> dict[str, str]:
    """The names of a class's own by which a number is set, and nothing else."""
    names = {key for key, each in vars(_class(kind)).items() if isinstance(each, property)}
    return {
        key: "int" if fails(kind, **{key: True}) else "bool|int"
        for key in sorted(names)
        if not key.startswith("_") and getattr(_class(kind), key).fset is not None
        if not fails(kind, **{key: 2})
        and all(fails(kind, **{key: other}) for other in (None, "2", [2], 2.5))
    }


def _by_form(forms: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, form in sorted(forms.items()):
        if form != "any":
            found.setdefault(form, []).append(key)
    return found


def _read_only(kind: str) -> Iterator[str]:
    for key in dir(_class(kind)):
        told = getattr(_class(kind), key, None)
        if isinstance(told, property) and told.fset is None and not key.startswith("_"):
            try:
                tf.AutoConfig.for_model(kind, **{key: True})
            except AttributeError:
                yield key
            except Exception:  # of a value, and not of the key
                continue


def fails(kind: str, **changed: Any) -> str:
    """The words of the library for a config; "" where it reads a text with it."""
    return _said(kind, json.dumps(changed))


@cache
def _said(kind: str, written: str) -> str:
    place = _place(kind)
    return _tried(kind, place or "meta", json.loads(written), reads=bool(place))


@cache
def _place(kind: str) -> str:
    """The device on which a family reads a text: some look at values, which `meta` has none of.

    A decoder looks for texts in one row only where it continues none.
    """
    return next((each for each in _PLACES if not _tried(kind, each, {}, reads=True)), "")


def _tried(kind: str, place: str, changed: Mapping[str, Any], *, reads: bool) -> str:
    words = {"vocab_size": _WORDS, "pad_token_id": 0} if place == "cpu" else {}
    device, _, way = place.partition(" ")
    past = {"past_key_values": tf.DynamicCache()} if way == "continued" else {}
    try:
        count = _class(kind).attribute_map.get("num_hidden_layers", "num_hidden_layers")
        made = {count: _LAYERS, **MADE.get(kind, {}), **words}
        config = tf.AutoConfig.for_model(kind, **{**made, **changed})
        # No key or value is kept, as sentence-transformers has it: nothing is refused for a cache.
        if hasattr(config, "use_cache") and way != "kept":
            config.use_cache = False
        with torch.device(device), no_init_weights(), torch.no_grad():
            model = tf.AutoModel.from_config(config).eval()
            one = model.get_encoder() if config.is_encoder_decoder else model
            # Texts of several tokens, so that what is beside one counts.
            ids = torch.ones(2, 5, dtype=torch.long)
            if reads:
                one(input_ids=ids, **past)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _always(kind: str, **changed: Any) -> bool:
    """True of values that fail with each switch of the family as well."""
    if not fails(kind, **changed):
        return False
    usual = tf.AutoConfig.for_model(kind).to_dict()
    switches = [
        key for key, is_on in usual.items() if isinstance(is_on, bool) and key not in _JUDGED
    ]
    types_of = [("layer_types", ["full_attention"] * _LAYERS)] if "layer_types" in usual else []
    for key, other in (*((each, not usual[each]) for each in switches), *types_of):
        both = {**changed, key: other}
        if key not in changed and not fails(kind, **{key: other}) and not fails(kind, **both):
            return False
    return True


def _bound(kind: str, key: str, form: str) -> str:
    if key.endswith("_token_id"):
        return "words" if _always(kind, **{key: _BEYOND}) else ""
    for values in ((-1.0, 0.0, 2.0), (-1, 0, 2)):
        if all(fits(each, form) for each in values):
            found = tuple(not _always(kind, **{key: each}) for each in values[:2])
            above = not _always(kind, **{key: values[2]}) if isinstance(values[0], float) else True
            return _BOUNDS.get((*found, above), "")
    return ""


def _takes_null_alone(kind: str, key: str, form: str) -> bool:
    """True of a field whose class takes null, and whose model fails with it."""
    return "null" in form.split("|") and _always(kind, **{key: None})


def _without_null(form: str) -> str:
    return "|".join(each for each in form.split("|") if each != "null")


def _bound_of_types(kind: str, usual: Mapping[str, Any]) -> str:
    """The bound of token types: a table of none has no row to read, on a device with values."""
    if "type_vocab_size" not in usual or _tried(kind, "cpu", {}, reads=True):
        return ""
    below, none = (
        not _tried(kind, "cpu", {"type_vocab_size": each}, reads=True) for each in (-1, 0)
    )
    return _BOUNDS[below, none, True] if not below else ""


def _slides_by(kind: str, usual: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that layers of sliding attention ask for, each with the class's own value."""
    own = {each.name: each.default for each in fields(_class(kind))}
    on = {key: value for key, value in _WINDOWS.items() if key in own}
    slid = {"layer_types": [_SLIDES] * _LAYERS}
    if "sliding_window" not in own or fails(kind, **slid, **on):
        return {}
    if _always(kind, sliding_window=None):
        return {}  # whatever the layers are
    off = {"use_sliding_window": False, "sliding_window": None}
    found = {key: own[key] for key in on if fails(kind, **{**slid, **on, key: off[key]})}
    if found and usual.get("layer_types") and fails(kind, sliding_window=None):
        found["layer_types"] = [_SLIDES]
    return found


def _worked_out(kind: str, usual: Mapping[str, Any]) -> list[str]:
    """The sizes that a family works out by itself, and fails with where a config says another."""
    of_others = [key for key in strays(kind) if key not in usual]
    return [
        key
        for key in of_others
        if fails(kind, **{key: _SIZES[key]}) and not fails(kind, **{key: None})
    ]


def _words(kind: str, key: str) -> list[str]:
    """The names that a key takes, where it does not take any: `*` is each of the library's own."""
    if not _always(kind, **{key: "nope"}):
        return []
    forms = ("*", "gated-*")
    return [
        each
        for each in forms
        if not any(fails(kind, **{key: each.replace("*", name)}) for name in _SOME)
    ]


def _ropes(kind: str) -> dict[str, list[str]]:
    """The keys that each type of rotary positions asks for, beside those that the class adds."""
    found: dict[str, list[str]] = {}
    for name in ("default", *ROPE_INIT_FUNCTIONS, *_OLDER_ROPES):
        told, lacks = {"rope_type": name}, list[str]()
        try:
            tf.AutoConfig.for_model(kind, rope_scaling=told)
        except KeyError as error:
            lacks = sorted(
                error.args[0].rpartition(": ")[2].strip("{}").replace("'", "").split(", ")
            )
        except Exception:  # a type that this family does not take
            continue
        if lacks or name not in _OLDER_ROPES:
            found[name] = lacks
    return found


def strays(kind: str) -> list[str]:
    """The sizes of other families with which no tensor of this one changes."""
    usual = _shapes(kind)
    return [
        key for key, value in _SIZES.items() if usual and _shapes(kind, **{key: value}) == usual
    ]


def _shapes(kind: str, **changed: Any) -> dict[str, Any]:
    """The shapes of a family's tensors; none where no model is made."""
    count = _class(kind).attribute_map.get("num_hidden_layers", "num_hidden_layers")
    try:
        made = {count: _LAYERS, **MADE.get(kind, {})}
        config = tf.AutoConfig.for_model(kind, **{**made, **changed})
        with torch.device("meta"), no_init_weights():
            model = tf.AutoModel.from_config(config)
    except Exception:
        return {}
    return {name: tuple(each.shape) for name, each in model.state_dict().items()}


def entry(kind: str) -> Entry:
    """All that the table says of a family."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _entry(kind)


def _entry(kind: str) -> Entry:
    forms = _forms(kind)
    usual = tf.AutoConfig.for_model(kind).to_dict()
    plain = {each.name for each in fields(tf.PreTrainedConfig)}
    own = {key: form for key, form in forms.items() if key in usual and key not in plain | _JUDGED}
    if fails(kind):
        own = {}  # of a model that fails by itself no value tells anything
    given = {key: form for key, form in own.items() if _takes_null_alone(kind, key, form)}
    forms |= {key: _without_null(form) for key, form in given.items()}
    bounds = {key: found for key, form in own.items() if (found := _bound(kind, key, form))}
    if types := _bound_of_types(kind, usual):
        bounds["type_vocab_size"] = types
    slides = _slides_by(kind, usual) if own else {}
    words = {
        key: names
        for key, form in own.items()
        if isinstance(usual[key], str) and fits("nope", form) and (names := _words(kind, key))
    }
    if own and usual.get("layer_types"):
        named = (*ALLOWED_ATTN_LAYER_TYPES, *_LEGACY_LAYER_TYPE_REMAP)
        every = {each for each in named if not fails(kind, layer_types=[each] * _LAYERS)}
        every |= {_SLIDES} if slides else set()
        words["layer_types"] = sorted(every | set(usual["layer_types"]))
    heads = {to: _class(kind).attribute_map.get(to, to) for to in (*_HEADS, "hidden_size")}
    told = [heads[each] for each in _HEADS if heads[each] in usual]
    divided = ""
    if own and told and usual.get(heads["hidden_size"]):
        uneven, even = (dict.fromkeys(told, count) for count in (_UNEVEN, 2))
        if _always(kind, **uneven) and not fails(kind, **even):
            divided = told[0]
    aliases = {to: key for key, to in _class(kind).attribute_map.items()}
    numbers = {
        key: usual[own]
        for key in ("hidden_size", "num_attention_heads", "num_hidden_layers")
        if isinstance(usual.get(own := _class(kind).attribute_map.get(key, key)), int)
    }
    return Entry(
        _by_form(forms), bounds, words, divided, _ropes(kind), aliases, numbers, strays(kind),
        slides, _worked_out(kind, usual) if own else [],
    )  # fmt: skip


def common() -> Entry:
    """All that is of every family."""
    dtypes = sorted(key for key in dir(torch) if isinstance(getattr(torch, key), torch.dtype))
    # Where model execution was imported, its own kernel is among them.
    own = {*ALL_ATTENTION_FUNCTIONS.valid_keys()} - {PACKED}
    kernels = ["eager", *_ATTENTIONS, *sorted(own)]
    experts = ["eager", *sorted({*ALL_EXPERTS_FUNCTIONS.keys(), *ALL_FP8_EXPERTS_FUNCTIONS.keys()})]
    legacy = sorted({*ALLOWED_ATTN_LAYER_TYPES, *_LEGACY_LAYER_TYPE_REMAP})
    words = {
        "*": sorted(ACT2CLS), "dtype": dtypes, "torch_dtype": dtypes,
        "attn_implementation": kernels, "_attn_implementation": kernels,
        "experts_implementation": experts, "_experts_implementation": experts,
        "layer_types": legacy,
    }  # fmt: skip
    # No class looks at these before it reads them.
    forms = {
        "list:str|null": ["architectures"],
        "str|null": sorted(key for key in words if key.endswith("_implementation")),
        _type_form(): ["dtype", "torch_dtype"],
    }
    return Entry(forms, {}, words, "", {}, {}, {}, [], {}, [])


def _type_form() -> str:
    """The forms of a type of numbers with which a config is read; its words are asked elsewhere."""
    tried = {"bool": True, "dict": {}, "float": 0.5, "int": 1, "list": [], "null": None}
    return "|".join([*(form for form, value in tried.items() if _reads_type(value)), "str"])


def _reads_type(value: object) -> bool:
    try:
        tf.BertConfig.from_dict({"dtype": value}).to_json_string()
    except Exception:
        return False
    return True


if __name__ == "__main__":
    logging.disable()
    torch.set_num_threads(1)
    every = {"": common(), **{kind: entry(kind) for kind in kinds()}}
    lines = [f"{json.dumps(kind)}: {json.dumps(each)}" for kind, each in every.items()]
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
