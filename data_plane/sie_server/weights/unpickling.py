"""A pickle of tensors becomes safetensors: the program of a process of its own.

*device* over two files. Read by torch's restricted unpickler alone, which builds tensors and plain
containers and calls nothing else. Promises that memory, time and output are bounded before the
first byte of the file is read. Whatever is no table of tensors is refused, and an output is whole
or not there. Its last line on stdout is empty, or the reason of a refusal.
"""

import resource
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

__all__ = ["convert"]

_MEMORY_SPARE: Final = 512 * 1024**2
"""Torch, its allocator and the interpreter, beside the tensors."""
_TIMES_THE_FILE: Final = 3
"""The file itself, the tensors, and the bytes on their way out."""
_CPU_S: Final = 60
"""To import torch on a machine that is busy."""
_BYTES_PER_CPU_S: Final = 32 * 1024**2
"""Far below what an unpickler reads, so that only one that loops runs out."""
_DISK_SPARE: Final = 16 * 1024**2
"""Headers of safetensors, and the tensors' alignment."""
_SHOWN_MAX: Final = 300
"""A stranger's text in a message of ours."""


def convert(pickled: Path, made: Path) -> str:
    """Write the tensors of `pickled` to `made`; the reason why not, empty where it did."""
    size = pickled.stat().st_size
    _bound(size)
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
        return f"it wants more memory than {_TIMES_THE_FILE} times its {size} bytes"
    # A stranger's file: whatever goes wrong is a reason not to take it.
    except Exception as error:
        text = " ".join(str(error).split())[:_SHOWN_MAX]
        return f"it does not read as tensors alone ({type(error).__name__}: {text})"
    return ""


def _bound(size: int) -> None:
    memory = _mapped() + _TIMES_THE_FILE * size + _MEMORY_SPARE
    cpu_s = _CPU_S + size // _BYTES_PER_CPU_S
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, _TIMES_THE_FILE * size + _DISK_SPARE),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (bound, bound))


def _mapped() -> int:
    """The address space of this process with its libraries, before it reads anything."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


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


if __name__ == "__main__":
    sys.stdout.write(f"{convert(Path(sys.argv[1]), Path(sys.argv[2]))}\n")
