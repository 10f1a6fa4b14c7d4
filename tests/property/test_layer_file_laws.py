"""Laws of the small layers in files of their own: each is what its formula says, or is refused."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tests.support.sameness import assert_same
from torch import Tensor

from sie_layouts.steps import AutoEncoderStep, DenseStep, LayerNormStep, Step
from sie_schemas.errors import OurFault
from sie_server.vectors.layer_files import Layer, auto_encoder, dense_layer, layer_norm
from sie_server.weights.sources import Weights

CPU = torch.device("cpu")
FILE = "model.safetensors"
ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "Tanh": torch.tanh,
    "ReLU": lambda values: values.clamp(min=0),
    "Identity": lambda values: values,
}
WIDTHS = st.integers(1, 5)
TYPES = st.sampled_from([torch.float32, torch.float16])
DENSE = st.builds(
    DenseStep,
    file=st.just(FILE),
    in_features=WIDTHS,
    out_features=WIDTHS,
    bias=st.booleans(),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    residual=st.booleans(),
    beside=st.booleans(),
)
AUTO = st.integers(2, 6).flatmap(
    lambda width: st.builds(
        AutoEncoderStep,
        file=st.just(FILE),
        in_features=st.integers(2, 4),
        width=st.just(width),
        kept=st.integers(1, width),
        normalize=st.booleans(),
    )
)


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def loaded(
    make: Callable[..., Layer], step: Any, tensors: Mapping[str, Tensor], *pinned: str
) -> Layer:
    """A layer, whose file is written by somebody once it is loaded."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        save_file(dict(tensors), path)
        layer = make(Weights(Path(folder), frozenset(pinned or {FILE})), step, CPU)
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
        return layer


def same(found: Tensor, wanted: Tensor) -> None:
    assert found.dtype == torch.float32
    assert_same(found.numpy(), wanted.float().numpy())


@given(step=DENSE, kind=TYPES, seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_a_dense_layer_is_its_product_its_activation_and_what_is_added_of_its_input(
    step, kind, seed
):
    """The residual comes behind the activation. A file that holds a model too says the shape."""
    square = step.in_features == step.out_features
    tensors = {"linear.weight": random(step.out_features, step.in_features, seed=seed)}
    if step.bias:
        tensors["linear.bias"] = random(step.out_features, seed=seed + 1)
    if step.beside:
        step = replace(step, residual=False, in_features=9, out_features=9)
        tensors["encoder.weight"] = random(2, 2, seed=seed)
    if step.residual and not square:
        shape = (step.out_features, step.in_features)
        tensors["residual.weight"] = random(*shape, seed=seed + 2)
    tensors = {name: tensor.to(kind) for name, tensor in tensors.items()}
    values = random(3, tensors["linear.weight"].shape[1], seed=seed + 3)
    wanted = values @ tensors["linear.weight"].float().T
    if step.bias:
        wanted = wanted + tensors["linear.bias"].float()
    wanted = ACTIVATIONS[step.activation](wanted)
    if step.residual:
        added = tensors.get("residual.weight")
        wanted = wanted + (values if added is None else values @ added.float().T)
    same(loaded(dense_layer, step, tensors)(values), wanted)


@given(width=st.integers(2, 5), kind=TYPES, seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_a_normalisation_is_of_each_row_and_of_its_own_weight_and_bias(width, kind, seed):
    weight, bias = (random(width, seed=seed + at).to(kind) for at in range(2))
    values = random(3, width, seed=seed + 2)
    centred = values - values.mean(dim=1, keepdim=True)
    unit = centred / (centred.pow(2).mean(dim=1, keepdim=True) + 1e-5).sqrt()
    layer = loaded(
        layer_norm, LayerNormStep(FILE, width), {"norm.weight": weight, "norm.bias": bias}
    )
    same(layer(values), unit * weight.float() + bias.float())


@given(
    step=AUTO,
    kind=TYPES,
    name=st.sampled_from(["encoder.weight", "decoder.linear.weight"]),
    data=st.data(),
)
@settings(deadline=None, max_examples=40)
def test_of_the_latent_weights_the_greatest_are_kept_and_none_below_zero(step, kind, name, data):
    """Of a row the greatest by their sign: a strong negative one is no weight."""
    seed = data.draw(st.integers(0, 99))
    matrix = random(step.width, step.in_features, seed=seed)
    tensors = {
        name: matrix,
        "pre_bias": random(step.in_features, seed=seed + 1),
        "latent_bias": random(step.width, seed=seed + 2),
    }
    if data.draw(st.booleans()):
        tensors |= {"encoder.weight": matrix, "decoder.linear.weight": matrix.clone()}
    tensors = {each: tensor.to(kind) for each, tensor in tensors.items()}
    before, after = tensors["pre_bias"].float(), tensors["latent_bias"].float()
    values = random(3, step.in_features, seed=seed + 3)
    rows = values
    if step.normalize:
        rows = (rows - rows.mean(dim=1, keepdim=True)) / (rows.std(dim=1, keepdim=True) + 1e-5)
    latent = (rows - before) @ matrix.to(kind).float().T + after
    wanted = torch.zeros_like(latent)
    for row, told in zip(latent, wanted, strict=True):
        for place in sorted(range(step.width), key=lambda at: -float(row[at]))[: step.kept]:
            told[place] = max(0.0, float(row[place]))
    same(loaded(auto_encoder, step, tensors)(values), wanted)


MAKERS: Mapping[str, tuple[Callable[..., Layer], Step, Mapping[str, tuple[int, ...]]]] = {
    "dense": (
        dense_layer,
        DenseStep(FILE, 2, 3, residual=True),
        {"linear.weight": (3, 2), "linear.bias": (3,), "residual.weight": (3, 2)},
    ),
    "norm": (layer_norm, LayerNormStep(FILE, 2), {"norm.weight": (2,), "norm.bias": (2,)}),
    "sparse": (
        auto_encoder,
        AutoEncoderStep(FILE, 2, 3, 1, normalize=False),
        {"encoder.weight": (3, 2), "pre_bias": (2,), "latent_bias": (3,)},
    ),
}


@pytest.mark.parametrize("made", MAKERS.values(), ids=MAKERS)
@given(data=st.data())
@settings(deadline=None, max_examples=20)
def test_a_file_with_another_tensor_than_its_config_wants_is_refused(made, data):
    """One too few would be random, one too many is not used, and one of another shape is another
    model's."""
    make, step, shapes = made
    tensors = {name: random(*shape, seed=1) for name, shape in shapes.items()}
    loaded(make, step, tensors)
    name = data.draw(st.sampled_from(sorted(shapes)))
    match data.draw(st.sampled_from(["none", "another", "shape"])):
        case "none":
            del tensors[name]
        case "another":
            tensors["another"] = random(1, seed=1)
        case _:
            tensors[name] = random(*[size + 1 for size in shapes[name]], seed=1)
    with pytest.raises(OurFault):
        loaded(make, step, tensors)
    with pytest.raises(OurFault, match="is not in the source's manifest"):
        loaded(make, step, tensors, "config.json")


def test_two_matrices_under_the_names_of_one_are_refused():
    _, step, shapes = MAKERS["sparse"]
    tensors = {name: random(*shape, seed=1) for name, shape in shapes.items()}
    tensors["decoder.linear.weight"] = tensors["encoder.weight"] + 1
    with pytest.raises(OurFault, match="differ"):
        loaded(auto_encoder, step, tensors)
