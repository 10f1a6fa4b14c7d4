"""The layout of a folder with a text tower and an image tower, whose vectors share one space.

*pure.* CLIP and SigLIP, SigLIP 2 of one resolution included: as transformers saves them, or below
the modules of sentence-transformers. How an image becomes pixels is read from the processor's file
(`pictures`). A text is as long as the tokenizer's file and the model's positions say. SigLIP's
texts are filled up to that length, as its authors do. A folder in which a library would not is
refused, because its vectors would then depend on their batch-mates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sie_layouts.facts import Fact, Files, Reading
from sie_layouts.images.pictures import PictureLayout, read_picture
from sie_layouts.inputs.texts import sentence_table, text_layout
from sie_layouts.inputs.transformer import KNOWN_SETTINGS, LOADING_ONLY
from sie_layouts.modules import module_name
from sie_layouts.reader import Reader, joined
from sie_layouts.routes import MODULES_FILE, steps_of
from sie_layouts.steps import DenseStep, LayerNormStep, NormalizeStep, Step, TextLayout

__all__ = ["ImageTextLayout", "is_image_text", "read_image_text"]

_CONFIG: Final = "config.json"
_SETTINGS: Final = "config_sentence_transformers.json"
_CLASSES: Final[Mapping[str, str]] = {"clip": "CLIPModel", "siglip": "SiglipModel"}
_POSITIONS: Final[Mapping[str, int]] = {"clip": 77, "siglip": 64}
"""The positions of texts of a config that does not say."""
_NO_MORE: Final = frozenset({"siglip2"})
_INPUTS: Final = frozenset({"CLIPModel", "Transformer"})
_BEHIND: Final = (DenseStep, LayerNormStep, NormalizeStep)


@dataclass(frozen=True, slots=True)
class ImageTextLayout:
    """One dense vector for each text, and for each image."""

    folder: str
    """The place of the two towers; "" for the model's own folder."""
    family: str
    text: TextLayout
    filled: bool
    """True if each text is filled up to its greatest length."""
    picture: PictureLayout
    steps: tuple[Step, ...] = ()
    """The steps behind the towers."""
    kept: int | None = None
    facts: tuple[Fact, ...] = ()

    @property
    def kind(self) -> str:
        """The output's name."""
        return "dense"


def is_image_text(reader: Reader) -> bool:
    """True if a folder says that it has both towers."""
    folder = _towers(reader)
    kind = str(reader.table(joined(folder or "", _CONFIG)).get("model_type"))
    return folder is not None and (kind in _CLASSES or kind in _NO_MORE)


def read_image_text(files: Files) -> Reading[ImageTextLayout]:
    """Read a folder, or all that stands in the way."""
    reader = Reader(files)
    folder = _towers(reader) or ""
    name = joined(folder, _CONFIG)
    config = reader.table(name)
    family = str(config.get("model_type"))
    _require_family(reader, name, config, family)
    image = reader.take(name, config, "vision_config", dict, {})
    if family == "siglip" and image.get("vision_use_head") is False:
        reader.refuse(f"{name}: vision_config.vision_use_head", "is false: images have no vector")
    text, filled = _text(reader, folder, config, family)
    layout = ImageTextLayout(
        folder=folder,
        family=family,
        text=text,
        filled=filled,
        picture=read_picture(reader, folder, family, image),
        steps=_steps(reader),
        kept=_settings(reader),
    )
    if reader.refusals:
        return Reading(None, tuple(reader.refusals))
    return Reading(replace(layout, facts=tuple(dict.fromkeys(reader.facts))))


def _towers(reader: Reader) -> str | None:
    """The folder of the first module, where that may hold towers; None of another."""
    if not reader.has(MODULES_FILE):
        return ""
    modules = reader.json(MODULES_FILE)
    first = modules[0] if isinstance(modules, list) and modules else None
    if not isinstance(first, dict) or not isinstance(first.get("path", ""), str):
        return None
    kind = str(first.get("type")).rsplit(".", 1)[-1]
    return joined(str(first.get("path", "")), "") if kind in _INPUTS else None


def _require_family(reader: Reader, name: str, config: Mapping[str, Any], family: str) -> None:
    wanted = _CLASSES.get(family)
    if wanted is None:
        reader.refuse(
            f"{name}: model_type",
            f"is {family}: its images keep their shape (NaFlex), which is not done here",
            "use a SigLIP 2 of one resolution, as google/siglip2-base-patch16-224",
        )
        return
    classes = config.get("architectures") or [wanted]
    if classes != [wanted]:
        reader.refuse(f"{name}: architectures", f"is {classes!r}; {wanted} alone has both towers")
    if config.get("quantization_config"):
        reader.refuse(f"{name}: quantization_config", "is there: weights in integers are not read")
    if config.get("auto_map"):
        reader.refuse(f"{name}: auto_map", "is there: none of a model's own code is run for images")
    reader.fact("texts and images", wanted, f"{name}: model_type")


