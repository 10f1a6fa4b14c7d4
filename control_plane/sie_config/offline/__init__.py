"""A log file outside its writer: verify, back up, restore, compact, examine, replay.

*shell.* What `sie log` does. Each module reads files through SQLite alone, and leaves a log that a
writer has open as it is. Nothing is imported here, so that the command line starts fast.
"""
