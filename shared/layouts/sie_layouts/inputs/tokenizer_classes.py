"""The side that a tokenizer fills up, and its token types, as its class has them by itself.

*pure.* transformers does not always take the class that a folder names. Where it may take another
one, nothing is said here, and a worker asks the tokenizer itself. Tests hold the lists to
transformers.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sie_layouts.architectures.tensors.families import FAMILIES
from sie_layouts.facts import Refusal
from sie_layouts.reader import Reader, joined

__all__ = [
    "CLASS_PASSED_OVER",
    "FILL_AT_THE_LEFT",
    "GIVE_TYPES",
    "TYPES_UNSTATED",
    "fills_at_the_left",
    "require_types_known",
    "require_types_stated",
    "types_beyond",
    "types_of_single_texts",
    "types_unstated",
]

FILL_AT_THE_LEFT: Final = frozenset(
    {
        "CodeLlamaTokenizer", "CohereTokenizer", "CpmAntTokenizer", "GemmaTokenizer",
        "LlamaTokenizer", "Siglip2Tokenizer", "XLNetTokenizer",
    }
)  # fmt: skip
"""The classes of transformers that fill a text up at its beginning where no file says a side."""
CLASS_PASSED_OVER: Final = frozenset(
    {
        "EvollaModel", "arctic", "aria", "beam", "bigbird_pegasus", "camembertv2-base", "canary",
        "chatlm", "cohere_asr", "ernie4_5", "ernie4_5_moe", "flex_olmo", "fuyu", "glm", "glm4",
        "glm4_moe", "glm4_moe_lite", "glm4v", "glm4v_moe", "glm_image", "glmasr", "got_ocr2",
        "gpt_bigcode", "gradium_phonon_tts", "granite", "granitemoe", "granitemoehybrid",
        "granitemoeshared", "h2ovl_chat", "hyperclovax", "hyperclovax_vision_v2", "hyperclovax_vlm",
        "internlm2", "internlm3", "iquestcoder", "jamba", "kimi_k25", "kimi_linear", "kosmos-2",
        "llava", "llava_next", "mimo_v2_flash", "minicpm3", "minicpm_ocr", "minicpmv",
        "minicpmv4_6", "minicpmv4_7", "minimax_m2", "ministral", "ministral3", "mistral",
        "mistral3", "mistral_large4", "mixtral", "modernbert", "modernbert-decoder", "molmo",
        "molmo2", "nemo_speechlm", "nemotron", "nvfp4", "nystromformer", "olmo2", "olmo3",
        "olmo_hybrid", "opencua", "openvla", "paddleocr_vl", "pegasus_x", "persimmon", "phi3",
        "phi3_v", "phimoe", "pix2struct", "pixtral", "pocket_tts", "qwen2", "qwen3_5",
        "qwen3_5_moe", "qwen3_5_moe_text", "qwen4_exp", "siglip2", "smolvlm", "stablelm",
        "step3_vl", "umt5", "vipllava", "voxtral", "voxtral_realtime", "xlm-roberta-xl",
    }
)  # fmt: skip
"""Types of which transformers may take another class than `tokenizer_config.json` names."""
GIVE_TYPES: Final = frozenset(
    {
        "BertTokenizer", "CanineTokenizer", "DPRQuestionEncoderTokenizer", "DebertaTokenizer",
        "DebertaV2Tokenizer", "FNetTokenizer", "LayoutLMv2Tokenizer", "LxmertTokenizer",
        "MarkupLMTokenizer", "MobileBertTokenizer", "TapasTokenizer",
    }
)  # fmt: skip
"""The classes of transformers that give a model token types where no file says its inputs."""
TYPES_UNSTATED: Final = frozenset(
    {
        "codegen", "ctrl", "flaubert", "funnel", "gpt2", "gpt_bigcode", "gpt_neo", "gptj",
        "hrm_text", "imagegpt", "openai-gpt", "tapas", "xlm", "xlnet",
    }
)  # fmt: skip
"""Types of transformers that take token types, and whose config does not say how many there are."""
_OF_ANY_FILE: Final = frozenset({"PreTrainedTokenizer", "TokenizersBackend"})
"""Classes that take the types that tokenizer.json gives. The others give types of their own."""
_CURE: Final = "name model_input_names without token_type_ids in tokenizer_config.json"
_TABLE: Final = "token_type_embeddings"
_HOLDS_BYTES: Final = b'"ByteLevel"'
"""A file that holds it is loaded by no class of Llama's."""


