"""The way from a text to token ids: length, side, case, and what is handed to the tokenizer.

*pure.* The length is the one that the reference uses, wherever a file says it. First comes
`sentence_bert_config.json` (`max_seq_length`, the tokenizer's options, `processing_kwargs`), then
`tokenizer_config.json`. The model's positions cap it unless the first of these named it.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeGuard

from sie_layouts.architectures.published import ends_by_code
from sie_layouts.inputs.tokenizer_classes import fills_at_the_left, require_types_stated
from sie_layouts.reader import Reader, joined
from sie_layouts.steps import TextLayout

__all__ = [
    "IGNORED_OPTIONS",
    "SENTENCE_FILES",
    "bare_text",
    "chat_template",
    "padding_side",
    "require_marks",
    "sentence_table",
    "text_layout",
]

SENTENCE_FILES: Final = (
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
)
"""The names under which a transformer step keeps its settings, the first that is there counts."""
TOKENIZER_FILE: Final = "tokenizer_config.json"
_NATIVE_FILE: Final = "tokenizer.json"
IGNORED_OPTIONS: Final = frozenset(
    {"cache_dir", "local_files_only", "revision", "subfolder", "token", "trust_remote_code"}
)
"""Options of loading that the reference replaces by its caller's."""
_WITHOUT_EFFECT: Final = frozenset({"use_fast", "padding_side", "clean_up_tokenization_spaces"})
"""Options of a tokenizer that change no vector."""
_TEXT_OPTIONS: Final = frozenset(
    {
        "bos_token", "cls_token", "eos_token", "mask_token", "pad_token", "sep_token",
        "truncation_side", "unk_token",
    }
)  # fmt: skip
_NO_LIMIT: Final = 10**20
"""Above it transformers takes a length for none."""
_CUTTING: Final = (True, "longest_first")
_PADDING: Final = (True, "longest")
"""To a length of its own a text is filled with what some models read, and poolings count."""


def sentence_table(reader: Reader, folder: str) -> tuple[str, dict[str, Any]]:
    """The name and content of a transformer step's settings; empty where it has none."""
    for base in SENTENCE_FILES:
        name = joined(folder, base)
        table = reader.table(name) if reader.has(name) else {}
        if table:
            return name, table
    return joined(folder, SENTENCE_FILES[0]), {}


def text_layout(
    reader: Reader,
    folder: str,
    name: str,
    table: Mapping[str, Any],
    *,
    usual: int | None = None,
) -> TextLayout:
    """The layout of texts for a transformer in `folder`, whose settings are in the file `name`.

    `usual` is the length that the authors' library gives each call: over what a file says.
    """
    options = _tokenizer_options(reader, name, table)
    found = _tokenizer_limit(reader, folder)
    given = options.get("model_max_length")
    if given is None and table.get("max_seq_length") is not None:
        given = reader.count(name, table, "max_seq_length")
        reader.fact("tokens_max", given, f"{name}: max_seq_length")
    elif given is not None:
        reader.fact("tokens_max", given, f"{name}: processor_kwargs.model_max_length")
    require_marks(reader, folder)
    _require_named(reader, joined(folder, TOKENIZER_FILE))
    require_types_stated(reader, folder)
    if usual is not None:
        reader.fact("tokens_max", usual, f"{joined(folder, 'config.json')}: auto_map")
        found = None
    limit = _bounded(given) if given is not None else _told(reader, folder, found)
    called = _processing_limit(reader, name, table)
    return TextLayout(
        # What the call is given counts over what the tokenizer would do by itself.
        tokens_max=limit if called is None else called,
        capped_by_positions=given is None and called is None and usual is None,
        tokens_usual=usual,
        truncation_side=_side(reader, folder, name, options),
        lowercase=reader.take(name, table, "do_lower_case", bool, False),
        tokenizer_options={
            key: value
            for key, value in options.items()
            if key not in _WITHOUT_EFFECT | {"model_max_length", "truncation_side"}
        },
        ends=ends_by_code(
            reader.table(joined(folder, "config.json")),
            reader.table(joined(folder, TOKENIZER_FILE)),
        ),
    )


def require_marks(reader: Reader, folder: str) -> None:
    """Refuse a tokenizer that reads a text's own marks as words."""
    name = joined(folder, TOKENIZER_FILE)
    if reader.table(name).get("split_special_tokens"):
        reader.refuse(
            f"{name}: split_special_tokens",
            "is true: a text's own marks would be read as words, which no tokenizer.json says",
            "remove the key if the model does not need it",
        )


def _require_named(reader: Reader, name: str) -> None:
    """Refuse a null where the tokenizer's class fails with one."""
    table = reader.table(name)
    for key in ("model_input_names", "padding_side", "truncation_side"):
        if key in table and table[key] is None:
            reader.refuse(f"{name}: {key}", "is null", "remove the key, or say what it is")


def chat_template(reader: Reader) -> str:
    """The file that gives a model's own folder a chat template; "" where none does."""
    files = ("chat_template.jinja", "additional_chat_templates/")
    found = [name for name in sorted(reader.names) if name.startswith(files)]
    if reader.table(TOKENIZER_FILE).get("chat_template") is not None:
        found.append(TOKENIZER_FILE)
    return found[0] if found else ""


