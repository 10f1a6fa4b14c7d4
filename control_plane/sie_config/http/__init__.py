"""HTTP of sie-config: its routes, what each asks for, and answers in their one form."""
