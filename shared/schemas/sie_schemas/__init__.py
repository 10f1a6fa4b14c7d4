"""What is said: every byte that crosses a process or a disk is defined in this package, once.

`canonical`, `entry` and `snapshot` are the log's bytes; `documents` are what an entry changes;
`jobs`, `fleet` and `ipc` are the hot path's messages; `items`, `arrays` and `requests` are the
public API; `errors` is the one table of codes. Nothing here does I/O, and the modules that the
fold uses (`canonical`, `entry`, `snapshot`, `revisions`) import no pydantic.
"""
