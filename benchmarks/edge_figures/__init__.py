"""The parts of `benchmarks/edge.py`: the load, the path under it, and the bare echo beside it.

*shell.* Nothing here is imported by the cluster.
"""
