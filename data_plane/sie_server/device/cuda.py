"""The first CUDA device, tried and not only asked for.

*device.* A driver may show a device for which this build of torch has no kernels: one product is
computed on it. Tells why it cannot be used, and never raises for that.
"""

import torch

from sie_server.device.choice import Cuda

__all__ = ["cuda_multiplies_bfloat16", "look_for_cuda"]


def look_for_cuda() -> Cuda:
    """Find out about the device; takes a second where there is one."""
    if torch.version.cuda is None:
        return Cuda(problem="this build of torch has no CUDA")
    try:
        if not torch.cuda.is_available():
            return Cuda(problem="torch finds none")
        # A device may be listed on which nothing runs: one product tells (four sums of two).
        number = torch.ones(2, 2, device="cuda")
        if float((number @ number).sum()) != 8.0:
            return Cuda(problem="it computes wrong products")
        return Cuda(name=torch.cuda.get_device_name())
    except RuntimeError as error:
        return Cuda(problem=str(error).splitlines()[0][:200])


def cuda_multiplies_bfloat16() -> bool:
    """True if the device has instructions for it."""
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))
