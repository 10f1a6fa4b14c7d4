"""The device: its memory, its threads, its residents by use, and a watchdog."""
