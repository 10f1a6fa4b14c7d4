"""Vectors: from hidden states of flat tokens to what a model answers, as its layout says.

`pooling` makes one row of a text's tokens. `layer_files` reads the small layers that a folder keeps
in files of their own, and `steps` runs them one after the other.
"""
