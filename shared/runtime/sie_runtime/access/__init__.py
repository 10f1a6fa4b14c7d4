"""Access: who may ask for what, from which pages, how often, with which parameters."""
