"""Backends that extract: entities and classes, their tags, spans, labels and places in a text."""
