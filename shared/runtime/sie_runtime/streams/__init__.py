"""Streams of the broker: the log, the work queue, leases, large jobs, dead letters."""
