"""The data plane in one thread: gateways, workers and broker in a simulated world, judged.

Seeded and deterministic, as `sie_testing.simulation`: both stand on `sie_testing.stage`.
"""

from typing import Final

from sie_testing.campaign import Harness
from sie_testing.serving.laws import CHECKS
from sie_testing.serving.run import KINDS, run_serving

__all__ = ["SERVING", "run_serving"]

SERVING: Final = Harness(run=run_serving, faults=KINDS, checks=CHECKS, enough_seeds=60)
