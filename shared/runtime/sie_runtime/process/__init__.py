"""A process: its life, its telemetry, its status routes, and work beside its loop."""
