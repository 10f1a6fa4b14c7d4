"""Texts of configuration: JSON and YAML, read strictly and within bounds."""
