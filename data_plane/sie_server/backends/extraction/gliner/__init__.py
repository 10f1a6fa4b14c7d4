"""GLiNER: entities for any labels, by the authors' library."""