def _text(
    reader: Reader, folder: str, config: Mapping[str, Any], family: str
) -> tuple[TextLayout, bool]:
    name, table = sentence_table(reader, folder)
    _require_settings(reader, name, table)
    found = text_layout(reader, folder, name, _unfilled(table) if family == "siglip" else table)
    given = config.get("text_config")
    own = given if isinstance(given, dict) else {}
    positions = own.get("max_position_embeddings", _POSITIONS.get(family, 0))
    if not isinstance(positions, int) or positions < 1:
        reader.refuse(f"{joined(folder, _CONFIG)}: text_config", "has no positions", "restore it")
        positions = 1
    # Positions are a table: a text beyond its end has none.
    limit = min(found.tokens_max or positions, positions)
    # SigLIP reads the state at its last place, and its authors fill each text to 64 tokens.
    # sentence-transformers fills to the longest of a batch: a vector then depends on its
    # batch-mates.
    if family == "siglip" and reader.has(MODULES_FILE):
        _require_filled(reader, name, table)
    reader.fact("tokens_max", limit, f"{joined(folder, _CONFIG)}: text_config")
    return replace(found, tokens_max=limit), family == "siglip"


def _require_settings(reader: Reader, name: str, table: Mapping[str, Any]) -> None:
    """Refuse settings of sentence-transformers that would make other vectors than these."""
    reader.refuse_others(name, table, KNOWN_SETTINGS, "Transformer")
    _require_towers(reader, name, table)
    images = reader.take(name, table, "processing_kwargs", dict, {}).get("image")
    if images:
        reader.refuse(f"{name}: processing_kwargs.image", f"is {images!r}, which is not done here")
    for key in ("query_length", "document_length", "query_expansion", "tokenizer_name_or_path"):
        if table.get(key) is not None:
            reader.refuse(f"{name}: {key}", f"is {table[key]!r}, which is not done here")
    for key in ("config_args", "config_kwargs", "model_args", "model_kwargs"):
        given = reader.take(name, table, key, dict, {})
        for option in sorted(given.keys() - LOADING_ONLY):
            reader.refuse(
                f"{name}: {key}.{option}", f"is {given[option]!r}, which is not done here"
            )


def _require_towers(reader: Reader, name: str, table: Mapping[str, Any]) -> None:
    modalities = reader.take(name, table, "modality_config", dict, {})
    for part, how in sorted(modalities.items(), key=lambda each: str(each[0])):
        if part not in ("text", "image") or how != {
            "method": f"get_{part}_features",
            "method_output_name": "pooler_output",
        }:
            reader.refuse(f"{name}: modality_config.{part}", f"is {how!r}, which is not done here")
    output = table.get("module_output_name")
    if output not in (None, "sentence_embedding"):
        reader.refuse(f"{name}: module_output_name", f"is {output!r}; sentence_embedding is done")


def _unfilled(table: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without the filling up of texts, which is done."""
    options = table.get("processing_kwargs")
    text = options.get("text") if isinstance(options, dict) else None
    if not isinstance(options, dict) or not isinstance(text, dict):
        return dict(table)
    rest = {key: value for key, value in text.items() if key != "padding"}
    return {**table, "processing_kwargs": {**options, "text": rest}}


def _require_filled(reader: Reader, name: str, table: Mapping[str, Any]) -> None:
    options = table.get("processing_kwargs")
    text = options.get("text") if isinstance(options, dict) else None
    padding = text.get("padding") if isinstance(text, dict) else None
    if padding != "max_length":
        reader.refuse(
            f"{name}: processing_kwargs.text.padding",
            f"is {padding!r}: SigLIP reads its last token, which is then a batch-mate's padding",
            "set it to max_length, as its authors fill every text",
        )


def _steps(reader: Reader) -> tuple[Step, ...]:
    if not reader.has(MODULES_FILE):
        return ()
    modules = reader.json(MODULES_FILE)
    for place, entry in enumerate(modules if isinstance(modules, list) else []):
        if place == 0 and isinstance(entry, dict):
            module_name(reader, f"{MODULES_FILE}: 0.type", str(entry.get("type")))
    steps = steps_of(reader, "document", first=1)
    for step in steps:
        if not isinstance(step, _BEHIND):
            name = type(step).__name__.removesuffix("Step")
            reader.refuse(MODULES_FILE, f"has {name} behind a model of texts and images")
    return steps


def _settings(reader: Reader) -> int | None:
    """The numbers that are kept of a vector; prompts are of texts alone, and refused."""
    if not reader.has(MODULES_FILE):
        return None
    table = reader.table(_SETTINGS)
    prompts = reader.take(_SETTINGS, table, "prompts", dict, {})
    if any(prompts.values()) or table.get("default_prompt_name"):
        reader.refuse(f"{_SETTINGS}: prompts", "are not done here for texts beside images")
    if table.get("truncate_dim") is None:
        return None
    return reader.count(_SETTINGS, table, "truncate_dim") or None
