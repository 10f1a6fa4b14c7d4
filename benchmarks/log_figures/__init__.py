"""The parts of `benchmarks/log.py`: processes to measure, and what is measured on them.

*shell.* Nothing here is imported by the cluster.
"""
