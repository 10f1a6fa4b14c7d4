"""Output: rows, documents, exit statuses."""
