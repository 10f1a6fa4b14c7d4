"""Diagnosis: what is wrong in a cluster, how it runs now, and a file of both for whoever helps."""