def padding_side(
    reader: Reader, name: str, table: Mapping[str, Any]
) -> tuple[str, Literal["left", "right"] | None]:
    """The side on which the tokenizer of a model's own folder fills a text up, and who says so.

    What the call is given counts over what the tokenizer is made with, and that over its files.
    None: nobody says so, and its class fills at the right, or only a worker learns which it is.
    """
    calls = reader.take(name, table, "processing_kwargs", dict, {})
    key = "tokenizer_args" if "tokenizer_args" in table else "processor_kwargs"
    told = [
        *((f"{name}: processing_kwargs.{part}", calls.get(part)) for part in ("common", "text")),
        (f"{name}: {key}", table.get(key)),
        (TOKENIZER_FILE, reader.table(TOKENIZER_FILE)),
    ]
    for source, options in told:
        side = options.get("padding_side") if isinstance(options, Mapping) else None
        if side is not None:
            return f"{source}.padding_side", "left" if side == "left" else "right"
    return _padding_of_class(reader)


def _padding_of_class(reader: Reader) -> tuple[str, Literal["left", "right"] | None]:
    padding = reader.table(_NATIVE_FILE).get("padding")
    side = padding.get("direction") if isinstance(padding, dict) else None
    if side is not None:
        return f"{_NATIVE_FILE}: padding.direction", "left" if side == "Left" else "right"
    if fills_at_the_left(reader):
        return f"{TOKENIZER_FILE}: tokenizer_class", "left"
    return "", None


def bare_text(reader: Reader, folder: str, *, limited: bool) -> TextLayout:
    """The layout of texts without special tokens, for a step that looks tokens up."""
    limit = _told(reader, folder, _tokenizer_limit(reader, folder)) if limited else None
    return TextLayout(
        tokens_max=limit,
        capped_by_positions=False,
        truncation_side=_side(reader, folder, "", {}) if limited else "right",
        special_tokens=False,
    )


def _tokenizer_limit(reader: Reader, folder: str) -> int | None:
    name = joined(folder, TOKENIZER_FILE)
    table = reader.table(name)
    # Older releases of transformers wrote `max_len`.
    key = "model_max_length" if table.get("model_max_length") is not None else "max_len"
    value = table.get(key)
    if value is None:
        return None
    if not _is_length(value):
        reader.refuse(f"{name}: {key}", f"is {value!r}, and a length is wanted", "restore the file")
        return None
    return _bounded(value)


def _told(reader: Reader, folder: str, limit: int | None) -> int | None:
    if limit is not None:
        reader.fact("tokens_max", limit, f"{joined(folder, TOKENIZER_FILE)}: model_max_length")
    return limit


def _is_length(value: object) -> bool:
    # NaN is no length either: it compares as false.
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 1


def _bounded(value: float) -> int | None:
    return None if value > _NO_LIMIT else int(value)


def _side(
    reader: Reader, folder: str, name: str, options: Mapping[str, Any]
) -> Literal["left", "right"]:
    source = f"{name}: processor_kwargs.truncation_side"
    side = options.get("truncation_side")
    if side is None:
        file = joined(folder, TOKENIZER_FILE)
        source = f"{file}: truncation_side"
        side = reader.table(file).get("truncation_side")
    if side is None:
        return "right"
    if side not in ("left", "right"):
        reader.refuse(source, f"is {side!r}, and left or right is wanted", "restore the file")
    reader.fact("truncation_side", side, source)
    return "left" if side == "left" else "right"


def _tokenizer_options(reader: Reader, name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    key = "tokenizer_args" if "tokenizer_args" in table else "processor_kwargs"
    given = reader.take(name, table, key, dict, {})
    options = {each: value for each, value in given.items() if each not in IGNORED_OPTIONS}
    limit = options.get("model_max_length")
    if limit is not None and not _is_length(limit):
        reader.refuse(f"{name}: {key}.model_max_length", f"is {limit!r}, and a length is wanted")
        options.pop("model_max_length")
    for each, value in sorted(options.items()):
        # A path or an object could replace the tokenizer that was verified.
        simple = isinstance(value, bool | int | float)
        if not simple and each not in _WITHOUT_EFFECT and each not in _TEXT_OPTIONS:
            reader.refuse(f"{name}: {key}.{each}", f"is {value!r}, which is not done here")
            options.pop(each)
    return options


def _processing_limit(reader: Reader, name: str, table: Mapping[str, Any]) -> int | None:
    """The `max_length` of the tokenizer's call; whatever else changes ids is refused."""
    limits: list[int] = []
    for part, options in reader.take(name, table, "processing_kwargs", dict, {}).items():
        place = f"{name}: processing_kwargs.{part}"
        if part in ("audio", "image", "video"):
            continue  # of other inputs than texts
        if part not in ("text", "common") or not isinstance(options, dict):
            reader.refuse(place, "is not done here; `text` and `common` are")
            continue
        for key, value in options.items():
            if key == "max_length" and _is_count(value):
                limits.append(value)
                reader.fact("tokens_max", value, f"{place}.max_length")
            elif not _changes_nothing(key, value):
                reader.refuse(f"{place}.{key}", f"is {value!r}, which is not done here")
    if len(set(limits)) > 1:
        # Of a text the one of `common` counts, of messages the one of `text`.
        reader.refuse(
            f"{name}: processing_kwargs",
            f"names several lengths, {' and '.join(map(str, limits))}, and one is done here",
            "keep the one that the model was trained with",
        )
    return limits[0] if limits else None


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _changes_nothing(key: str, value: object) -> bool:
    if key == "padding":
        return value in _PADDING
    if key == "truncation":
        return value in _CUTTING
    return key in ("padding_side", "return_tensors")
