"""Model execution: one process that owns one device and runs the batches it is given.

Batches come in over `socket` (`sie_schemas.ipc`) and run in `execution`, by one of the `backends`,
with `adapters` and without padding (`packed`). `weights` finds and verifies files, `device` owns
the thread and the memory. The process knows no registry and no queue. `main` wires.
"""
