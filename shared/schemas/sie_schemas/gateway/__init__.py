"""The words of a gateway beside inference: of its models, its cluster, pools and leases."""
