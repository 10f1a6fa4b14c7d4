"""The client of sie-config: reads and changes the configuration, and goes through its past."""
