"""The supervisor of a local cluster: its children, started, kept running, scaled and drained."""
