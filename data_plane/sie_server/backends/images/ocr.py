"""The backend `ocr`: the lines of text in an image, by the ONNX models of PP-OCR.

*shell* over three graphs of one folder (`*_det_*`, `*_rec_*` and `*_cls_*`, which finds lines that
stand on their heads), run by `rapidocr`, their packager's library. Takes pixels; answers `entities`
with the label `line`: text, score, and `bbox`, which is left, top, right and bottom in pixels of
the upright image. Lines come in reading order, as the library has it. Nothing is downloaded.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from rapidocr import RapidOCR

from sie_schemas.errors import FixRequest
from sie_schemas.ipc import Answers, EntityAnswers, Loaded, PictureForm, PixelsInput, RunBatch
from sie_server.backends.backend import (
    Backend,
    DeviceSpec,
    ModelSpec,
    WithoutAdapters,
    load_failed,
    require_only,
    take,
)

__all__ = ["OcrBackend", "load"]

_LABEL: Final = "line"
_PARTS: Final = {"Det": "_det_", "Rec": "_rec_", "Cls": "_cls_"}
"""The library's names of its parts, and what stands in the names of their files."""
_COST: Final = 1024
"""The cost of an image, in about what a text of so many tokens costs."""
_THRESHOLD: Final = 0.5
"""The library's own: lines below it are mostly none."""


def load(spec: ModelSpec, device: DeviceSpec) -> Backend:
    """Open the three graphs of a folder. Raises MODEL_LOAD_FAILED."""
    require_only(spec, "extract")
    assert spec.tasks.extract is not None, "it does nothing else"
    if told := _not_told(spec.tasks.extract.labels):
        raise load_failed(f"tasks.extract.labels of the config: {spec.model_id} {told}")
    params: dict[str, Any] = {
        "Global.log_level": "error",
        "EngineConfig.onnxruntime.intra_op_num_threads": device.threads,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
    }
    graphs = {part: _graph(spec, words) for part, words in _PARTS.items()}
    for part, path in graphs.items():
        params[f"{part}.model_path"] = str(path)
    try:
        reader = RapidOCR(params=params)
        # It opens its graphs with the first image: a damaged one is to be told now.
        reader(np.full((64, 64, 3), 255, np.uint8))
    except Exception as error:  # the library raises no narrower class
        raise load_failed(
            f"rapidocr cannot open {spec.weights.folder}: {error}; restore the folder"
        ) from error
    return OcrBackend(spec, reader, sum(path.stat().st_size for path in graphs.values()))


def _not_told(labels: Sequence[str]) -> str:
    """The reason why labels are none of a reader of lines; empty if there is none."""
    return f"finds the label {_LABEL!r} alone" if set(labels) - {_LABEL} else ""


def _graph(spec: ModelSpec, words: str) -> Path:
    found = [path for path in sorted(spec.weights.folder.glob("*.onnx")) if words in path.name]
    if len(found) != 1:
        raise load_failed(
            f"{spec.weights.folder} has {len(found)} files *{words}*.onnx, and one is wanted"
        )
    return spec.weights.file(found[0].name)


class OcrBackend(WithoutAdapters):
    """Three graphs, owned by the device's thread."""

    name = "ocr"

    def __init__(self, spec: ModelSpec, reader: Any, graph_bytes: int) -> None:
        self._spec = spec
        self._reader = reader
        self._graph_bytes = graph_bytes
        self._threshold = float(spec.profile.options.get("threshold", _THRESHOLD))

    def describe(self) -> Loaded:
        """Pixels in, of any size; lines out."""
        return Loaded(
            id=0,
            revision=self._spec.revision,
            accepts="image",
            truncation_side="",
            cost_unit="items",
            item_cost=_COST,
            execution="padded",
            reason="an image is read by itself",
            batch_invariant=self._spec.profile.batch_invariant,
            memory_bytes=self.memory_bytes(),
            picture=PictureForm(cost=_COST),
        )

    def memory_bytes(self) -> int:
        """Bytes of the graphs' files, which their weights dominate."""
        return self._graph_bytes

    def run(self, batch: RunBatch) -> Answers:
        """The lines of each image, one image after another."""
        self.require(batch, "extract")
        if told := _not_told(batch.labels):
            raise FixRequest(f"{self._spec.model_id} {told}", field="labels")
        threshold = float(batch.options.get("threshold", self._threshold))
        images = [_rows(given, place) for place, given in enumerate(take(batch, PixelsInput))]
        return EntityAnswers(tuple(self._lines(image, threshold) for image in images))

    def _lines(self, image: np.ndarray[Any, Any], threshold: float) -> tuple[dict[str, Any], ...]:
        # The library takes colours in the order of OpenCV.
        found = self._reader(np.ascontiguousarray(image[:, :, ::-1]), text_score=threshold)
        if found.txts is None or found.boxes is None:
            return ()
        told = zip(found.txts, found.scores, found.boxes, strict=True)
        return tuple(
            {
                "text": str(text),
                "label": _LABEL,
                "score": float(score),
                "bbox": _bounds(corners, image.shape[1], image.shape[0]),
            }
            for text, score, corners in told
        )


def _rows(given: PixelsInput, place: int) -> np.ndarray[Any, Any]:
    """The image as [height, width, 3]. Raises `FixRequest` for bytes of another shape."""
    if given.height < 1 or given.width < 1 or len(given.data) != 3 * given.height * given.width:
        raise FixRequest(
            f"image {place} is {given.height} by {given.width} pixels in {len(given.data)} bytes",
            field=f"inputs.{place}",
        )
    return np.frombuffer(given.data, np.uint8).reshape(given.height, given.width, 3)


def _bounds(corners: Any, width: int, height: int) -> list[float]:
    across = [min(max(float(point[0]), 0.0), float(width)) for point in corners]
    down = [min(max(float(point[1]), 0.0), float(height)) for point in corners]
    return [min(across), min(down), max(across), max(down)]
