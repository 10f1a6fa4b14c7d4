"""Whole processes in one thread: real shells on a simulated loop, broker, HTTP and disk.

Seeded and deterministic: the same seed gives the same trace, byte for byte.
"""

from sie_testing.simulation.faults import FAULTS
from sie_testing.simulation.run import Plan, run_seed
from sie_testing.stage.run import Result

__all__ = ["FAULTS", "Plan", "Result", "run_seed"]
