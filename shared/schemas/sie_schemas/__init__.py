"""The words of the cluster: every byte that crosses a process or a disk, defined here, once.

- The log's bytes: `canonical`, `entry`, `snapshot`, `signature`.
- What an entry changes: `documents`; `revisions` name what of them serves an answer.
- Messages between processes: `jobs`, `holding`, `dead_letters`, `fleet`, `ipc`.
- The public API: `items`, `arrays`, `leases`.
- Errors: `errors` is the one table of codes, `malformed` what a decoder raises.

Nothing here does I/O, and the modules that the fold uses (`canonical`, `entry`, `snapshot`,
`revisions`) import no pydantic.
"""
