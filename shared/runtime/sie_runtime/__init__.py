"""The life of a process: settings, lifecycle, telemetry, the bus, and the follower of the log.

The one place that speaks NATS. Each process of the cluster is built on it and knows no other.
"""

import sys

# `import httpx` brings its command line where rich and pygments are installed: a fifth of what a
# sidecar imports, which nobody runs. So it is not found, and httpx goes on without it.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
