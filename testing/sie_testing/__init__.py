"""For tests, ours and our users': strategies, logs that write themselves, in-memory twins.

Shipped in the wheel, so that a team can hold its own policies and backends to the same laws.
"""
