"""The socket: connections of sidecars, and the server that listens."""
