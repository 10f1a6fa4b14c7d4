"""A pickle of tensors becomes safetensors: the program of a process of its own.

*device* over two files. Read by torch's restricted unpickler alone, which builds tensors and plain
containers and calls nothing else; `bounded_child` has the bounds. Whatever is no table of tensors
is refused, and an output is whole or not there. The question is JSON of the two paths. The answer
is empty, or the reason of a refusal.
"""

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

__all__ = ["convert", "prepare"]

_SHOWN_MAX: Final = 300
"""A stranger's text in a message of ours."""


def prepare() -> Callable[[bytes], bytes]:
    """The function that answers."""

    def answer(question: bytes) -> bytes:
        return convert(*map(Path, json.loads(question))).encode()

    return answer


def convert(pickled: Path, made: Path) -> str:
    """Write the tensors of `pickled` to `made`; the reason why not, empty where it did."""
    try:
        # Not a whole copy beside the tensors, where the file's format allows that.
        loaded = torch.load(
            pickled, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(pickled)
        )
        tensors = _tensors(loaded)
        if isinstance(tensors, str):
            return tensors
        save_file(tensors, made, metadata={"format": "pt"})
    except MemoryError:
        return f"it wants far more memory than its {pickled.stat().st_size} bytes"
    # A stranger's file: whatever goes wrong is a reason not to take it.
    except Exception as error:
        text = " ".join(str(error).split())[:_SHOWN_MAX]
        return f"it does not read as tensors alone ({type(error).__name__}: {text})"
    return ""


def _tensors(loaded: object) -> dict[str, torch.Tensor] | str:
    """The tensors by name, each with memory of its own; or the reason why they are not taken."""
    if not isinstance(loaded, Mapping) or not loaded:
        return f"it holds {type(loaded).__name__}, and a table of tensors is wanted"
    found: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, value in loaded.items():
        if not isinstance(name, str) or type(value) not in (torch.Tensor, torch.nn.Parameter):
            return f"it holds {type(value).__name__} under {str(name)[:60]!r}, and no tensor"
        tensor: Any = value.detach()
        if tensor.layout != torch.strided or tensor.is_quantized:
            return f"{name[:60]!r} is a tensor of another layout"
        place = tensor.untyped_storage().data_ptr()
        # The file format knows no two names for one memory.
        found[name] = tensor.contiguous() if place not in seen else tensor.contiguous().clone()
        seen.add(place)
    return found
