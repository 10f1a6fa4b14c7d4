"""Tensors that weights hold, by their headers, and those that a model needs."""
