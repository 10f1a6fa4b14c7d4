"""Inputs and answers in their forms: tokens, windows, vectors, quantized vectors."""
