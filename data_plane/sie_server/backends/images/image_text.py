"""The backend `image-text`: texts and images as vectors of one space, by CLIP or SigLIP.

*device* over one torch model of two towers. Each tower runs by itself, so a batch is of texts or of
images; one that holds both is run in two parts. Texts come as token ids, images as the pixels that
the sidecar made of them. The reference's arithmetic on pixels is looked up in a table of 256 rows,
so that it is the same to the last bit. Answers `dense` in float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModel

from sie_layouts.folder import FolderFiles
from sie_layouts.images.image_text import ImageTextLayout, read_image_text
from sie_layouts.images.pictures import PictureLayout
from sie_schemas.errors import FixRequest, OurFault
from sie_schemas.ipc import (
    Answers,
    DenseAnswers,
    Input,
    Loaded,
    PictureForm,
    PixelsInput,
    RunBatch,
    TokensInput,
)
from sie_server.backends.backend import (
    Backend,
    DeviceSpec,
    ModelSpec,
    WithoutAdapters,
    load_failed,
    require_only,
    unit_length,
)
from sie_server.backends.forward.token_inputs import TokenLimits, read_tokens, token_input
from sie_server.backends.heads.vector_answers import float_bytes
from sie_server.backends.images.padding import Padding, padding_of
from sie_server.backends.model_files import dtype_choice, load_model
from sie_server.vectors.steps import VectorSteps, ended
from sie_server.weights.tokenizer_file import require_room, tokenizer_file

__all__ = ["ImageTextBackend", "load"]

_APART: Final = "the towers of texts and images run as they are"
_UNREAD: Final = ("logit_scale", "logit_bias")
"""Tensors of the distance between a text and an image, which no vector is made with."""
_LEVELS: Final = 256
"""Of a colour in a byte."""


def load(spec: ModelSpec, device: DeviceSpec) -> Backend:
    """Load a model of two towers. Raises MODEL_LOAD_FAILED."""
    require_only(spec, "encode", {"dense"})
    reading = read_image_text(FolderFiles(spec.weights.folder))
    if reading.layout is None:
        said = "; ".join(map(str, reading.refusals))
        raise load_failed(
            f"{spec.weights.folder} is not run as its authors' library would run it: {said}"
        )
    return ImageTextBackend(spec, device, _under(reading.layout, spec))


def _under(layout: ImageTextLayout, spec: ModelSpec) -> ImageTextLayout:
    """The layout with the profile's word over it."""
    unit = spec.profile.options.get("normalize")
    return layout if unit is None else changed(layout, steps=ended(layout.steps, unit=bool(unit)))


@dataclass(frozen=True, slots=True)
class _Texts:
    """The way from token ids to what the text tower takes."""

    limits: TokenLimits
    padding: Padding
    filled_to: int
    """The length of every text; 0: that of the longest in its batch."""


