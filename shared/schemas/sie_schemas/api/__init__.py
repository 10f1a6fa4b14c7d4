"""The answers of both services beside inference: a gateway's cluster, and sie-config's log."""
