"""Jobs in hand: holds, the revisions that they may name, and their results."""
