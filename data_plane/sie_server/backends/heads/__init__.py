"""Heads: from the hidden states of flat tokens to scores, vectors, and the bytes of an answer."""
