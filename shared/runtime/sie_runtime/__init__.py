"""The life of a process: settings, lifecycle, telemetry, the bus, and the follower of the log.

The one place that speaks NATS. Each process of the cluster is built on it and knows no other.
"""
