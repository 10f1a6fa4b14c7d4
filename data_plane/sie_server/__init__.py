"""Model execution: one process that owns one device and runs the batches it is given.

`main` wires; `server` owns the socket, `device` the one thread; `execution` turns requests into
replies with what `residency` holds; `sources` finds and verifies weights; `backends` are the ways
to run a family of models. The process knows no registry and no queue: what it is told comes over
a Unix socket (`sie_schemas.ipc`).
"""
