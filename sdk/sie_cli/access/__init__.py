"""The cluster that a command is for, and the way to it."""
