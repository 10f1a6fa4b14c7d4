"""Changes of tasks that a checkpoint holds beside its weights, as adapters of its own model.

*device*, and the weight files. Each task is a sum of low-rank products over the layers and the
tables of embeddings (`sie_layouts.architectures.tasks`). They are applied where a token's text has
that task, and the weights stay as they are: texts of several tasks share a batch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sie_layouts.steps import TaskLayout
from sie_server.adapters.lora import Adapter, Delta
from sie_server.failures import load_failed

__all__ = ["read_task_changes"]

_Named: TypeAlias = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
_DOWN: Final = ".parametrizations.weight.0.lora_A"
_UP: Final = ".parametrizations.weight.0.lora_B"
_POOLER: Final = "pooler."
"""Nothing reads it."""
_WEIGHT: Final = ".weight"


def read_task_changes(
    files: Sequence[Path], model: nn.Module, tasks: TaskLayout, named: _Named
) -> Mapping[str, Adapter]:
    """The change of each task, bound to the model's layers. Raises MODEL_LOAD_FAILED.

    `named` gives published tensors the names of the model's, and splits those that it splits.
    """
    tensors = _tensors(files)
    layers = dict(model.named_modules())
    found: dict[str, dict[str, Delta]] = {task: {} for task in tasks.words}
    for name in sorted(name for name in tensors if name.endswith(_DOWN)):
        published = name.removesuffix(_DOWN)
        down, up = tensors[name], tensors.get(published + _UP)
        if up is None or not len(down) == len(up) == len(found):
            raise load_failed(
                f"the weights have {len(down)} changes of {published}, and {len(found)} tasks: "
                "restore the file"
            )
        for place, deltas in enumerate(found.values()):
            parts = named({published + _WEIGHT: up[place] * tasks.scale})
            for own, part in parts.items():
                layer = own.removesuffix(_WEIGHT)
                deltas[layer] = _delta(layers.get(layer), layer, down[place], part)
    # A checkpoint without them would answer every task with the bare weights.
    if not all(found.values()):
        raise load_failed("the weights hold no changes of tasks: restore the file")
    return {task: Adapter(deltas) for task, deltas in found.items()}


def _tensors(files: Sequence[Path]) -> dict[str, Tensor]:
    try:
        return {name: tensor for path in files for name, tensor in _changes(path)}
    except (OSError, SafetensorError) as error:
        raise load_failed(f"the changes of tasks do not read: {error}; restore the file") from error


def _changes(path: Path) -> Iterator[tuple[str, Tensor]]:
    with safe_open(path, "pt") as opened:
        for name in opened.keys():  # noqa: SIM118 - it is no mapping
            own = name.removeprefix("roberta.")
            if own.endswith((_DOWN, _UP)) and not own.startswith(_POOLER):
                yield own, opened.get_tensor(name).float().clone()


def _delta(layer: nn.Module | None, name: str, down: Tensor, up: Tensor) -> Delta:
    weight = None if layer is None else layer.weight
    if not isinstance(weight, Tensor) or not isinstance(layer, nn.Linear | nn.Embedding):
        raise load_failed(f"a task changes {name}, which is no layer of the model")
    # Of a table the authors keep both factors the other way around.
    is_table = isinstance(layer, nn.Embedding)
    first, last = (down.T, up) if is_table else (down, up.T)
    made = (last.shape[1], first.shape[1])
    if made != (tuple(weight.shape)[::-1] if is_table else tuple(weight.shape)):
        raise load_failed(
            f"a task changes {name} by a product of {made}, and the layer is "
            f"{tuple(weight.shape)}: restore the file"
        )
    place, dtype = weight.device, weight.dtype
    delta = Delta(first.to(place, dtype).contiguous(), last.to(place, dtype).contiguous())
    if not (delta.down.isfinite().all() and delta.up.isfinite().all()):
        raise load_failed(f"a task changes {name} by numbers that are not finite in {dtype}")
    return delta