class ImageTextBackend(WithoutAdapters):
    """Both towers, and the steps behind them."""

    name = "image-text"

    def __init__(self, spec: ModelSpec, device: DeviceSpec, layout: ImageTextLayout) -> None:
        self._spec = spec
        self._layout = layout
        self._place = torch.device(device.name)
        self._dtype = dtype_choice(spec, device)
        inside = spec.weights.inside(layout.folder)
        self._model: Any = load_model(
            changed(spec, weights=inside), device, AutoModel, may_lack=_UNREAD
        )
        self._tokenizer = tokenizer_file(inside.folder, device.cache_folder, layout.text)
        tokens_max = min(
            each for each in (layout.text.tokens_max, spec.profile.max_sequence_length) if each
        )
        require_room(self._tokenizer.path, tokens_max, is_pair=False)
        self._texts = _Texts(
            limits=TokenLimits(
                self._model.config.text_config.vocab_size, types=0, tokens_max=tokens_max
            ),
            padding=padding_of(inside.folder, causal=layout.family == "clip"),
            filled_to=tokens_max if layout.filled else 0,
        )
        self._levels = _levels(layout.picture).to(self._place)
        self._steps = VectorSteps(layout.steps, spec.weights, self._place, kept=layout.kept)
        # By a vector that is made: steps behind a tower may change its width.
        self._width = self._vectors([token_input([0])]).shape[1]

    def describe(self) -> Loaded:
        """Token ids in, and pixels beside them."""
        picture, texts = self._layout.picture, self._texts
        return Loaded(
            id=0,
            revision=self._spec.revision,
            accepts="tokens",
            tokenizer_path=str(self._tokenizer.path),
            tokenizer_sha256=self._tokenizer.sha256,
            truncation_side=self._tokenizer.truncation_side,
            max_sequence_length=texts.limits.tokens_max,
            # A text that is filled up costs what it is filled up to.
            cost_unit="items" if texts.filled_to else "tokens",
            item_cost=max(1, texts.filled_to),
            execution="padded",
            reason=_APART,
            dims={"dense": self._width},
            batch_invariant=self._spec.profile.batch_invariant,
            memory_bytes=self.memory_bytes(),
            dtype=self._dtype.name,
            dtype_reason=self._dtype.why,
            picture=PictureForm(
                shortest=picture.shortest,
                size=None if picture.shortest else picture.size,
                resample=picture.resample,
                crop=(picture.edge, picture.edge) if picture.cropped else None,
                cost=max(1, picture.patches),
            ),
        )

    def run(self, batch: RunBatch) -> Answers:
        """Vectors in the order of the inputs."""
        self.require(batch, "encode", {"dense"})
        if not batch.inputs:
            raise FixRequest("the batch has no inputs", field="inputs")
        unit = unit_length(batch, self._spec.model_id, {"dense"})
        rows = self._vectors(batch.inputs, unit=unit)
        if not rows.isfinite().all():
            raise OurFault(
                f"{self._spec.model_id} gave numbers that are not finite in {self._dtype.name}; "
                "run it in fp32 or bf16",
                code="INFERENCE_ERROR",
            )
        return DenseAnswers(rows.shape[1], float_bytes(rows))

    def memory_bytes(self) -> int:
        """Bytes of the weights."""
        weights = [*self._model.parameters(), *self._model.buffers()]
        return sum(each.numel() * each.element_size() for each in weights)

    @torch.inference_mode()
    def _vectors(self, inputs: Sequence[Input], *, unit: bool | None = None) -> Tensor:
        texts = [each for each in inputs if isinstance(each, TokensInput)]
        images = [each for each in inputs if isinstance(each, PixelsInput)]
        if len(texts) + len(images) < len(inputs):
            raise FixRequest("an input is neither token ids nor pixels", field="inputs")
        # All that is wrong is told before the device is touched.
        ids = read_tokens(texts, self._texts.limits)[0] if texts else []
        pixels = _stacked(images, self._layout.picture.edge) if images else None
        parts = [self._of_texts(ids)] if texts else []
        parts += [self._of_images(pixels)] if pixels is not None else []
        rows = self._steps.of_vectors(torch.cat(parts).float(), unit=unit)
        if len(parts) == 1:
            return rows
        of_texts, of_images = iter(rows[: len(texts)]), iter(rows[len(texts) :])
        return torch.stack(
            [next(of_texts if isinstance(each, TokensInput) else of_images) for each in inputs]
        )

    def _of_texts(self, ids: Sequence[Tensor]) -> Tensor:
        """Vectors [texts, width]."""
        width = self._texts.filled_to or max(len(own) for own in ids)
        filled, mask = self._texts.padding.filled(ids, width)
        found = self._model.get_text_features(
            input_ids=filled.to(self._place),
            attention_mask=None if mask is None else mask.to(self._place),
            return_dict=True,
        )
        vectors: Tensor = found.pooler_output
        return vectors

    def _of_images(self, pixels: Tensor) -> Tensor:
        """Vectors [images, width] of bytes [images, height, width, 3]."""
        there = pixels.to(self._place).int()
        planes = [self._levels[:, plane][there[..., plane]] for plane in range(there.shape[-1])]
        values = torch.stack(planes, dim=1).to(self._model.dtype)
        found = self._model.get_image_features(pixel_values=values, return_dict=True)
        vectors: Tensor = found.pooler_output
        return vectors


def _levels(picture: PictureLayout) -> Tensor:
    """The number that each level of each colour becomes, [256, 3], as the reference makes it."""
    values = np.repeat(np.arange(_LEVELS, dtype=np.float64)[:, None], 3, axis=1)
    if picture.factor is not None:
        values = values * picture.factor
    levels = values.astype(np.float32)
    if picture.mean is not None and picture.std is not None:
        mean, std = np.array(picture.mean, np.float32), np.array(picture.std, np.float32)
        return torch.from_numpy((levels - mean) / std)
    return torch.from_numpy(levels)


def _stacked(images: Sequence[PixelsInput], edge: int) -> Tensor:
    """Bytes [images, edge, edge, 3]. Raises `FixRequest` for pixels of another shape."""
    for index, image in enumerate(images):
        if (image.height, image.width, len(image.data)) != (edge, edge, 3 * edge * edge):
            raise FixRequest(
                f"image {index} is {image.height} by {image.width} pixels in {len(image.data)} "
                f"bytes; this model reads {edge} by {edge}",
                field="inputs",
            )
    # torch warns of memory that it might write to and may not.
    joined = bytearray(b"".join(image.data for image in images))
    return torch.frombuffer(joined, dtype=torch.uint8).reshape(len(images), edge, edge, 3)
