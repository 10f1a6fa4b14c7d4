"""The GPUs of this machine, and which one each process of model execution sees.

*shell.* It reads what the driver lists, without torch: as many as there are, so many processes does
`sie up` start. Whether torch can use one is that process's own question.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sie_schemas.errors import FixRequest

__all__ = ["count_gpus", "gpu_variables"]

_LISTED: Final = Path("/proc/driver/nvidia/gpus")
_DEVICE: Final = "SIE_SERVER_DEVICE"
_VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


def count_gpus(environment: Mapping[str, str], listed: Path = _LISTED) -> int:
    """The GPUs that processes with these variables would use by themselves; 0 where a device is
    stated, for that is somebody's own plan."""
    if environment.get(_DEVICE, "auto") != "auto":
        return 0
    try:
        found = len(list(listed.iterdir()))
    except OSError:
        return 0
    shown = _visible(environment)
    return found if shown is None else min(found, len(shown))


def gpu_variables(environment: Mapping[str, str], place: int, *, gpus: int) -> dict[str, str]:
    """The variables that show a process its own GPU and no other: all would take the first.

    `gpus` is `count_gpus`. Raises `FixRequest` where a stated device has fewer than wanted.
    """
    stated = environment.get(_DEVICE, "auto")
    shown = _visible(environment)
    if stated == "auto" and gpus:
        return {_VISIBLE: (shown or [str(each) for each in range(gpus)])[place % gpus]}
    if stated != "cuda":
        return {}
    if shown is None:
        return {_VISIBLE: str(place)}
    if place >= len(shown):
        raise FixRequest(
            f"CUDA_VISIBLE_DEVICES shows {len(shown)} GPUs: give --devices {len(shown)}",
            field="devices",
        )
    return {_VISIBLE: shown[place]}


def _visible(environment: Mapping[str, str]) -> list[str] | None:
    """The GPUs that the variable names; None where it names none."""
    named = [each.strip() for each in environment.get(_VISIBLE, "").split(",")]
    return named if any(named) else None
