"""The start of a writer: who claims to know more of the log, and what is taken back."""
