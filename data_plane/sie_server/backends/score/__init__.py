"""Scores of a query and a text: cross-encoders, and what their answers mean."""
