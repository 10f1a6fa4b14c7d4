"""Commands for one machine: the local cluster, its demo, its logs, and the checks of a checkout."""
