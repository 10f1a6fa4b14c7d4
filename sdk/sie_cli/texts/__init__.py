"""Texts of this machine and of a command line: files and folders, paths, moments, versions."""
