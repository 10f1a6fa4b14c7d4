"""Models that read images: both towers of one, and how an image becomes pixels."""
