"""The way from an image to pixels, as the file of an image processor states it.

*pure.* `preprocessor_config.json`, or `processor_config.json` where newer releases put it inside.
A key that is missing is its class's own; one that is not known here is refused by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sie_layouts.reader import Reader, joined

__all__ = ["PictureLayout", "read_picture"]

_NESTED: Final = ("processor_config.json", "image_processor")
_FILE: Final = "preprocessor_config.json"
_OPENAI: Final = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_HALF: Final = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_CLIP: Final = frozenset({"CLIPImageProcessor", "CLIPFeatureExtractor"})
_SIGLIP: Final = frozenset({"SiglipImageProcessor"})
_CROPPED: Final[Mapping[str, Any]] = {
    "size": {"shortest_edge": 224},
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "image_mean": list(_OPENAI[0]),
    "image_std": list(_OPENAI[1]),
}
_WHOLE: Final[Mapping[str, Any]] = {
    "size": {"height": 224, "width": 224},
    "do_center_crop": False,
    "image_mean": list(_HALF[0]),
    "image_std": list(_HALF[1]),
}
_ALIKE: Final[Mapping[str, Any]] = {
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "resample": 3,
    "rescale_factor": 1 / 255,
}
_WITHOUT_EFFECT: Final = frozenset(
    {
        "_processor_class", "data_format", "default_to_square", "device", "disable_grouping",
        "feature_extractor_type", "image_processor_type", "input_data_format", "processor_class",
        "return_tensors",
    }
)  # fmt: skip
_NOTHING: Final = (None, False)
_PADDING: Final = frozenset({"do_pad", "pad_size", "image_seq_length", "use_square_size"})
"""Keys that change something where they are set."""
_FILTERS: Final = range(6)
_USUAL: Final = {"clip": "CLIPImageProcessor", "siglip": "SiglipImageProcessor"}
"""The class that reads a file without one."""
_IMAGE_SIZES: Final[Mapping[str, tuple[int, int]]] = {"clip": (224, 32), "siglip": (224, 16)}
"""The edge of an image and of its patches, of a config that does not say."""


@dataclass(frozen=True, slots=True)
class PictureLayout:
    """Resized, cropped, multiplied by `factor`, less `mean`, divided by `std`."""

    edge: int
    """Height and width of what the model reads."""
    patches: int
    """The patches that it is read in."""
    shortest: int = 0
    """The length of the shorter edge after resizing; 0: the image becomes `size`."""
    size: tuple[int, int] = (0, 0)
    """Height and width."""
    resample: int = 3
    """The number of Pillow's filter."""
    cropped: bool = False
    factor: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def read_picture(
    reader: Reader, folder: str, family: str, vision: Mapping[str, Any]
) -> PictureLayout:
    """Read the processor of a tower whose config is `vision`; refusals go to the reader."""
    name, given = _table(reader, folder)
    named = given.get("image_processor_type") or given.get("feature_extractor_type")
    kind = str(named or _USUAL.get(family))
    # The same class by its older and newer names: how an image is read is alike.
    kind = kind.removesuffix("Fast").removesuffix("Pil")
    if kind not in _CLIP | _SIGLIP:
        reader.refuse(
            f"{name}: image_processor_type",
            f"is {kind!r}; {', '.join(sorted(_CLIP | _SIGLIP))} are done here",
        )
    table = {**_ALIKE, **(_CROPPED if kind in _CLIP else _WHOLE), **given}
    known = {*_ALIKE, *_CROPPED, *_WITHOUT_EFFECT, *_PADDING}
    reader.refuse_others(name, given, known, kind)
    for key in sorted(_PADDING & given.keys()):
        if given[key] not in _NOTHING:
            reader.refuse(f"{name}: {key}", f"is {given[key]!r}, which is not done here")
    # Without `do_convert_rgb` the reference fails for every image that is not in colours already.
    if not table["do_resize"]:
        reader.refuse(f"{name}: do_resize", "is false: images would have any size")
    edge, patch = _tower(reader, joined(folder, "config.json"), family, vision)
    shortest, height, width = _size(reader, f"{name}: size", table["size"])
    size, cropped = (height, width), bool(table["do_center_crop"])
    if cropped:
        given_crop = table.get("crop_size")
        _, height, width = _size(reader, f"{name}: crop_size", given_crop, square=True)
    if (height, width) != (edge, edge):
        reader.refuse(
            f"{name}: size",
            f"makes images of {height} by {width}, and the model reads {edge} by {edge}",
            "restore the file of the processor",
        )
    reader.fact("image", f"{edge} by {edge} pixels", f"{name}: {'crop_' * cropped}size")
    return PictureLayout(
        edge=edge,
        patches=(edge // patch) ** 2 if patch else 1,
        shortest=shortest,
        size=size,
        resample=_filter(reader, name, table["resample"]),
        cropped=cropped,
        factor=_number(reader, name, table, "rescale_factor") if table["do_rescale"] else None,
        mean=_three(reader, name, table, "image_mean") if table["do_normalize"] else None,
        std=_three(reader, name, table, "image_std") if table["do_normalize"] else None,
    )


def _table(reader: Reader, folder: str) -> tuple[str, dict[str, Any]]:
    newer, key = joined(folder, _NESTED[0]), _NESTED[1]
    nested = reader.table(newer).get(key) if reader.has(newer) else None
    if isinstance(nested, dict):
        return f"{newer}: {key}", nested
    name = joined(folder, _FILE)
    if not reader.has(name):
        reader.refuse(name, "is not there: nothing says how an image is read", "restore the file")
    return name, reader.table(name)


def _tower(reader: Reader, name: str, family: str, vision: Mapping[str, Any]) -> tuple[int, int]:
    # A config leaves out what is its class's own.
    edge, patch = _IMAGE_SIZES.get(family, (0, 0))
    found = (vision.get("image_size", edge), vision.get("patch_size", patch))
    if not all(_is_count(each) for each in found):
        reader.refuse(f"{name}: vision_config", f"has sizes {found!r}", "restore the file")
        return edge, patch
    if vision.get("num_channels", 3) != 3:
        reader.refuse(f"{name}: vision_config.num_channels", "is not 3")
    return int(found[0]), int(found[1])


def _size(
    reader: Reader, source: str, given: object, *, square: bool = False
) -> tuple[int, int, int]:
    """The shorter edge, or 0; height and width, or 0."""
    if _is_count(given):
        count = int(str(given))
        return (0, count, count) if square else (count, 0, 0)
    table = given if isinstance(given, dict) else {}
    sizes = {key: int(value) for key, value in table.items() if _is_count(value)}
    if set(table) == {"shortest_edge"} and len(sizes) == 1:
        return sizes["shortest_edge"], 0, 0
    if set(table) == {"height", "width"} and len(sizes) == 2:
        return 0, sizes["height"], sizes["width"]
    reader.refuse(source, f"is {given!r}, which is not done here")
    return 0, 0, 0


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 1 << 14


def _filter(reader: Reader, name: str, value: object) -> int:
    if not isinstance(value, int) or value not in _FILTERS:
        reader.refuse(f"{name}: resample", f"is {value!r}, and a filter of Pillow is wanted")
        return 3
    return value


def _number(reader: Reader, name: str, table: Mapping[str, Any], key: str) -> float:
    value = table.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        reader.refuse(f"{name}: {key}", f"is {value!r}, and a number is wanted")
        return 1.0
    return float(value)


def _three(reader: Reader, name: str, table: Mapping[str, Any], key: str) -> tuple[float, ...]:
    value = table.get(key)
    numbers = value if isinstance(value, list) else [value] * 3
    found = tuple(float(each) for each in numbers if isinstance(each, int | float))
    if len(numbers) != 3 or len(found) != 3:
        reader.refuse(f"{name}: {key}", f"is {value!r}, and three numbers are wanted")
        return (1.0, 1.0, 1.0)
    return found
