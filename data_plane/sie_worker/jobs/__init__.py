"""Jobs in hand: claims, the revisions that they may name, and their results."""
