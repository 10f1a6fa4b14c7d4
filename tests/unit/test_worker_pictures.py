"""Pictures in the sidecar: the form that a model wants, each item by itself."""

import threading

import msgspec
import numpy as np
import pytest
from PIL import Image
from tests.support.picture_models import encoded, picture, pictures
from tests.support.small_jobs import small_job

from sie_schemas.errors import FixRequest
from sie_schemas.ipc import Loaded, PictureForm, PixelsInput, TextInput
from sie_schemas.items import Item, Media
from sie_worker.forms.pictures import pixels
from sie_worker.forms.tokenizing import prepare

FORM = PictureForm(shortest=24, crop=(24, 24), cost=9)
WHOLE = PictureForm()
BOTH = Loaded(id=1, revision="r", accepts="text", cost_unit="bytes4", picture=FORM)
JOB = small_job()


def _image(data: bytes, name: str = "") -> Item:
    return Item(images=(Media(data, name),))


def test_texts_and_images_of_one_job_each_become_their_input():
    good = encoded(picture(30, 40))
    items = (Item(text="abcdefgh"), _image(good), _image(b"none"), Item(text="abcd"))
    found = prepare(msgspec.structs.replace(JOB, items=items), BOTH, None)
    by_index = {index: (given, cost) for index, given, cost in found.inputs}
    assert by_index[0] == (TextInput("abcdefgh"), 2)
    given, cost = by_index[1]
    assert isinstance(given, PixelsInput) and (given.height, given.width, cost) == (24, 24, 9)
    assert [(each.index, each.code) for each in found.failures] == [(2, "INVALID_REQUEST")]
    assert set(by_index) == {0, 1, 3}


def test_a_model_of_texts_refuses_an_image_and_one_of_images_a_text():
    texts = Loaded(id=1, revision="r", accepts="text")
    images = Loaded(id=1, revision="r", accepts="image", picture=WHOLE)
    job = msgspec.structs.replace(JOB, items=(_image(encoded(picture(3, 3))), Item(text="a")))
    [of_texts] = prepare(job, texts, None).failures
    [of_images] = prepare(job, images, None).failures
    assert (of_texts.index, of_images.index) == (0, 1)
    assert "takes texts only" in of_texts.message
    assert "has no image" in of_images.message


def test_an_instruction_is_not_dropped_before_an_image():
    job = msgspec.structs.replace(JOB, items=(_image(encoded(picture(3, 3))),), instruction="find")
    [failure] = prepare(job, BOTH, None).failures
    assert "an instruction is put before a text" in failure.message


def test_a_whole_picture_keeps_its_size_and_is_turned():
    found = pixels(Media(pictures()["turned"]), WHOLE)
    assert (found.width, found.height) == (40, 90)


def test_the_middle_is_cut_out_and_what_is_missing_is_black():
    image = Image.new("RGB", (5, 9), (7, 8, 9))
    found = pixels(Media(encoded(image)), PictureForm(crop=(5, 9)))
    rows = np.frombuffer(found.data, np.uint8).reshape(5, 9, 3)
    assert (rows[:, 2:7] == (7, 8, 9)).all()
    assert not rows[:, :2].any() and not rows[:, 7:].any()


def test_a_format_that_is_named_wrong_is_read_by_its_bytes_and_a_strange_one_is_refused():
    png = encoded(picture(3, 3))
    assert pixels(Media(png, "jpeg"), WHOLE) == pixels(Media(png, "image/PNG"), WHOLE)
    with pytest.raises(FixRequest, match="said to be 'svg', which is not read"):
        pixels(Media(png, "svg"), WHOLE)


def test_many_threads_make_the_same_pixels():
    files = [*pictures().values()]
    alone = [pixels(Media(each), FORM) for each in files]
    found: list[list[PixelsInput]] = []
    threads = [
        threading.Thread(target=lambda: found.append([pixels(Media(each), FORM) for each in files]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [alone] * 4
