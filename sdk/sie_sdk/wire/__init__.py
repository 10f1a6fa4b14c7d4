"""Requests before they are sent, and the transport that sends them."""
