"""The memory that there is: of the device for models, and of the host.

*device* over the kernel's and the driver's figures. A container's limit counts where there is one.
"""

import os
from pathlib import Path
from typing import Final

import torch

__all__ = ["device_bytes", "device_used_bytes", "host_available_bytes"]

_CGROUP: Final = Path("/sys/fs/cgroup")
_MEMINFO: Final = Path("/proc/meminfo")


def device_bytes(device: str, *, cgroup: Path = _CGROUP) -> int:
    """All the memory of a device: a GPU's own, or the host's up to its container's limit."""
    if device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(torch.device(device)).total_memory)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _number(cgroup / "memory.max")
    return total if limit is None else min(total, limit)


def device_used_bytes(device: str) -> int:
    """The memory of a device that somebody uses, this process or another."""
    if device.startswith("cuda"):
        free, total = torch.cuda.mem_get_info(torch.device(device))
        return total - free
    available = host_available_bytes()
    return 0 if available is None else max(0, device_bytes(device) - available)


def host_available_bytes(*, meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int | None:
    """The bytes that processes here can still take without swapping; None where nobody tells."""
    # In a container meminfo still tells of the whole host, and its group of the container.
    found = [_available(meminfo), _left_in_group(cgroup)]
    known = [each for each in found if each is not None]
    return min(known) if known else None


def _available(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    told = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(told[0]) * 1024 if told else None


def _left_in_group(cgroup: Path) -> int | None:
    limit, current = _number(cgroup / "memory.max"), _number(cgroup / "memory.current")
    if limit is None or current is None:
        return None
    try:
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        stat = {}
    # Cached file pages that nobody used lately are given up before anything is refused.
    return max(0, limit - current + int(stat.get("inactive_file", "0")))


def _number(path: Path) -> int | None:
    """The number in a file; None where it is absent, or says `max`."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
