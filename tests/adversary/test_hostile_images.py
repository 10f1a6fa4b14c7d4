"""Images that somebody made to hurt: refused by their header, alone, and soon."""

import io
import struct
import time
import zlib

import pytest
from PIL import Image
from tests.support.picture_models import encoded, picture, pictures

from sie_schemas.errors import FixRequest
from sie_schemas.ipc import PictureForm
from sie_schemas.items import Media
from sie_worker.forms.pictures import PIXELS_MAX, pixels

FORM = PictureForm(shortest=24, crop=(24, 24))
GOOD = pictures()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png(width: int, height: int, rows: bytes = b"", *more: bytes) -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")
    )


def _jpeg_of(width: int, height: int) -> bytes:
    """A JPEG whose header claims another size."""
    data = bytearray(encoded(picture(64, 64), "JPEG"))
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _frames(count: int) -> bytes:
    held = io.BytesIO()
    frames = [Image.new("P", (8, 8), number % 250) for number in range(count)]
    frames[0].save(held, "GIF", save_all=True, append_images=frames[1:])
    return held.getvalue()


def _webp_of(width: int, height: int) -> bytes:
    """An extended WebP whose canvas claims another size."""
    image = Image.new("RGBA", (16, 16), (1, 2, 3, 100))
    data = bytearray(encoded(image, "WEBP", save_all=True, append_images=[image.rotate(90)]))
    place = data.index(b"VP8X") + 8
    data[place + 4 : place + 7] = (width - 1).to_bytes(3, "little")
    data[place + 7 : place + 10] = (height - 1).to_bytes(3, "little")
    return bytes(data)


ZEROS = zlib.compress(bytes(1 << 26), 9)
BOMBS = {
    "a PNG of 60,000 by 60,000": _png(60_000, 60_000, ZEROS),
    "a PNG of 2 billion by 1": _png(2_000_000_000, 1, ZEROS),
    "a PNG just above the bound": _png(10_000, PIXELS_MAX // 10_000 + 1, ZEROS),
    "a JPEG of 65,000 by 65,000": _jpeg_of(65_000, 65_000),
    "a WebP of 16,383 by 16,383": _webp_of(16_383, 16_383),
    "a text in a PNG that unfolds": _png(
        4, 4, b"", _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1 << 27), 9))
    ),
    "a profile in a PNG that unfolds": _png(
        4, 4, b"", _chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(1 << 27), 9))
    ),
    "a long strip": _png(30_000_000, 1, b""),
}
BROKEN = {
    "nothing": b"",
    "one byte": b"\x89",
    "an SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "a page": b"<!doctype html><img src=x>",
    "a PDF": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/etc/passwd) (r) file\n",
    "rows that are missing": _png(64, 64, zlib.compress(bytes(64))),
    "rows that are no zlib": _png(64, 64, b"no zlib at all"),
    "no pixels": _png(0, 5),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_its_header_before_it_is_decoded(name: str) -> None:
    # The time that this thread computes: another process on the machine does not count.
    started = time.thread_time()
    with pytest.raises(FixRequest, match="image"):
        pixels(Media(BOMBS[name]), FORM)
    assert time.thread_time() - started < 0.05


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_image_is_refused_in_words(name: str) -> None:
    with pytest.raises(FixRequest, match="image"):
        pixels(Media(BROKEN[name]), FORM)


def test_of_ten_thousand_frames_one_is_decoded() -> None:
    data = _frames(10_000)
    started = time.thread_time()
    found = pixels(Media(data), FORM)
    assert time.thread_time() - started < 0.05
    assert (found.height, found.width) == (24, 24)


@pytest.mark.parametrize("name", ["wide", "high", "RGBA", "P", "TIFF", "BMP", "16 bits"])
def test_an_image_that_is_cut_anywhere_or_flipped_is_an_answer_or_a_refusal(name: str) -> None:
    data = GOOD[name]
    step = max(1, len(data) // 40)
    for place in range(0, len(data), step):
        flipped = bytearray(data)
        flipped[place] ^= 0xFF
        for hostile in (data[:place], bytes(flipped)):
            try:
                found = pixels(Media(hostile), FORM)
            except FixRequest:
                continue
            assert len(found.data) == 3 * found.height * found.width
