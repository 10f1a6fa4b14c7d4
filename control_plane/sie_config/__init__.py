"""The writer of the epoch log: one process, one file, one order of all configuration.

A write comes in at `http`, is judged and made an entry in `writer`, is kept by `log` and leaves by
`stream`. `replicas` knows how far the others are, `past` answers for any epoch. `start` judges a
file before it is trusted, `offline` works on a file without a writer. `writer_process` wires.
"""
