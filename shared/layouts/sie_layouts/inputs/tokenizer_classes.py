"""The side on which a tokenizer fills a text up, as its class has it where no file says a side.

*pure.* transformers does not always take the class that a folder names. Where it may take another
one, nothing is said here, and a worker asks the tokenizer itself. A test holds both lists to
transformers.
"""

from typing import Final

from sie_layouts.reader import Reader

__all__ = ["CLASS_PASSED_OVER", "FILL_AT_THE_LEFT", "fills_at_the_left"]

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
