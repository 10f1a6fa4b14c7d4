"""A process that has imported what is not ours, and forks for each run of pytest.

*main.* Started by `zoo`, in a copy of the checkout that comes first on its path. It never imports
the product or its tests: each fork does so anew, and meets the mutant from the start. A start of
Python with torch costs seconds, a fork milliseconds.

One JSON object a line. In: `argv` of pytest, `timeout_s`. Out: its exit `status`, or null where it
did not end in time, and its `output`.
"""

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import sys
import tempfile
import traceback
import warnings
from typing import Any, BinaryIO, NoReturn

_MEMORY_BYTES = 8 * 2**30
"""A loop that fills memory ends sooner than the machine does."""
_BROKEN = 70
"""The status of a fork in which pytest itself raised (EX_SOFTWARE)."""


def main() -> None:
    """Import the libraries named by the arguments, and serve what comes in."""
    for name in sys.argv[1:]:
        # A library that is not installed is missed by the tests that need it, in their own words.
        with warnings.catch_warnings(), contextlib.suppress(ImportError):
            warnings.simplefilter("ignore")
            importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        sys.stdout.write(json.dumps(_run(request["argv"], request["timeout_s"])) + "\n")
        sys.stdout.flush()


def _run(argv: list[str], timeout_s: float) -> dict[str, Any]:
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if not child:
            _live(argv, output)
        try:
            ended = select.select([os.pidfd_open(child)], [], [], timeout_s)[0]
        finally:
            # With it goes what its tests started and left behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
        output.seek(0)
        told = output.read().decode(errors="replace")
    return {"status": os.waitstatus_to_exitcode(status) if ended else None, "output": told}


def _live(argv: list[str], output: BinaryIO) -> NoReturn:
    """The life of a fork, in a group of processes of its own."""
    status = _BROKEN
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
        sys.argv = ["pytest", *argv]
        import pytest

        status = int(pytest.main(argv))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
