"""Architectures that repositories publish as code beside their weights, and that are run here.

*pure.* Each is known by what its config.json says; the code itself is never run. `published_form`
gives its name, `require_form` refuses every key by which that code would compute something that is
not done here.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from sie_layouts.reader import Reader

__all__ = [
    "BY_CODE",
    "LOOKS_BOTH_WAYS",
    "ConfigJson",
    "Form",
    "ends_by_code",
    "looks_by_code",
    "published_form",
    "require_form",
    "tokenizes_by_code",
]

ConfigJson: TypeAlias = Mapping[str, Any]
"""A config.json: keys and values as some library wrote them."""
Form: TypeAlias = Literal["alibi_bert", "both_ways_llama", "flash_roberta", "gritlm", "nomic_bert"]

_ALIBI: Final[Mapping[str, tuple[Any, ...]]] = {
    "feed_forward_type": ("geglu", "reglu"),
    "add_cross_attention": (False,),
    "is_decoder": (False,),
}
_FLASH: Final[Mapping[str, tuple[Any, ...]]] = {
    "hidden_act": ("gelu",),
    "last_layer_subset": (None, False),
    "num_loras": (None, 0, 1),
    "position_embedding_type": ("absolute", "rotary"),
    "rope_scaling": (None,),
    "rotary_emb_interleaved": (None, False),
    "rotary_emb_scale_base": (None,),
    "truncate_dim": (None,),
}
_FLASH_CLASS: Final = "XLMRobertaFlashConfig"
_NOMIC: Final[Mapping[str, tuple[Any, ...]]] = {
    "activation_function": ("gelu", "swiglu"),
    "causal": (False,),
    "expert_choice_router": (None, False),
    "ffn_div": (None, 1),
    "moe_normalize_expert_weights": (None, False),
    "num_shared_experts": (None, 0),
    "parallel_block": (False,),
    "prenorm": (False,),
    "rotary_emb_fraction": (1.0,),
    "rotary_emb_interleaved": (None, False),
    "rotary_emb_scale_base": (None,),
    "rotary_scaling_factor": (None,),
    "scale_attn_by_inverse_layer_idx": (None, False),
    "scale_attn_weights": (True,),
    "use_rms_norm": (None, False),
}
_GATED: Final[Mapping[str, tuple[Any, ...]]] = {"hidden_act": ("silu",)}
_DONE: Final[Mapping[Form, Mapping[str, tuple[Any, ...]]]] = {
    "alibi_bert": _ALIBI,
    "both_ways_llama": _GATED,
    "flash_roberta": _FLASH,
    "gritlm": _GATED,
    "nomic_bert": _NOMIC,
}
"""Of each form, the values that are computed here; a key that is absent has the first of them."""
_DECODERS: Final = frozenset(
    {"gemma", "gemma2", "gemma3_text", "llama", "mistral", "mixtral", "phi3", "qwen2", "qwen3"}
)
BY_CODE: Final = (
    "names code of the model's own, and that code alone says whether a token looks ahead: "
    "transformers' own class of this type looks back"
)
"""The reason to refuse a model that `looks_by_code`."""
LOOKS_BOTH_WAYS: Final = frozenset(
    {"NovaSearch/stella_en_1.5B_v5@7817065102fd9e1b031fe874e910c01f40b2f001"}
)
"""Revisions of a hub whose config.json is silent, and whose code looks both ways by default.

Whoever read that very file says so, and Candle's own version of the model does so."""
_GRITLM: Final = "modeling_gritlm7b.MistralModel"
_QWEN_TOKENIZERS: Final = [
    "tokenization_qwen.Qwen2Tokenizer",
    "tokenization_qwen.Qwen2TokenizerFast",
]
_SIZES: Final = ("n_embd", "n_head", "n_inner", "n_layer")
_OWN_NAMES: Final = ("activation_function", "moe_every_n_layers", "n_embd", "num_experts")
"""Keys that transformers' own nomic_bert does not have."""
_BIASES: Final = ("qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias")


