"""The published models that this release knows: facts, families, and the documents made of them."""
