"""The one writer: which writes may be, in which order, and the entries that they make."""
