"""Packed execution: texts laid end to end in blocks, and the attention that runs them."""
