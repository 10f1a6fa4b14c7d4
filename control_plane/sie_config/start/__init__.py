"""The start of a writer: its log opened, who claims to know more of it, and what is taken back."""
