"""LoRA adapters: read, held, and applied to a packed batch."""
