"""The broker as the writer uses it: the log published and announced, and the queues made."""
