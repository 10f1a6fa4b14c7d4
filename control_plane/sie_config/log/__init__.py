"""The log file: rows, schema, lock, faults, and the thread that writes it."""
