"""Soaking: fresh seeds for hours, and numbers under every instruction set."""
