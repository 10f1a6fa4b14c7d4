"""Leases: pools held warm for a client."""
