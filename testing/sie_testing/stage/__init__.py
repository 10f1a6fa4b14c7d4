"""The stage of a simulated world: its loop, links, broker and processes, and the frame of a run."""
