"""Questions about the past of the log: history, blame, audit, any state at any epoch."""
