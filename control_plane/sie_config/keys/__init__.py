"""The keys that sign a log, and the modes of its private files."""
