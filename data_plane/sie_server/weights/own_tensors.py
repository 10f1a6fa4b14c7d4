"""Tensors as the process's own, where the file that they came from is somebody else's.

*device.* Libraries give tensors that are views of the file. A later write into it would change a
model that answers, under the revision that pinned the file. The hub's cache writes into no file
that it has, and installers put a new file in the place of the old one. All execution processes of a
host share the memory of such a file. A folder of the machine promises nothing.
"""

from torch import Tensor, nn

from sie_server.weights.sources import Weights

__all__ = ["own_model", "own_tensors"]


def own_model(model: nn.Module, weights: Weights) -> None:
    """Have a model hold its weights itself, unless nobody writes into their files."""
    if weights.written_once:
        return
    for tensor in (*model.parameters(), *model.buffers()):
        # One after the other, so that no more than one of them is there twice.
        if tensor.device.type == "cpu":
            tensor.data = tensor.data.clone()


def own_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a small file."""
    return {name: tensor.clone() for name, tensor in tensors.items()}
