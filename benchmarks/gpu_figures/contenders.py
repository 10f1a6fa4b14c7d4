"""The contenders on one device: this engine, padded attention, and sentence-transformers.

*device.* Each is given texts and gives vectors, its tokenizing included. The precision is checked
by the distance of the vectors to float32.
"""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel

from gpu_figures.shapes import Shape

__all__ = ["Encode", "Engine", "adapters", "sentence_transformers"]

Encode: TypeAlias = Callable[[Sequence[str]], Tensor]
_PADDED_TOKENS_MAX = 65_536
"""128 texts of 512 tokens in one call: padded attention is to have the device's whole width."""


class Engine:
    """The cluster's own encoder, with mean pooling in float32."""

    def __init__(self, model: PreTrainedModel, tokenizer: Tokenizer, device: torch.device) -> None:
        encoder = importlib.import_module("sie_server.backends.forward.encoder")
        self.model = model
        self._device = device
        self._tokenizer = tokenizer
        self._encoder = encoder.Encoder(model, device=device)
        self._sequences = encoder.Sequences

    @torch.inference_mode()
    def vectors(
        self, texts: Sequence[str], adapters: Sequence[Any] = (), *, padded: bool = False
    ) -> Tensor:
        """One vector for each text, in its place. Adapters are dealt out in turn."""
        ids = [torch.tensor(found.ids) for found in self._tokenizer.encode_batch(list(texts))]
        self._encoder.choose("padded" if padded else "packed")
        owners = [place % len(adapters) if adapters else None for place in range(len(ids))]
        batch = self._sequences(ids=ids, type_ids=[None] * len(ids), owners=owners)
        states = (
            self._encoder.padded(batch, adapters, tokens_max=_PADDED_TOKENS_MAX)
            if padded
            else self._encoder.packed(batch, adapters)
        )
        device = self._device
        sizes = torch.tensor([len(ids[index]) for index in states.order], device=device)
        places = torch.tensor(states.order, device=device).repeat_interleave(sizes)
        sums = torch.zeros(len(ids), states.hidden.shape[1], device=device)
        return sums.index_add_(0, places, states.hidden.float())


def sentence_transformers(
    folder: Path, dtype: torch.dtype, device: torch.device, batch_size: int
) -> Encode:
    """The library in the same precision, which sorts by length itself; mean pooling."""
    library = importlib.import_module("sentence_transformers")
    model = library.SentenceTransformer(
        str(folder), device=device.type, model_kwargs={"dtype": dtype}
    )

    def encode(texts: Sequence[str]) -> Tensor:
        found: Tensor = model.encode(
            list(texts), batch_size=batch_size, show_progress_bar=False, convert_to_tensor=True
        )
        return found

    return encode


def adapters(model: PreTrainedModel, shape: Shape, folder: Path, count: int) -> list[Any]:
    """Adapters of rank 8 as peft writes them, read and bound as the cluster does."""
    peft = importlib.import_module("peft")
    formats = importlib.import_module("sie_server.adapters.lora_format")
    lora = importlib.import_module("sie_server.adapters.lora")
    found: list[Any] = []
    for place in range(count):
        torch.manual_seed(place)
        config = peft.LoraConfig(r=8, target_modules=shape.projections, init_lora_weights=False)
        wrapped = peft.get_peft_model(model, config)
        wrapped.save_pretrained(folder / str(place))
        # peft changes the model that it wraps: it must come out as it went in.
        wrapped.unload()
        products, told = formats.read_adapter(folder / str(place))
        found.append(lora.bind(products, model, told, prefix=model.base_model_prefix))
    return found
