"""Layouts of extractors: what finds entities and classes, by its small files."""
