"""The cluster without I/O: one step at a time, with an adversary who chooses message and verb."""

from sie_testing.world.machine import ClusterMachine, run_machine

__all__ = ["ClusterMachine", "run_machine"]
