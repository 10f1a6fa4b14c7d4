"""The tensors of transformers' families that nobody declared by hand, as `sie add` reads them.

A family is made without memory, once for each value of its switches. What is asked for whatever
they are is written so, and the rest behind its switches: a table that asks for less finds less, and
one that asks for more would refuse what loads.
`python -m tests.support.library_tensors` writes the file anew.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
import transformers as tf
from transformers.conversion_mapping import get_checkpoint_conversion_mapping
from transformers.models.auto import modeling_auto as auto

from sie_layouts.architectures.known_types import KNOWN_TYPES
from sie_layouts.architectures.tensors.declared import declared_types
from sie_layouts.architectures.tensors.library import TABLE, Entry

__all__ = ["HEADS", "asked", "config_of", "entry", "kinds"]

HEADS: Mapping[str, Any] = {
    "none": tf.AutoModel,
    "classes": tf.AutoModelForSequenceClassification,
    "tokens": tf.AutoModelForTokenClassification,
    "masked_language": tf.AutoModelForMaskedLM,
    "decoder": tf.AutoModelForCausalLM,
}
_MAPPINGS = (
    auto.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
    auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
    auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)
_LAYERS = 4
"""As many as the longest pattern of layers that a family without switches for it repeats."""
_IN_LIST = re.compile(r"(.*?)\.(\d+)\.")
_OTHERS: Mapping[str, tuple[Any, ...]] = {
    "attention_type": ("original_full",), "embedding_size": (8,), "num_hash_functions": (1,),
    "num_key_value_heads": (1,),
    "position_embedding_type": ("relative_key",), "type_vocab_size": (0, 1),
}  # fmt: skip
"""Values of keys that are no switch, and on which tensors depend."""


def kinds() -> list[str]:
    """The types of texts that no one declared, and whose names a checkpoint has as they are."""
    of_texts = set().union(*_MAPPINGS) & KNOWN_TYPES - declared_types()
    return [kind for kind in sorted(of_texts) if not _renamed(kind)]


def _renamed(kind: str) -> bool:
    """True of one that the library reads by other names than its models have."""
    models = {each[kind] for each in (*_MAPPINGS, auto.MODEL_MAPPING_NAMES) if kind in each}
    return any(get_checkpoint_conversion_mapping(str(name)) for name in (kind, *models))


def config_of(kind: str, **more: Any) -> Any:
    """A config of few layers, with the sizes that the library has."""
    usual = tf.AutoConfig.for_model(kind)
    return tf.AutoConfig.for_model(kind, **{_count(usual): _LAYERS, **more})


def asked(config: Any, head: str) -> set[str] | None:
    """The names of a model's own tensors, without what a head puts before them; None without one.

    Of buffers nothing is told, some are no weights. Of several names of one tensor none is told:
    any of them may be in a file.
    """
    try:
        with torch.device("meta"):
            model = HEADS[head].from_config(config)
    except Exception:  # whatever a library says to values that do not go together
        return None
    named = list(model.named_parameters(remove_duplicate=False))
    uses = Counter(id(each) for _, each in named)
    prefix = f"{model.base_model_prefix}."
    return {name.removeprefix(prefix) for name, each in named if uses[id(each)] == 1}


def entry(kind: str) -> Entry | None:
    """The family by its names alone; None of one whose names follow from more than a number."""
    try:
        return _entry(kind)
    except Exception:  # a config that the library itself cannot make without a value
        return None


def _count(config: Any) -> str:
    return str(type(config).attribute_map.get("num_hidden_layers", "num_hidden_layers"))


def _other_configs(kind: str) -> Iterator[tuple[str, Any]]:
    """A config for each switch, and each other value of a key, behind the key."""
    usual = config_of(kind)
    plain = tf.PreTrainedConfig().to_dict()
    for key, value in usual.to_dict().items():
        others = (not value,) if isinstance(value, bool) else _OTHERS.get(key, ())
        if key == "layer_types" and value:
            # As many layers as the library has by itself show each type of them.
            types = sorted(set(tf.AutoConfig.for_model(kind).layer_types))
            others = tuple([each] * _LAYERS for each in types)
        for other in others if key not in plain or key == "tie_word_embeddings" else ():
            try:
                yield key, config_of(kind, **{key: other})
            except Exception:  # as above
                continue


def _entry(kind: str) -> Entry | None:
    usual = config_of(kind)
    told = usual.to_dict()
    # Several models in one, experts and mixed layers: their names follow from more than a number.
    if usual.sub_configs or any(re.search("expert|mamba|linear_|adapter", key) for key in told):
        return None
    count = _count(usual)
    # Heads of an encoder and decoder may stand on the decoder alone.
    if told.get(count) != _LAYERS or usual.is_encoder_decoder:
        return None
    needed = {head: found for head in HEADS if (found := _conditions(kind, head)) is not None}
    plain = {name: each for name, each in needed["none"].items() if not name.startswith("pooler.")}
    fewer = asked(config_of(kind, **{count: _LAYERS - 1}), "none")
    assert fewer is not None
    # Lists that another key counts are left out, as layers of a decoder behind the encoder.
    lists = sorted({place[1] for name in plain if (place := _IN_LIST.match(name))})
    counted = [name for name in lists if _grows(name, plain, fewer)]
    layers = counted[0] if len(counted) == 1 else ""
    once = [_line(plain, name) for name in sorted(plain) if not _IN_LIST.match(name)]
    # A layer that differs from the others leaves what all of them have.
    each = [
        _line(plain, name).replace(f"{layers}.0." if layers else ".0.", "" if layers else ".#.", 1)
        for name in sorted(plain)
        if (place := _IN_LIST.match(name)) and place[1] in counted and place[2] == "0"
        and all(name.replace(".0.", f".{at}.", 1) in plain for at in range(_LAYERS))
    ]  # fmt: skip
    heads = {
        head: [_line(found, name) for name in sorted(found.keys() - plain.keys())]
        for head, found in needed.items()
        if head != "none"
    }
    model: Any = auto.MODEL_MAPPING[type(usual)]
    return Entry(model.base_model_prefix, count, layers, once, each, heads)


def _conditions(kind: str, head: str) -> dict[str, set[str]] | None:
    """Each name that is asked for, with the switches that have to be as they usually are for it.

    One that goes with another key's value is left out.
    """
    usual = config_of(kind)
    named = asked(usual, head)
    if named is None:
        return None
    found: dict[str, set[str]] = {name: set() for name in named}
    for key, config in _other_configs(kind):
        others = asked(config, head)
        value = getattr(usual, key)
        for name in found.keys() - others if others is not None else ():
            if isinstance(value, bool):
                found[name].add(key if value else f"!{key}")
            else:
                del found[name]
    return found


def _line(conditions: Mapping[str, set[str]], name: str) -> str:
    asked_when = "".join(f"?{each}" for each in sorted(conditions[name]))
    return f"{asked_when} {name}".strip()


def _grows(name: str, names: Collection[str], fewer: Collection[str]) -> bool:
    """True of a list of layers that the config's count is the length of."""
    last = f"{name}.{_LAYERS - 1}."
    inside = [any(each.startswith(last) for each in of) for of in (names, fewer)]
    return inside == [True, False]


if __name__ == "__main__":
    lines = [f"{json.dumps(kind)}: {json.dumps(entry(kind))}" for kind in kinds()]
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
