"""Models by name: what is published, what a repository or folder holds, and how it is added."""
