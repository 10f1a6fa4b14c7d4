"""Backends of models that read images."""
