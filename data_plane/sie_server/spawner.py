"""`sie-server-spawner`: imports what model execution needs, and makes `sie-server` of itself.

*main.* However many devices a host has, torch and transformers are in its memory once. A device
that died is back without importing them again. The spawner touches no device and begins no thread;
what it forks does both.
"""

import gc
import importlib
import os

from sie_runtime.process.spawning import Spawner

__all__ = ["main"]


def main() -> None:
    """Entry point."""
    spawner = Spawner()
    # numpy's library would begin threads when it is imported, which a fork does not take along.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Else a library that asks for CUDA opens it, and then no fork may.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    # What imports make stays: to look through it again and again finds nothing and takes time.
    gc.disable()
    server = importlib.import_module("sie_server.main")
    server.import_backends()
    gc.collect()
    # A collection would write to every object, and each process have a copy of its own.
    gc.freeze()
    gc.enable()
    if spawner.serve():
        server.main()


if __name__ == "__main__":
    main()
