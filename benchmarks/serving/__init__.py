"""The parts of `benchmarks/serve.py`: servers, workloads, and a load generator.

*shell.* Knows no figure and prints nothing.
"""
