"""An idle process sleeps: what looks again and again does so while there is something to see."""

import asyncio
import random
import subprocess
import sys
from contextlib import suppress

import pytest

from sie_config.past.refusals import Refusals
from sie_runtime.http.connections import Connections, HttpBounds
from sie_testing.stage.loop import SimulatedLoop, SimulationStuck


class Visitor:
    """A connection that is looked at, and does nothing."""

    address = "here"
    since = 0.0
    is_waiting, unread_bytes = True, 0

    def look(self, now: float) -> None:
        """Nothing is over its time."""

    def send_away(self) -> None:
        """Nobody comes instead."""


async def test_connections_are_looked_at_from_the_first_to_the_last():
    account, visitor = Connections(HttpBounds()), Visitor()
    for _ in range(2):
        waiting = asyncio.ensure_future(account.occupied())
        await asyncio.sleep(0)
        assert not waiting.done()
        account.enter(visitor)
        await waiting
        account.look(0.0)
        # While it is there the next look is due.
        await account.occupied()
        account.leave(visitor)
        account.look(0.0)


def test_nothing_is_written_on_and_on_while_nobody_is_refused(tmp_path):
    loop = SimulatedLoop(random.Random(1))  # type: ignore[abstract]
    refusals = Refusals(
        tmp_path / "refused.sqlite", now_us=lambda: 1, rows_max=10, rows_per_minute=10
    )
    # No timer runs: the simulated loop finds that nothing could ever happen.
    running = loop.create_task(refusals.run(asyncio.Event(), every_s=1.0))
    with pytest.raises(SimulationStuck):
        loop.run_until_complete(running)
    running.cancel()
    with suppress(asyncio.CancelledError):
        loop.run_until_complete(running)


def test_a_backend_of_an_extra_is_imported_with_its_first_model():
    program = (
        "import sys\n"
        "from sie_server.backends.names import find_backend, import_backends\n"
        "import_backends()\n"
        "assert 'sie_server.backends.encode.transformer' in sys.modules\n"
        "print(*sorted({'onnxruntime', 'rapidocr', 'spacy'} & sys.modules.keys()))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert ran.stdout.split() == []
