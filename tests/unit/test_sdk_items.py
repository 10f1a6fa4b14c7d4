"""Items as callers of the SDK write them: one is one, several are several, the rest is refused."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from sie_schemas.items import Item, Media
from sie_sdk import exchange
from sie_sdk.exchange import Defaults
from sie_sdk.inputs import item_of, listed

PNG = b"\x89PNG\r\n\x1a\n and more"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("hello", Item(text="hello")),
        ({"text": "hello"}, Item(text="hello")),
        (MappingProxyType({"text": "hello", "id": "1"}), Item(text="hello", id="1")),
        (Item(text="hello"), Item(text="hello")),
        ({"text": "a", "id": None, "metadata": {"k": 1}}, Item(text="a", metadata={"k": 1})),
        (np.str_("hello"), Item(text="hello")),
        ({"text": ""}, Item(text="")),
    ],
)
def test_one_item_is_one_item_in_whatever_form_it_comes(given: Any, wanted: Item) -> None:
    assert listed(given) == ([wanted], True)
    assert listed([given]) == ([wanted], False)
    assert type(listed(given)[0][0].text) is str


@pytest.mark.parametrize(
    "several",
    [
        ["a", {"text": "b"}, Item(text="c")],
        ("a", "b", "c"),
        (text for text in "abc"),
        np.array(["a", "b", "c"]),
        {"a": 1, "b": 2, "c": 3}.keys(),
    ],
)
def test_an_iterable_of_items_is_a_list_in_its_order(several: Any) -> None:
    assert listed(several) == ([Item(text="a"), Item(text="b"), Item(text="c")], False)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "not NoneType"),
        (7, "not int"),
        (b"hello", "not bytes"),
        ([["a"]], r"items\[0\] is of type list"),
        (["a", 3], r"items\[1\] is of type int"),
        (SimpleNamespace(text="a"), "not SimpleNamespace"),
        ({"txt": "a"}, "'txt', which no item has: is it 'text'"),
        ([{"text": "a"}, {"text": 1}], r"items\[1\]\['text'\] is of type int, not a string"),
        ({"text": "a", "metadata": "m"}, "'metadata'"),
        ({"images": "photo"}, "'images'.* not a list"),
        ({"images": [3]}, r"'images'\]\[0\] is of type int"),
        ({"image": 3}, r"'image'\] is of type int"),
        ({"image": "https://example.org/a.png"}, "is an address, and none is fetched"),
        ({"image": "data:image/png,abc"}, "the data URL is not base64"),
        ({"image": PNG, "images": [PNG]}, "give one of the two"),
        (Item(image="ftp://a/b.png"), "is an address, and none is fetched"),
        ({"audio": {"bytes": b""}}, "'bytes'"),
        ({"audio": {"format": "wav"}}, "no 'data'"),
    ],
)
def test_anything_else_is_a_type_error_that_says_where(given: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        listed(given)


@pytest.mark.parametrize("call", ["encode", "extract", "score"])
def test_a_mapping_is_never_taken_for_its_keys(call: str) -> None:
    given: Mapping[str, Any] = {"text": "hello", "id": "x"}
    if call == "encode":
        [made] = exchange.encode_calls("m", given, {}, Defaults())
    elif call == "extract":
        [made] = exchange.extract_calls("m", given, {}, Defaults())
    else:
        made = exchange.score_call("m", given, given, {}, Defaults())
    body = msgspec.msgpack.decode(made.body)
    assert body["items"] == [given]
    assert body.get("query", given) == given
    assert made.count == 1
    assert made.is_single == (call != "score")


def test_media_come_as_bytes_as_files_and_as_mappings(tmp_path: Path) -> None:
    file = tmp_path / "photo.JPG"
    file.write_bytes(b"no known beginning")
    images = [PNG, file, str(file), {"data": PNG, "format": "raw"}, Media(b"x", "bmp")]
    item = item_of({"images": images, "document": file, "audio": {"data": b"a", "sample_rate": 8}})
    jpeg = Media(b"no known beginning", "jpeg")
    assert item.images == (Media(PNG, "png"), jpeg, jpeg, Media(PNG, "raw"), Media(b"x", "bmp"))
    assert item.document == jpeg
    assert item.audio == Media(b"a", "", 8)


def test_an_image_in_memory_is_sent_without_loss() -> None:
    class Picture:
        def save(self, file: Any, *, format: str) -> None:
            assert format == "PNG"
            file.write(PNG)

    assert item_of({"images": [Picture()]}).images == (Media(PNG, "png"),)


def test_an_image_comes_in_every_form_and_is_sent_as_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    file.write_bytes(PNG)
    wanted = [Item(id="x", images=(Media(PNG, "png"),))]
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    forms: list[Any] = [
        PNG,
        file,
        str(file),
        url,
        {"data": PNG},
        {"data": url},
        wanted[0].images[0],
    ]
    for image in forms:
        assert listed([{"id": "x", "image": image}])[0] == wanted, image
        assert listed([Item(id="x", image=image)])[0] == wanted, image
    assert "image" not in msgspec.msgpack.decode(msgspec.msgpack.encode(wanted[0]))


def test_an_array_and_a_picture_of_pillow_are_sent_without_loss() -> None:
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    for image in (pixels, Image.fromarray(pixels)):
        [found] = item_of(Item(image=image)).images
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(found.data))), pixels)


def test_numbers_of_numpy_are_numbers_and_one_word_is_no_list_of_letters() -> None:
    usual = Defaults(None, None, {}, 10)
    told: Any = {
        "dimensions": np.int64(64),
        "options": {"normalize": np.bool_(True), "share": np.float32(0.5)},
        "output_types": "dense",
    }
    [call] = exchange.encode_calls("m", "a", told, usual)
    params = msgspec.msgpack.decode(call.body)["params"]
    assert params["dimensions"] == 64 and type(params["dimensions"]) is int
    assert params["options"] == {"normalize": True, "share": 0.5}
    assert params["output_types"] == ["dense"]
    [call] = exchange.extract_calls("m", "a", {"labels": "person"}, usual)
    assert msgspec.msgpack.decode(call.body)["params"] == {"labels": ["person"]}
    labels: Any
    for labels in ({"b", "a", "c"}, iter("abc")):
        [call] = exchange.extract_calls("m", "a", {"labels": labels}, usual)
        assert msgspec.msgpack.decode(call.body)["params"] == {"labels": ["a", "b", "c"]}
    for labels in ({"person": "a human being"}, b"person"):
        with pytest.raises(TypeError, match="labels is a list of words, and not "):
            exchange.extract_calls("m", "a", {"labels": labels}, usual)
    with pytest.raises(TypeError, match="a type cannot be sent"):
        exchange.encode_calls("m", "a", {"output_dtype": np.int8}, usual)  # type: ignore[typeddict-item]
    model: Any = None
    with pytest.raises(TypeError, match="named by a string"):
        exchange.encode_calls(model, "a", {}, usual)
