"""Scheduling: lanes, batches, fairness, and how long a device waits for more."""
