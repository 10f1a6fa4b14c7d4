"""The local cluster: planned, started, kept running, shown, drained; and the checks of a checkout."""
