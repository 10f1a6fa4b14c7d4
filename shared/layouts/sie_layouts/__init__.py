"""Layouts: the facts by which a model folder makes its answers, read from its small files.

`files` is what a folder is to the reader, `folder` one on this disk. `reading` reads any folder,
`sentence` one of vectors. Read by whoever shows a model, admits it or runs it: all see the same.
"""
