"""The execution process as the sidecar sees it: its connection, loads, and what is loaded."""
