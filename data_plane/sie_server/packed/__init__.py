"""Packed execution: batches without padding, and the attention that runs them."""
