"""A transformer step of a folder: its head, its settings, and what they would change.

*pure.* Settings that the reference hands to transformers are kept where they say something of the
model (`config_options`). They are passed over where they only say how to load it, and else refused.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from sie_layouts.architectures.heads import require_head
from sie_layouts.architectures.own_architectures import require_own_architecture
from sie_layouts.architectures.published import published_form
from sie_layouts.architectures.tasks import read_tasks
from sie_layouts.inputs.texts import IGNORED_OPTIONS, chat_template, sentence_table, text_layout
from sie_layouts.inputs.tokenizer_classes import require_types_known
from sie_layouts.reader import Reader, joined
from sie_layouts.steps import TransformerStep

__all__ = ["KNOWN_SETTINGS", "LOADING_ONLY", "plain_transformer", "transformer_step"]

Head = Literal["none", "masked_language"]

KNOWN_SETTINGS: Final = frozenset(
    {
        "backend", "config_args", "config_kwargs", "do_lower_case", "document_length",
        "max_seq_length", "modality_config", "model_args", "model_kwargs", "module_output_name",
        "processing_kwargs", "processor_kwargs", "query_expansion", "query_length",
        "tokenizer_args", "tokenizer_name_or_path", "transformer_task", "unpad_inputs",
    }
)  # fmt: skip
_HEADS: Final[Mapping[str, Head]] = {"feature-extraction": "none", "fill-mask": "masked_language"}
_FIELDS: Final[Mapping[Head, str]] = {"none": "last_hidden_state", "masked_language": "logits"}
LOADING_ONLY: Final = IGNORED_OPTIONS | {
    "add_pooling_layer", "attn_implementation", "device_map", "dtype", "low_cpu_mem_usage",
    "torch_dtype", "use_cache", "use_safetensors",
}  # fmt: skip
"""Options of loading that change no vector: type and device are the profile's."""
_OF_LOADING: Final = frozenset(
    {
        "architectures", "auto_map", "code_revision", "force_download", "gguf_file", "model_type",
        "name_or_path", "proxies", "quantization_config", "return_unused_kwargs", "variant",
    }
)  # fmt: skip
"""Options that would load another model than the folder's."""
_GRITLM_TOKENS: Final = 512
"""The `max_length` of the `encode` of GritLM's library, the words before a text included."""


def transformer_step(
    reader: Reader, folder: str, *, task: str, late: bool = False
) -> TransformerStep:
    """The step that a folder's settings describe; `task` is that of its class.

    `late` says that the caller reads the lengths of queries and documents itself.
    """
    takes_tasks = task == "feature-extraction" and not late
    require_own_architecture(reader, folder, takes_tasks=takes_tasks, ends_texts=True)
    require_types_known(reader, folder)
    name, table = sentence_table(reader, folder)
    reader.refuse_others(name, table, KNOWN_SETTINGS, "Transformer")
    said = reader.take(name, table, "transformer_task", str, task)
    head = _HEADS.get(said)
    if head is None:
        reader.refuse(
            f"{name}: transformer_task",
            f"is {said!r}, which makes no vectors here; {' and '.join(sorted(_HEADS))} do",
        )
        head = "none"
    if head == "masked_language":
        require_head(reader, joined(folder, "config.json"), head)
    _require_texts(reader, name, table, head)
    lengths = () if late else ("query_length", "document_length", "query_expansion")
    for key in (*lengths, "tokenizer_name_or_path"):
        if table.get(key) is not None:
            reader.refuse(f"{name}: {key}", f"is {table[key]!r}, which is not done here")
    return TransformerStep(
        folder=folder,
        head=head,
        text=text_layout(reader, folder, name, table),
        config_options=_config_options(reader, folder, name, table),
        tasks=read_tasks(reader, joined(folder, "config.json")) if takes_tasks else None,
    )


def plain_transformer(reader: Reader, head: Head) -> TransformerStep:
    """The step of a folder that holds a transformer and nothing else."""
    require_own_architecture(reader, "", takes_tasks=head == "none", ends_texts=True)
    require_types_known(reader)
    if head == "masked_language":
        require_head(reader, "config.json", head)
    template = chat_template(reader)
    own = published_form(reader.table("config.json")) == "gritlm"
    if template and not own:
        reader.refuse(
            template,
            "has a chat template, into which the reference puts every text of a model without "
            "modules.json",
            "save the model with sentence-transformers, or remove the template",
        )
    return TransformerStep(
        folder="",
        head=head,
        text=text_layout(
            reader,
            "",
            "sentence_bert_config.json",
            {},
            usual=_GRITLM_TOKENS if own else None,
        ),
        tasks=read_tasks(reader, "config.json") if head == "none" else None,
    )


def _require_texts(reader: Reader, name: str, table: Mapping[str, Any], head: Head) -> None:
    """Plain texts into the model's forward, its states out: anything else is another model."""
    modalities = reader.take(name, table, "modality_config", dict, {})
    place = f"{name}: modality_config"
    if "message" in modalities:
        reader.refuse(
            f"{place}.message",
            "is there: the reference puts every text into a chat template, which is not done here",
        )
    if modalities and "text" not in modalities:
        reader.refuse(place, f"takes {sorted(modalities)}, and no texts")
    text = modalities.get("text")
    if text is not None and text != {"method": "forward", "method_output_name": _FIELDS[head]}:
        reader.refuse(f"{place}.text", f"is {text!r}; the forward's {_FIELDS[head]} is done here")
    output = table.get("module_output_name")
    if output not in (None, "token_embeddings"):
        reader.refuse(
            f"{name}: module_output_name", f"is {output!r}; token_embeddings is done here"
        )


def _config_options(
    reader: Reader, folder: str, name: str, table: Mapping[str, Any]
) -> dict[str, Any]:
    key = "config_args" if "config_args" in table else "config_kwargs"
    given = reader.take(name, table, key, dict, {})
    options = {each: value for each, value in given.items() if each not in LOADING_ONLY}
    config = joined(folder, "config.json")
    for each in sorted(options):
        if isinstance(options[each], dict | list) or each in _OF_LOADING or each.startswith("_"):
            reader.refuse(f"{name}: {key}.{each}", f"is {options[each]!r}, which is not done here")
        else:
            reader.fact(f"{config}: {each}", options[each], f"{name}: {key}.{each}")
    model_key = "model_args" if "model_args" in table else "model_kwargs"
    for each, value in sorted(reader.take(name, table, model_key, dict, {}).items()):
        if each not in LOADING_ONLY:
            reader.refuse(f"{name}: {model_key}.{each}", f"is {value!r}, which is not done here")
    return options