def published_form(config: ConfigJson) -> Form | None:
    """The form of a config.json; None of every other one, transformers' own among them."""
    code = config.get("auto_map")
    # Two of them have no model_type at all: the class of the config is what they say.
    if isinstance(code, dict) and str(code.get("AutoConfig")).endswith(f".{_FLASH_CLASS}"):
        return "flash_roberta"
    match config.get("model_type"):
        case "bert" if config.get("position_embedding_type") == "alibi":
            return "alibi_bert"
        case "llama_bidirec":
            return "both_ways_llama"
        case "mistral" if isinstance(code, dict) and code.get("AutoModel") == _GRITLM:
            return "gritlm"
        case "xlm-roberta" if "use_flash_attn" in config or "rotary_emb_base" in config:
            return "flash_roberta"
        case "nomic_bert" if any(key in config for key in _OWN_NAMES):
            return "nomic_bert"
    return None


def looks_by_code(config: ConfigJson, hub_name: str) -> bool:
    """True of a decoder whose own code alone says in which direction it looks.

    transformers has a class of that name, which looks back: gte-Qwen2 and its kin look both ways.
    `hub_name` is `<id>@<commit>` of a folder that came from a hub.
    """
    code = config.get("auto_map")
    named = isinstance(code, dict) and "AutoModel" in code
    known = config.get("is_causal") is not None or published_form(config) is not None
    known = known or hub_name in LOOKS_BOTH_WAYS
    return named and not known and str(config.get("model_type")) in _DECODERS


def tokenizes_by_code(config: ConfigJson, tokenizer: Mapping[str, Any]) -> bool:
    """True of a decoder whose tokenizer is code of the model's own.

    Its vector is often that of the last token, and that code alone says which one ends a text.
    """
    # transformers has a class of the same name which puts no token at the end: the vector would be
    # another token's.
    named = _tokenizer_classes(tokenizer) is not None
    return named and str(config.get("model_type")) in _DECODERS


def ends_by_code(config: ConfigJson, tokenizer: ConfigJson) -> bool:
    """True of a Qwen2 whose tokenizer's code only puts `eos_token` behind each text.

    gte-Qwen2 and stella_en_1.5B_v5: their class replaces what tokenizer.json puts around a text,
    where `add_eos_token` is true.
    """
    ends = tokenizer.get("add_eos_token") is True and bool(tokenizer.get("eos_token"))
    known = _tokenizer_classes(tokenizer) == _QWEN_TOKENIZERS
    return config.get("model_type") == "qwen2" and known and ends


def _tokenizer_classes(tokenizer: ConfigJson) -> Any:
    """The classes of its own that a tokenizer's config names; None of one that names none."""
    code = tokenizer.get("auto_map")
    # Older releases of transformers wrote the bare list, and it still reads one.
    return code.get("AutoTokenizer") if isinstance(code, dict) else code


def require_form(reader: Reader, name: str, config: ConfigJson, form: Form) -> None:
    """Refuse a config by the keys whose values that form has not here."""
    for key, allowed in _DONE[form].items():
        value = config.get(key, allowed[0])
        if value not in allowed:
            shown = ", ".join(repr(each) for each in allowed if each is not None)
            reader.refuse(
                f"{name}: {key}",
                f"is {value!r}, which is not done here{f'; {shown} is' if shown else ''}",
            )
    if form == "nomic_bert":
        _require_nomic(reader, name, config)


def _require_nomic(reader: Reader, name: str, config: ConfigJson) -> None:
    for key in _SIZES:
        reader.count(name, config, key)
    if len({bool(config.get(key)) for key in _BIASES}) > 1:
        told = ", ".join(f"{key} {bool(config.get(key))}" for key in _BIASES)
        reader.refuse(f"{name}: {_BIASES[0]}", f"differs: {told}; all or none is done here")
    if config.get("activation_function") == "swiglu" and config.get("qkv_proj_bias"):
        reader.refuse(f"{name}: qkv_proj_bias", "is true of a gated model, which is not done here")
    if reader.take(name, config, "moe_every_n_layers", int, 0) > 0:
        reader.count(name, config, "num_experts")
        reader.count(name, config, "moe_top_k")
        if not config.get("qkv_proj_bias"):
            reader.refuse(f"{name}: moe_every_n_layers", "is of a gated model, which is not done")
