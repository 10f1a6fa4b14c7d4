"""The local cluster: planned, started, kept running, drained; and the checks of a checkout."""
