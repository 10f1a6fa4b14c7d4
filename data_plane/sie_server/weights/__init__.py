"""Weights: where files come from, their hashes, the cache of the hub, empty skeletons."""
