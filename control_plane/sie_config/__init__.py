"""The writer of the epoch log: one process, one file, one order of all configuration.

`log_file` and `store` keep the entries, `rules` decides what may be written, `sequencer` is the one
writer, `publisher` puts entries on the stream, `witnesses` judges a file before it is trusted,
`reports` shows how far the replicas are, `api` is the HTTP surface, `main` wires.
"""
