"""Execution: batches run in order, what is resident, and what runs when memory is short."""
