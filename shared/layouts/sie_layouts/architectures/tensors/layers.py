"""The tensors of a layer that a folder keeps in a file of its own, by the step that names it.

*pure* over `Files`. The loader asks for the very same: one too few would be random, one too many
would not be used.
"""

from collections.abc import Iterator, Mapping

from sie_layouts.architectures.tensors.headers import read_header
from sie_layouts.facts import Files, Refusal
from sie_layouts.steps import AutoEncoderStep, DenseStep, LayerNormStep, Step

__all__ = ["Shapes", "layer_shapes", "unlike_layers"]

Shapes = dict[str, tuple[int, ...]]
"""The shape of each tensor, by its name."""


def layer_shapes(step: DenseStep | LayerNormStep | AutoEncoderStep, names: set[str]) -> Shapes:
    """The tensors that a step wants of a file that has `names`."""
    match step:
        case DenseStep():
            shape = (step.out_features, step.in_features)
            found: Shapes = {"linear.weight": shape}
            if step.bias:
                found["linear.bias"] = (step.out_features,)
            if step.residual and step.in_features != step.out_features:
                found["residual.weight"] = shape
            return found
        case LayerNormStep():
            return {"norm.weight": (step.width,), "norm.bias": (step.width,)}
        case AutoEncoderStep():
            into, width = step.in_features, step.width
            # One matrix under two names, of which a file keeps one; the statistics are of training.
            own = [name for name in ("encoder.weight", "decoder.linear.weight") if name in names]
            found = {"pre_bias": (into,), "latent_bias": (width,)}
            found |= dict.fromkeys(own or ("encoder.weight",), (width, into))
            if "stats_last_nonzero" in names:
                found["stats_last_nonzero"] = (width,)
            return found


def unlike_layers(files: Files, steps: tuple[Step, ...]) -> Iterator[Refusal]:
    """A refusal for each file of a layer that holds other tensors; absent files are skipped."""
    for step in steps:
        if not isinstance(step, DenseStep | LayerNormStep | AutoEncoderStep):
            continue
        if step.file not in files.names() or (isinstance(step, DenseStep) and step.beside):
            continue
        try:
            held = read_header(files, step.file)
        except ValueError as error:
            yield Refusal(step.file, str(error), "restore the file")
            continue
        found = {name: each.shape for name, each in held.items()}
        wanted = layer_shapes(step, set(found))
        if found != wanted:
            yield Refusal(
                step.file,
                f"holds {told(found)}, and the config beside it wants {told(wanted)}",
                "restore them",
            )


def told(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Names and shapes as a person reads them."""
    parts = [f"{name} {list(shape)}" for name, shape in sorted(shapes.items())]
    return ", ".join(parts[:4]) + (" …" if len(parts) > 4 else "")
