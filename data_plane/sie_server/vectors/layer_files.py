"""Small layers that a model's folder keeps in files of their own.

*device* over verified safetensors files. No pickle is read here: those of a hub were converted when
they were fetched. What a layout says of a layer has to be the shape of its weights. Layers are
float32, as the pooling is.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from sie_layouts.architectures.tensors.layers import layer_shapes
from sie_layouts.steps import AutoEncoderStep, DenseStep, LayerNormStep
from sie_server.failures import load_failed
from sie_server.weights.own_tensors import own_tensors
from sie_server.weights.sources import Weights

__all__ = ["Layer", "auto_encoder", "dense_layer", "layer_norm", "read_head", "read_tensors"]

Layer = Callable[[Tensor], Tensor]
"""Rows in, rows out."""


class _DenseLayer(nn.Module):
    """A linear layer, the activation that follows it, and what is added of its input."""

    def __init__(self, linear: nn.Linear, step: DenseStep, residual: nn.Module | None) -> None:
        super().__init__()
        self.linear = linear
        self.activation = getattr(nn, step.activation)()
        self.residual = residual
        self.eval()

    def forward(self, values: Tensor) -> Tensor:
        """Row by row."""
        result: Tensor = self.activation(self.linear(values))
        return result if self.residual is None else result + self.residual(values)


def dense_layer(weights: Weights, step: DenseStep, device: torch.device) -> Layer:
    """A linear layer and its activation. Raises MODEL_LOAD_FAILED."""
    tensors = read_tensors(weights, step.file)
    if step.beside:
        tensors = {name: one for name, one in tensors.items() if name.startswith("linear.")}
        found = tensors.get("linear.weight")
        out, into = (0, 0) if found is None else (found.shape[0], found.shape[1])
        step = replace(step, out_features=out, in_features=into)
    _require_shapes(step, tensors)
    residual: nn.Module | None = None
    if step.residual:
        beside = tensors.get("residual.weight")
        residual = nn.Identity() if beside is None else _linear(beside, None)
    linear = _linear(tensors["linear.weight"], tensors.get("linear.bias"))
    return _DenseLayer(linear, step, residual).to(device).float()


def layer_norm(weights: Weights, step: LayerNormStep, device: torch.device) -> Layer:
    """A layer normalisation. Raises MODEL_LOAD_FAILED."""
    tensors = read_tensors(weights, step.file)
    _require_shapes(step, tensors)
    norm = nn.LayerNorm(step.width)
    norm.load_state_dict({name.removeprefix("norm."): one for name, one in tensors.items()})
    return norm.to(device).float().eval().requires_grad_(False)


def auto_encoder(weights: Weights, step: AutoEncoderStep, device: torch.device) -> Layer:
    """The latent weights of a sparse auto-encoder, all but the greatest zero.

    Raises MODEL_LOAD_FAILED.
    """
    tensors = read_tensors(weights, step.file)
    _require_shapes(step, tensors)
    names = [name for name in ("encoder.weight", "decoder.linear.weight") if name in tensors]
    if not torch.equal(tensors[names[0]], tensors[names[-1]]):
        raise load_failed(f"{step.file} holds two matrices for one: {' and '.join(names)} differ")
    matrix, before, after = (
        tensors[name].to(device).float() for name in (names[0], "pre_bias", "latent_bias")
    )

    def encode(values: Tensor) -> Tensor:
        if step.normalize:
            centred = values - values.mean(dim=-1, keepdim=True)
            # To the deviation, as the reference has it; torch's layer norm adds to the variance.
            values = centred / (centred.std(dim=-1, keepdim=True) + 1e-5)
        latent = nn.functional.linear(values - before, matrix, after)
        greatest = torch.topk(latent, step.kept, dim=-1)
        kept = torch.zeros_like(latent).scatter_(-1, greatest.indices, greatest.values)
        return kept.relu()

    return encode


def read_head(weights: Weights, file: str, model: PreTrainedModel) -> nn.Linear:
    """A small head on hidden states, where and as the model computes. Raises MODEL_LOAD_FAILED."""
    pickled = file.replace(".safetensors", ".pt")
    tensors = read_tensors(
        weights,
        file,
        cure=f"convert {pickled} to safetensors (tensors `weight` and `bias`): no pickle is read",
    )
    if "weight" not in tensors:
        raise load_failed(f"{file} holds no linear layer: it has no `weight`; restore it")
    head = _linear(tensors["weight"], tensors.get("bias"))
    return head.to(device=model.device, dtype=model.dtype)


def read_tensors(weights: Weights, file: str, *, cure: str = "") -> dict[str, Tensor]:
    """The tensors of a file inside the folder. Raises MODEL_LOAD_FAILED."""
    pickled = file.replace("model.safetensors", "pytorch_model.bin")
    path = weights.file(
        file, cure=cure or f"convert {pickled} to safetensors, if it is there: no pickle is read"
    )
    try:
        tensors: dict[str, Tensor] = own_tensors(load_file(path))
    except (OSError, SafetensorError) as error:
        raise load_failed(f"{path} is no file of tensors: {error}; restore it") from error
    return tensors


def _require_shapes(
    step: DenseStep | LayerNormStep | AutoEncoderStep, tensors: Mapping[str, Tensor]
) -> None:
    """The very tensors that are wanted: one too few would be random, one too many is not used."""
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wanted = layer_shapes(step, set(found))
    if found != wanted:
        raise load_failed(
            f"{step.file} holds {found}, and the config beside it wants {wanted}; restore them"
        )


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear.eval()
