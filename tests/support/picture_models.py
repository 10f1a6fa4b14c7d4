"""Small random models of texts and images, as transformers saves them, and pictures for them."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece as spm
import torch
import transformers as tf
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps
from tests.support.conformance import Answerer, save_small
from tests.support.encoder_models import fresh_device
from tests.support.small_tokenizers import WORDS, byte_pairs

from sie_schemas import ipc
from sie_schemas.documents import EncodeTask, ProfileDocument, Tasks
from sie_schemas.items import Media
from sie_server.backends.backend import Backend, ModelSpec
from sie_server.backends.images import image_text
from sie_server.weights.sources import Weights
from sie_worker.forms.pictures import pixels

__all__ = [
    "EDGE",
    "LENGTH",
    "PictureAnswerer",
    "drawn_text",
    "encoded",
    "load_towers",
    "picture",
    "pictures",
    "reference_vectors",
    "save_clip",
    "save_siglip",
    "save_siglip_1",
    "save_siglip_with",
    "upright",
]

EDGE = 32
LENGTH = 16
"""Tokens of the longest text."""
_TOWER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
_IMAGES: dict[str, Any] = {**_TOWER, "image_size": EDGE, "patch_size": 8}


def _words(*special: str) -> tuple[dict[str, int], Any]:
    return byte_pairs(*special)


def save_clip(folder: Path, *, edge: int = EDGE, legacy: bool = False, **processor: Any) -> Path:
    """A CLIP; `legacy` is the older config, of which the last token is found by its number."""
    vocabulary, merges = _words("<pad>", "<unk>", "<|startoftext|>", "<|endoftext|>")
    if legacy:
        names = [name for name in vocabulary if name != "<|endoftext|>"]
        names = [*names, "<|endoftext|>"]
        vocabulary = {name: place for place, name in enumerate(names)}
    tokenizer = tf.CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH)
    config = tf.CLIPConfig(
        text_config={
            **_TOWER,
            "vocab_size": len(vocabulary),
            "max_position_embeddings": LENGTH,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": 2 if legacy else tokenizer.eos_token_id,
        },
        vision_config={**_IMAGES, "image_size": edge},
        projection_dim=24,
    )
    save_small(folder, tf.CLIPModel(config), tokenizer)
    told = {"size": {"shortest_edge": edge}, "crop_size": {"height": edge, "width": edge}}
    tf.CLIPImageProcessorPil(**{**told, **processor}).save_pretrained(folder)
    return folder


def save_siglip(folder: Path, *, edge: int = EDGE, masked: bool = False, **processor: Any) -> Path:
    """A SigLIP 2 of one resolution; `masked` says that its tokenizer hides what fills texts up."""
    vocabulary, merges = _words("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
    told = ["input_ids", "attention_mask"] if masked else ["input_ids"]
    tokenizer = tf.Siglip2Tokenizer(
        vocab=vocabulary, merges=merges, padding_side="right", model_input_names=told
    )
    return save_siglip_with(folder, tokenizer, len(vocabulary), edge=edge, **processor)


def save_siglip_1(folder: Path) -> Path:
    """A first SigLIP: its tokenizer is its authors' class around a SentencePiece file."""
    folder.mkdir(parents=True, exist_ok=True)
    held = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(WORDS), " ".join(WORDS[::-1])] * 4),
        model_writer=held,
        vocab_size=90,
        hard_vocab_limit=False,
        pad_id=-1,
        bos_id=-1,
        eos_id=1,
        unk_id=0,
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(held.getvalue())
    tokenizer = tf.SiglipTokenizer(
        str(folder / "spiece.model"), model_max_length=LENGTH, model_input_names=["input_ids"]
    )
    return save_siglip_with(folder, tokenizer, len(tokenizer))


def save_siglip_with(
    folder: Path, tokenizer: Any, size: int, *, edge: int = EDGE, **processor: Any
) -> Path:
    """A SigLIP with any tokenizer of `size` words."""
    config = tf.SiglipConfig(
        text_config={**_TOWER, "vocab_size": size, "max_position_embeddings": LENGTH},
        vision_config={**_IMAGES, "image_size": edge},
    )
    save_small(folder, tf.SiglipModel(config), tokenizer)
    told: dict[str, Any] = {"size": {"height": edge, "width": edge}}
    tf.SiglipImageProcessorPil(**{**told, **processor}).save_pretrained(folder)
    return folder


def load_towers(folder: Path, **profile: Any) -> Backend:
    """The backend of a folder. Raises MODEL_LOAD_FAILED."""
    document = ProfileDocument(backend="image-text", **profile)
    tasks = Tasks(encode=EncodeTask())
    return image_text.load(
        ModelSpec("test/model", "r1", Weights(folder, None), tasks, document), fresh_device()
    )


