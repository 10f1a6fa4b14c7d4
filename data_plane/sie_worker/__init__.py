"""The worker sidecar: pulls jobs, tokenizes, forms batches, delivers confirmed results.

A job is pulled and taken in by `intake` and waits in a lane of `scheduling`. It runs on a `device`
by way of `execution`, and ends in `jobs`, which holds it all the while. `worker` wires, `main`
starts.
"""
