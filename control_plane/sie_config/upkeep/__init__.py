"""Work beside the writer for as long as it runs: self-check, exports, checkpoints, the disk."""