class PictureAnswerer(Answerer):
    """One loaded folder that answers texts and images."""

    def images(self, files: Sequence[bytes]) -> list[ipc.PixelsInput]:
        """The inputs that the sidecar makes of files."""
        assert self.loaded.picture is not None
        return [pixels(Media(file), self.loaded.picture) for file in files]

    def of_images(self, files: Sequence[bytes]) -> NDArray[np.float32]:
        """One row for each file, all in one batch."""
        return self.answered(self.images(files))


def picture(width: int, height: int, *, mode: str = "RGB", seed: int = 1) -> Image.Image:
    """A picture with edges, gradients and noise."""
    random = np.random.default_rng(seed)
    across = np.linspace(0, 255, width)[None, :, None]
    down = np.linspace(255, 0, height)[:, None, None]
    noise = random.integers(0, 90, (height, width, 3))
    values = np.clip((across + down) / 2 + noise - 45, 0, 255).astype(np.uint8)
    made = Image.fromarray(values)
    draw = ImageDraw.Draw(made)
    draw.ellipse((width // 4, height // 4, width // 2, height // 2), fill=(220, 30, 40))
    draw.line((0, 0, width, height), fill=(10, 60, 200), width=3)
    if mode in ("RGBA", "LA"):
        made.putalpha(Image.fromarray((across[:, :, 0] + down[:, :, 0]).astype(np.uint8) % 255))
    if mode == "I;16":
        return Image.fromarray((values[:, :, 0].astype(np.uint16)) * 257)
    return made.convert(mode)


def drawn_text(*lines: str) -> Image.Image:
    """A page with these lines on it."""
    page = Image.new("RGB", (420, 60 * len(lines) + 20), (250, 250, 245))
    draw = ImageDraw.Draw(page)
    for place, line in enumerate(lines):
        draw.text((20, 15 + 60 * place), line, fill=(15, 15, 40), font=ImageFont.load_default(34))
    return page


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of a file of a picture."""
    held = io.BytesIO()
    image.save(held, format=kind, **options)
    return held.getvalue()


def pictures() -> dict[str, bytes]:
    """Files of many sizes, modes and formats, by a name for each."""
    turned = Image.Exif()
    turned[0x0112] = 6
    palette = picture(40, 50).convert("P", palette=Image.Palette.ADAPTIVE, colors=17)
    return {
        "square": encoded(picture(EDGE, EDGE)),
        "wide": encoded(picture(97, 41), "JPEG", quality=90),
        "high": encoded(picture(33, 120), "WEBP", lossless=True),
        "small": encoded(picture(7, 5)),
        "one pixel": encoded(picture(1, 1)),
        "RGBA": encoded(picture(60, 45, mode="RGBA")),
        "LA": encoded(picture(31, 45, mode="LA")),
        "L": encoded(picture(64, 64, mode="L")),
        "1": encoded(picture(64, 40, mode="1")),
        "P": encoded(palette, "GIF"),
        "P with a hole": encoded(palette, "PNG", transparency=3),
        "CMYK": encoded(picture(50, 70, mode="CMYK"), "JPEG"),
        "16 bits": encoded(picture(45, 37, mode="I;16")),
        "TIFF": encoded(picture(39, 71), "TIFF"),
        "BMP": encoded(picture(80, 20), "BMP"),
        "turned": encoded(picture(90, 40), "JPEG", exif=turned.tobytes()),
        "frames": encoded(
            picture(50, 40), "GIF", save_all=True, append_images=[picture(50, 40, seed=2)]
        ),
    }


def reference_vectors(
    folder: Path, texts: Sequence[str], files: Sequence[bytes], *, max_length: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The vectors of transformers' own processor and model, each input alone."""
    model = tf.AutoModel.from_pretrained(folder).eval()
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    processor = tf.AutoImageProcessor.from_pretrained(folder, backend="pil")
    padding: dict[str, Any] = (
        {"padding": "max_length", "max_length": LENGTH} if max_length else {"padding": True}
    )
    with torch.inference_mode():
        of_texts = [
            model.get_text_features(
                **tokenizer([text], truncation=True, return_tensors="pt", **padding)
            ).pooler_output
            for text in texts
        ]
        of_images = [
            model.get_image_features(
                **processor(images=[upright(file)], return_tensors="pt")
            ).pooler_output
            for file in files
        ]
    return torch.cat(of_texts).numpy(), torch.cat(of_images).numpy()


def upright(file: bytes) -> Image.Image:
    """The picture in a file, turned as it says."""
    return ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
