"""The words of the cluster: every byte that crosses a process or a disk, defined here, once.

`canonical`, `entry` and `snapshot` are the log's bytes; `documents` are what an entry changes, and
`revisions` name what of them serves an answer; `jobs`, `dead_letters`, `fleet` and `ipc` are the
messages between processes; `items`, `arrays` and `leases` are the public API; `errors` is the one
table of codes, `malformed` what a decoder raises. Nothing here does I/O, and the modules that the
fold uses (`canonical`, `entry`, `snapshot`, `revisions`) import no pydantic.
"""
