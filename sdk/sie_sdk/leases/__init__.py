"""Leases of pools: what their calls say, and who renews them."""
