"""The intra-operation threads of a device on a CPU.

*device* over torch's setting, which holds for the whole process.
"""

import os

import torch

__all__ = ["use_threads"]


def use_threads(stated: int | None) -> int:
    """Have torch use so many from now on, and return their number.

    0 is every core that this process may use. None is one: on two cores beside a busy neighbour a
    text took 700 ms with two threads and 80 with one.
    """
    threads = 1 if stated is None else stated or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    return threads
