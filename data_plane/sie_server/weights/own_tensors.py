"""Tensors as the process's own, where the file that they came from is somebody else's.

*device.* Libraries give tensors that are views of the file. A later write into it would change a
model that answers, under the revision that pinned the file. The hub's cache writes into no file
that it has. A folder of the machine promises nothing.
"""

from torch import Tensor, nn

from sie_server.weights.sources import Weights

__all__ = ["own_model", "own_tensors"]


def own_model(model: nn.Module, weights: Weights) -> None:
    """Have a model hold its weights itself, unless they lie in the hub's cache."""
    if weights.hub_name:
        return
    for tensor in (*model.parameters(), *model.buffers()):
        # One after the other, so that no more than one of them is there twice.
        if tensor.device.type == "cpu":
            tensor.data = tensor.data.clone()


def own_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a small file."""
    return {name: tensor.clone() for name, tensor in tensors.items()}
