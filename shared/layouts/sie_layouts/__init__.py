"""Layouts: the facts by which a model folder makes its answers, read from its small files.

`facts` has what a folder is to the reader, `folder` is one on this disk. `reading` reads any
folder, `sentence` one of vectors. Whoever shows a model, admits it or runs it sees the same.
"""
