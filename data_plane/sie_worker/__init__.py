"""The worker sidecar: pulls jobs, tokenizes, forms batches, delivers confirmed results.

`batching`, `placement`, `peers`, `revisions`, `window` and `answers` are pure. A job's way through
the shells is `pulling`, `intake` (with `models` and `tokenizing`), `running` (with `executor` and
`isolation`), `results`; `claims` is what is in hand meanwhile. `worker` wires them, `main` starts.
"""
