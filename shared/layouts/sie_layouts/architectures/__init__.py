"""Architectures by their config.json: the libraries' own, and those published as code."""
