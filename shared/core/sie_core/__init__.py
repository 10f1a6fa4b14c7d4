"""The meaning of the log: the fold of the log into a registry, the chain, and the replica.

Pure: values in, values out; no clock, no loop, no I/O, standard library and `sie_schemas` only.
"""
