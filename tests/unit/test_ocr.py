"""Text in images, read by the models that a package brings."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.support.encoder_models import fresh_device
from tests.support.picture_models import drawn_text, encoded

from sie_schemas.documents import ExtractTask, PackageSource, ProfileDocument, Tasks
from sie_schemas.errors import FixRequest, OurFault
from sie_schemas.ipc import EntityAnswers, PixelsInput, RunBatch
from sie_schemas.items import Media
from sie_server.backends.backend import Backend, ModelSpec
from sie_server.backends.names import load_backend
from sie_server.weights.sources import Weights, resolve
from sie_worker.forms.pictures import pixels

SOURCE = PackageSource(
    type="package",
    package="rapidocr",
    distribution="rapidocr",
    version="3.10.0",
    path="models",
)
LINES = ("Invoice 4711", "total 99.50 EUR", "paid in Berlin")


def _loaded(weights: Weights, **profile: object) -> Backend:
    document = ProfileDocument.model_validate({"backend": "ocr", **profile})
    spec = ModelSpec("ocr", "r1", weights, Tasks(extract=ExtractTask()), document)
    return load_backend(spec, fresh_device())


@pytest.fixture(scope="module")
def reader() -> Iterator[Backend]:
    yield _loaded(resolve(SOURCE))


def _input(reader: Backend, data: bytes) -> PixelsInput:
    form = reader.describe().picture
    assert form is not None
    return pixels(Media(data), form)


def _read(reader: Backend, *files: bytes, **changed: object) -> EntityAnswers:
    batch = RunBatch(
        id=1,
        model_revision="r1",
        operation="extract",
        inputs=tuple(_input(reader, each) for each in files),
        **changed,  # type: ignore[arg-type]
    )
    found = reader.run(batch)
    assert isinstance(found, EntityAnswers)
    return found


def _plain(text: str) -> str:
    return re.sub(r"\s", "", text)


def test_a_picture_with_text_is_read_line_by_line(reader):
    found = _read(
        reader, encoded(drawn_text(*LINES)), encoded(drawn_text()), encoded(drawn_text("one line"))
    )
    first, empty, last = found.entities
    assert [_plain(line["text"]) for line in first] == [_plain(line) for line in LINES]
    assert empty == ()
    assert [_plain(line["text"]) for line in last] == ["oneline"]
    for place, line in enumerate(first):
        left, top, right, bottom = line["bbox"]
        assert line["label"] == "line" and line["score"] > 0.8
        assert 10 <= left < right <= 420
        assert 60 * place < (top + bottom) / 2 < 60 * place + 80


def test_a_picture_that_lies_on_its_side_is_turned_as_it_says(reader):
    turned = Image.Exif()
    turned[0x0112] = 8
    page = drawn_text("Invoice").transpose(Image.Transpose.ROTATE_270)
    found = _read(reader, encoded(page, "JPEG", quality=95, exif=turned.tobytes()))
    assert _plain("".join(line["text"] for line in found.entities[0])) == "Invoice"


def test_a_threshold_and_a_label_are_heeded(reader):
    page = encoded(drawn_text(LINES[0]))
    assert _read(reader, page, options={"threshold": 1.0}).entities == ((),)
    assert _read(reader, page, labels=("line",)).entities[0]
    with pytest.raises(FixRequest, match="finds the label 'line' alone"):
        _read(reader, page, labels=("person",))


def test_a_folder_without_its_graphs_is_refused(tmp_path: Path):
    with pytest.raises(OurFault, match=r"0 files \*_det_\*.onnx, and one is wanted"):
        _loaded(Weights(tmp_path, None))
    for part in ("det", "rec", "cls"):
        (tmp_path / f"a_{part}_b.onnx").write_bytes(b"no graph")
    with pytest.raises(OurFault, match="rapidocr cannot open"):
        _loaded(Weights(tmp_path, None))
