"""The step that takes texts in: how they become token ids, and the transformer that reads them."""
