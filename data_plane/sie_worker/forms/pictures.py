"""Pictures: from the bytes of an image to the pixels that a loaded model reads.

*shell* over Pillow, whose native code runs without the interpreter's lock: call it in a thread. An
image is judged by its header before a pixel of it is decoded: format, width, height. It is turned
as its EXIF says, and what is transparent shows white. It is resized and cropped by the library and
in the order of the reference. Of a file with several frames the first is read, as there. The device
never decodes: what a stranger sent ends here as rows of bytes, or as the failure of its own item.
"""

import threading
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from io import BytesIO
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError

from sie_core.nearest import advice
from sie_schemas.errors import FixRequest
from sie_schemas.ipc import ImageInput, Loaded, PictureForm, PixelsInput
from sie_schemas.items import Item, Media
from sie_schemas.jobs import ItemFailure, Job

__all__ = ["PIXELS_MAX", "picture_inputs", "pixels"]

PIXELS_MAX: Final = 50_000_000
"""Width times height of the largest image: one decoded takes up to 0.8 GB on its way."""
_LARGE: Final = 8_000_000
"""Pixels above which images are decoded one at a time."""
_ONE_LARGE: Final = threading.Lock()
_FORMATS: Final = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_NAMES: Final = frozenset({"bmp", "gif", "jpeg", "jpg", "png", "tif", "tiff", "webp"})
_SIDE: Final = 255
"""A white ground, which is what the reference puts behind transparency."""

# Pillow warns above a number of pixels of its own, and refuses above twice as many; ours is lower.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def picture_inputs(
    job: Job, loaded: Loaded, failures: list[ItemFailure]
) -> list[tuple[int, PixelsInput | ImageInput]]:
    """The inputs of the items that are images, by their index; what cannot be one is a failure."""
    made: list[tuple[int, PixelsInput | ImageInput]] = []
    for index, item in enumerate(job.items):
        if not item.images:
            continue
        try:
            made.append((index, _input(item, job, loaded)))
        except FixRequest as error:
            failures.append(ItemFailure(index, error.code, error.message))
    return made


def _input(item: Item, job: Job, loaded: Loaded) -> PixelsInput | ImageInput:
    image = item.images[0]
    if loaded.picture is not None:
        if job.instruction is not None:
            raise FixRequest("an instruction is put before a text, and this item is an image")
        return pixels(image, loaded.picture)
    if loaded.accepts == "image":
        return ImageInput(image.data, image.format)
    raise FixRequest("the item is an image, and this model takes texts only")


def pixels(image: Media, form: PictureForm) -> PixelsInput:
    """Decode an image, and give it the form that a model wants. Raises `FixRequest`."""
    _check_format(image.format)
    opened = _guarded(lambda: _opened(image.data))
    width, height = opened.size
    if width * height > PIXELS_MAX:
        raise FixRequest(
            f"the image is {width} by {height} pixels; at most {PIXELS_MAX} in all are decoded: "
            "send a smaller one"
        )
    with _ONE_LARGE if width * height > _LARGE else nullcontext():
        picture = _guarded(lambda: _in_colours(_turned(opened)))
        formed = _guarded(lambda: _formed(picture, form))
    return PixelsInput(formed.height, formed.width, formed.tobytes())


def _check_format(name: str) -> None:
    """Refuse a format that is named and none of ours. Which of ours it is, the bytes say."""
    said = name.lower().removeprefix("image/")
    if said and said not in _NAMES:
        raise FixRequest(
            f"the image's format is said to be {name[:40]!r}, which is not read; "
            f"{advice(said, _NAMES)}"
        )


def _guarded(work: Callable[[], Image.Image]) -> Image.Image:
    """The work of a decoder, or a refusal: it raises whatever it stumbles over."""
    try:
        return work()
    except FixRequest:
        raise
    except Image.DecompressionBombError as error:
        raise FixRequest(
            f"the image has too many pixels; at most {PIXELS_MAX} are decoded: send a smaller one"
        ) from error
    except UnidentifiedImageError as error:
        raise FixRequest(
            f"the bytes are no image that is read here: {', '.join(_FORMATS)} are"
        ) from error
    # Of 9,000 damaged files in six formats half did not decode: 4,119 raised OSError, and one a
    # ValueError from deep inside. Whatever it is, the image is at fault, and no worker.
    except Exception as error:
        said = str(error)[:200] or type(error).__name__
        raise FixRequest(f"the image cannot be decoded: {said}; send it again as PNG") from error


def _opened(data: bytes) -> Image.Image:
    """The image by its header: no pixel is decoded yet."""
    return Image.open(BytesIO(data), formats=_FORMATS)


def _turned(picture: Image.Image) -> Image.Image:
    picture.load()
    return ImageOps.exif_transpose(picture)


def _in_colours(picture: Image.Image) -> Image.Image:
    """Red, green and blue; what is transparent shows a white ground."""
    if "A" not in picture.getbands() and picture.info.get("transparency") is None:
        return picture.convert("RGB")
    over = picture.convert("RGBA")
    ground = Image.new("RGBA", over.size, (_SIDE, _SIDE, _SIDE, _SIDE))
    return Image.alpha_composite(ground, over).convert("RGB")


def _formed(picture: Image.Image, form: PictureForm) -> Image.Image:
    size = _size(picture, form)
    if size is not None:
        picture = picture.resize(size, resample=Image.Resampling(form.resample))
    if form.crop is None:
        return picture
    height, width = form.crop
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _size(picture: Image.Image, form: PictureForm) -> tuple[int, int] | None:
    """Width and height after resizing; None where it is not resized."""
    if form.size is not None:
        return form.size[1], form.size[0]
    if not form.shortest:
        return None
    short, long = sorted(picture.size)
    # Cut off and not rounded, as the reference does: a pixel more is another crop.
    longest = int(form.shortest * long / short)
    # An image of 1 by 50,000 pixels is small until its short side is made longer.
    if longest * form.shortest > PIXELS_MAX:
        raise FixRequest(
            f"the image is {picture.width} by {picture.height} pixels, too long for its breadth: "
            "cut it"
        )
    wide = picture.width > picture.height
    return (longest, form.shortest) if wide else (form.shortest, longest)
