"""The `sie` command: the cluster on one machine, its demo, its tests.

It stands above every other package and finds its sub-commands by entry points (`sie.commands`), so
that any installed package may add its own. It starts the processes; it is in no request's path.
"""

# Before any module of it imports httpx, of which it wants as little as the processes do.
import sie_runtime  # noqa: F401
