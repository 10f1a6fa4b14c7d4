"""Backends that answer `encode`: vectors from an encoder, from its vocabulary, or from a table."""
