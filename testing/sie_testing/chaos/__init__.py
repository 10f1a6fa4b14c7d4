"""The cost of faults of real processes: a row of a table for each, measured.

`sie soak --chaos` runs it; `run_chaos` is the whole of it.
"""

from sie_testing.chaos.run import FAULTS, Chaos, run_chaos
from sie_testing.chaos.table import Row, broken

__all__ = ["FAULTS", "Chaos", "Row", "broken", "run_chaos"]