def fills_at_the_left(reader: Reader) -> bool:
    """True if the class that a model's own folder names is taken, and fills at the left."""
    name = str(reader.table("tokenizer_config.json").get("tokenizer_class")).removesuffix("Fast")
    config = reader.table("config.json")
    kinds = {str(config.get(key)) for key in ("model_type", "model_name")}
    if name not in FILL_AT_THE_LEFT or kinds & CLASS_PASSED_OVER:
        return False
    # A folder of a Llama 3 often names Llama's first class, which would read its file wrongly.
    return name != "LlamaTokenizer" or _HOLDS_BYTES not in (reader.content("tokenizer.json") or b"")


def types_unstated(folder: str = "") -> Refusal:
    """The refusal of token types that a model would take for something else."""
    return Refusal(
        f"{joined(folder, 'config.json')}: type_vocab_size",
        "is not there, and the tokenizer gives the model token types, which it would take for "
        "something else",
        _CURE,
    )


def types_beyond(count: int, highest: int, folder: str = "") -> Refusal:
    """The refusal of pairs whose types are more than a model has."""
    return Refusal(
        f"{joined(folder, 'config.json')}: type_vocab_size",
        f"is {count}, and the tokenizer gives tokens of a pair the type {highest}, of which the "
        "model has none",
        _CURE,
    )


def types_of_single_texts(folder: str = "") -> Refusal:
    """The refusal of types of a text that is none of a pair."""
    return Refusal(
        f"{joined(folder, 'tokenizer.json')}: post_processor",
        "gives tokens of single texts a type other than 0, which is not done here",
        _CURE,
    )


def require_types_stated(reader: Reader, folder: str) -> None:
    """Refuse a model whose tokenizer gives it token types that its config.json does not count."""
    config = reader.table(joined(folder, "config.json"))
    kind = str(config.get("model_type"))
    if kind not in TYPES_UNSTATED or "type_vocab_size" in config:
        return
    if _gives_types(reader.table(joined(folder, "tokenizer_config.json")), kind):
        reader.add(types_unstated(folder))


def require_types_known(reader: Reader, folder: str = "", *, pairs: bool = False) -> None:
    """Refuse types that a tokenizer gives and that a model has not, or that are not given here.

    Of families that are not known a worker says so, when it loads the model.
    """
    config = reader.table(joined(folder, "config.json"))
    kind = str(config.get("model_type"))
    family = FAMILIES.get(kind)
    count = config.get("type_vocab_size", family.usual.get("type_vocab_size") if family else None)
    told = reader.table(joined(folder, "tokenizer_config.json"))
    if family is None or _TABLE not in family.once or not isinstance(count, int) or not count:
        return
    if not _gives_types(told, kind):
        return
    highest = _highest(reader, folder, told, pairs=pairs)
    if pairs and highest >= count:
        reader.add(types_beyond(count, highest, folder))
    elif highest and not pairs:
        reader.add(types_of_single_texts(folder))


def _gives_types(told: Mapping[str, Any], kind: str) -> bool:
    named = told.get("model_input_names")
    if isinstance(named, list):
        return "token_type_ids" in named
    return _class(told) in GIVE_TYPES and kind not in CLASS_PASSED_OVER


def _class(told: Mapping[str, Any]) -> str:
    return str(told.get("tokenizer_class")).removesuffix("Fast")


def _highest(reader: Reader, folder: str, told: Mapping[str, Any], *, pairs: bool) -> int:
    """The highest type of a text, or of a pair; 0 where it is not known."""
    if _class(told) not in _OF_ANY_FILE:
        return int(pairs and _class(told) in GIVE_TYPES)
    processor = reader.table(joined(folder, "tokenizer.json")).get("post_processor")
    parts = processor.get("processors", [processor]) if isinstance(processor, dict) else []
    highest = int(pairs)
    for part in parts if isinstance(parts, list) else []:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "TemplateProcessing":
            highest = max(_types_in(part.get("pair" if pairs else "single")), default=0)
        elif kind == "RobertaProcessing":
            highest = 0
    return highest


def _types_in(template: object) -> Iterator[int]:
    """The types of a template's pieces: each piece is an object of one key."""
    for piece in template if isinstance(template, list) else []:
        for each in piece.values() if isinstance(piece, dict) else []:
            if isinstance(each, dict) and isinstance(each.get("type_id"), int):
                yield each["type_id"]
