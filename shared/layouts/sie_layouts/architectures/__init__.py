"""Architectures by what config.json says: the libraries' own, and those published as code."""
