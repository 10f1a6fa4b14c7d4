"""Devices: each with its scheduler, run by batches, and set apart when it fails."""
