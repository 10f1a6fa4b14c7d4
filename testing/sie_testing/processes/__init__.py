"""A real cluster in the hands of an adversary: processes, links between them, and a seed.

`run_processes` is the whole of it. It starts the programs that are installed, and loads them with
writes and requests. It does to them what the seed says, heals them, and judges what is left.
"""

from typing import Final

from sie_testing.campaign import Harness
from sie_testing.processes.actions import PROCESS_FAULTS, Action, actions_of
from sie_testing.processes.proxy import Link
from sie_testing.processes.run import PROCESS_CHECKS, run_processes

__all__ = [
    "PROCESSES",
    "PROCESS_CHECKS",
    "PROCESS_FAULTS",
    "Action",
    "Link",
    "actions_of",
    "run_processes",
]

PROCESSES: Final = Harness(
    run=run_processes, faults=PROCESS_FAULTS, checks=PROCESS_CHECKS, enough_seeds=20
)
