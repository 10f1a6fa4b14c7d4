"""Architectures that repositories publish as code of their own, computed by classes of ours."""
