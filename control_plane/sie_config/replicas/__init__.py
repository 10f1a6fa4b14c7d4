"""Replicas: their reports, what those prove, and how far the cluster has converged."""
