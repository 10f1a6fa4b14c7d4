"""Architectures whose config.json means what the library's own code of that name does not do.

*pure.* transformers reads a config by the names that it knows and passes over the rest. Here stand
the keys by which a published model is another one than that code would make of it. Such a model is
refused with its key, before a weight is read.
"""

from collections.abc import Mapping
from typing import Any, Final

from sie_layouts.architectures.published import (
    ConfigJson,
    Form,
    ends_by_code,
    published_form,
    require_form,
    tokenizes_by_code,
)
from sie_layouts.architectures.tasks import holds_tasks
from sie_layouts.architectures.unrunnable import unrunnable
from sie_layouts.reader import Reader, joined

__all__ = ["require_own_architecture"]

_ONLY_ENCODED: Final = frozenset({"t5", "mt5", "umt5"})
"""Encoder-decoders of which the encoder alone is run."""
_ABSOLUTE: Final = frozenset({"bert", "camembert", "electra", "roberta", "xlm-roberta"})
"""Families of BERT's code: a table of positions, and no other way to place a token."""
_OTHER_INPUTS: Final = ("vision_config", "audio_config", "vision_config_dict")


def require_own_architecture(
    reader: Reader, folder: str, *, takes_tasks: bool = False, ends_texts: bool = False
) -> None:
    """Refuse a config.json that the library's own architecture would take for another model.

    `takes_tasks` says that the caller reads the tasks of a model that holds some. `ends_texts` says
    that it puts a token behind each text where only the tokenizer's code does.
    """
    name = joined(folder, "config.json")
    config = reader.table(name)
    kind = str(config.get("model_type"))
    _require_plain(reader, name, config)
    for refusal in unrunnable(name, config):
        reader.add(refusal)
    adapter = joined(folder, "adapter_config.json")
    # transformers puts it on, or not, by whether peft is installed.
    if reader.has(adapter):
        reader.refuse(
            adapter,
            "is there: the reference puts an adapter of its own on another model",
            "register that model, and this folder as its adapter",
        )
    _require_tokenizer(reader, folder, config, ends_texts=ends_texts)
    form = published_form(config)
    if form is not None:
        _require_published(reader, name, config, form, takes_tasks=takes_tasks)
    if config.get("is_encoder_decoder") and kind not in _ONLY_ENCODED:
        reader.refuse(
            f"{name}: is_encoder_decoder",
            f"is true of a {kind}; of {', '.join(sorted(_ONLY_ENCODED))} the encoder alone is run",
        )
    placed = config.get("position_embedding_type", "absolute")
    if form is None and kind in _ABSOLUTE and placed != "absolute":
        reader.refuse(
            f"{name}: position_embedding_type",
            f"is {placed!r}, and transformers' own {kind} has absolute positions only",
        )
    code = reader.take(name, config, "auto_map", dict, {})
    if code:
        own = ", ".join(sorted(map(str, code.values())))
        reader.fact("code of its own", own, f"{name}: auto_map")


def _require_tokenizer(
    reader: Reader, folder: str, config: ConfigJson, *, ends_texts: bool
) -> None:
    tokenizer = joined(folder, "tokenizer_config.json")
    told = reader.table(tokenizer)
    if ends_texts and ends_by_code(config, told):
        _require_plain_end(reader, folder, told)
    elif tokenizes_by_code(config, told):
        reader.refuse(
            f"{tokenizer}: auto_map",
            "names a tokenizer of the model's own, and that code alone says which token ends a "
            "text",
            "save it once with that code loaded, as a tokenizer.json that puts the token there, "
            "and take the key out",
        )


def _require_published(
    reader: Reader, name: str, config: ConfigJson, form: Form, *, takes_tasks: bool
) -> None:
    require_form(reader, name, config, form)
    if form == "gritlm" and reader.has("modules.json"):
        reader.refuse(
            f"{name}: auto_map",
            "names GritLM's own class, which looks both ways for gritlm and back for "
            "sentence-transformers, and modules.json is there",
            "remove modules.json for the vectors of gritlm",
        )
    if holds_tasks(config) and not takes_tasks:
        reader.refuse(
            f"{name}: lora_adaptations",
            "is there: tasks inside the weights are done for vectors of whole texts only",
        )


def _require_plain_end(reader: Reader, folder: str, told: Mapping[str, Any]) -> None:
    """Refuse a file that puts something else around a text: the code and vLLM differ about it."""
    name = joined(folder, "tokenizer.json")
    around = reader.table(name).get("post_processor")
    kind = around.get("type") if isinstance(around, dict) else around
    end = told.get("eos_token")
    end = end.get("content") if isinstance(end, dict) else end
    single = around.get("single") if isinstance(around, dict) else None
    last = single[-1] if isinstance(single, list) and single else None
    token = last.get("SpecialToken") if isinstance(last, dict) else None
    ends = isinstance(token, dict) and token.get("id") == end and len(single or ()) == 2
    if kind in (None, "ByteLevel") or (kind == "TemplateProcessing" and ends):
        reader.fact(
            "end of a text", str(end), f"{joined(folder, 'tokenizer_config.json')}: add_eos_token"
        )
        return
    reader.refuse(
        f"{name}: post_processor",
        f"is {kind}, and the tokenizer's own code (auto_map) puts {end!r} alone behind a text",
        "save it once with that code loaded, and take auto_map out of tokenizer_config.json",
    )


def _require_plain(reader: Reader, name: str, config: Mapping[str, Any]) -> None:
    for key in _OTHER_INPUTS:
        if config.get(key):
            reader.refuse(f"{name}: {key}", "is there: a model that takes more than texts")
    if config.get("quantization_config"):
        reader.refuse(
            f"{name}: quantization_config",
            "is there: weights in integers are not read",
            "use the model as its authors published it in floating point",
        )
