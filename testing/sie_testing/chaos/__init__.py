"""The cost of faults of running processes: one row of a table for each, measured on real clusters.

`sie soak --chaos` runs it; `run_chaos` is the whole of it.
"""

from sie_testing.chaos.run import FAULTS, Chaos, run_chaos
from sie_testing.chaos.table import Row, broken

__all__ = ["FAULTS", "Chaos", "Row", "broken", "run_chaos"]
