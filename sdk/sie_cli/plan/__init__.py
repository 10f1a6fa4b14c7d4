"""The plan of a local cluster: its processes, ports, folders, broker and environment."""
