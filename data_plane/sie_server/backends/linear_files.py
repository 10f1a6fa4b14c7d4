"""Single linear layers that a model's folder keeps in files of their own.

*device* over verified safetensors files. No pickle is read here: those of a hub were converted.
"""

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from sie_server.backends.backend import load_failed
from sie_server.backends.sentence_layout import DenseStep
from sie_server.weights.sources import Weights

__all__ = ["DenseLayer", "dense_layer", "read_head"]


class DenseLayer(nn.Module):
    """A linear layer after the pooling, and the activation that follows it."""

    def __init__(self, linear: nn.Linear, step: DenseStep) -> None:
        super().__init__()
        self.linear = linear
        self.out_features = linear.out_features
        self._activation = step.activation

    def forward(self, values: Tensor) -> Tensor:
        """Row by row."""
        result: Tensor = self.linear(values)
        return result.tanh() if self._activation == "tanh" else result


def dense_layer(weights: Weights, step: DenseStep, device: torch.device) -> DenseLayer:
    """A layer after the pooling, in float32 as the pooling is. Raises MODEL_LOAD_FAILED."""
    linear = _linear(weights, step.file, prefix="linear.").to(device).float()
    return DenseLayer(linear, step)


def read_head(weights: Weights, file: str, model: PreTrainedModel) -> nn.Linear:
    """A small head on hidden states, where and as the model computes. Raises MODEL_LOAD_FAILED."""
    pickled = file.replace(".safetensors", ".pt")
    linear = _linear(
        weights,
        file,
        cure=f"convert {pickled} to safetensors (tensors `weight` and `bias`): no pickle is read",
    )
    return linear.to(device=model.device, dtype=model.dtype)


def _linear(weights: Weights, file: str, *, prefix: str = "", cure: str = "") -> nn.Linear:
    path = weights.file(file, cure=cure)
    try:
        tensors = load_file(path)
        weight, bias = tensors[f"{prefix}weight"], tensors.get(f"{prefix}bias")
    except (OSError, SafetensorError, KeyError) as error:
        raise load_failed(f"{path} holds no linear layer: {error}; restore it") from error
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear.eval()
