"""Published tensors by the names that a class of transformers reads.

*device.* Flash attention's code keeps queries, keys and values in one tensor, one below the other.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor

__all__ = ["renamed"]


def renamed(
    tensors: Mapping[str, Tensor], names: Mapping[str, str], whole: str, parts: Sequence[str]
) -> dict[str, Tensor]:
    """Each part of a name that `names` has is replaced, in their order. The tensors whose name has
    the step `whole` are cut into three, named by `parts`."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        for old, new in names.items():
            name = name.replace(old, new)  # noqa: PLW2901 - a name grows into another
        if f".{whole}." in name:
            for part, own in zip(parts, tensor.chunk(3), strict=True):
                found[name.replace(whole, part)] = own
        else:
            found[name] = tensor
    return found
