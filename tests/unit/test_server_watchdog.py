"""The watchdog, in a process of its own: it ends the process that it looks after."""

import subprocess
import sys
from typing import Final

import pytest

_START: Final = """
import asyncio, threading
from sie_server.device.bounded_threads import BoundedThreads
from sie_server.device.watchdog import Watchdog

async def main():
    device, readers = BoundedThreads(queue_max=4), BoundedThreads(queue_max=4, threads=2)
    watching = asyncio.create_task(Watchdog(device, readers, loop_hang_s=0.6).run())
    for _ in range(4):
        # Short work, and a loop that turns: nothing ends.
        await device.submit(lambda: threading.Event().wait(0.2), within_s=5.0)
        assert device.overdue_s() == 0
    print("lives", flush=True)
    {then}
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("then", "status", "words"),
    [
        (
            "await device.submit(threading.Event().wait, within_s=0.3)",
            70,
            ["the device hangs", "in timed"],
        ),
        (
            "await readers.submit(threading.Event().wait, within_s=0.3)",
            70,
            ["the device hangs", "in timed"],
        ),
        # It ends by itself where nobody ends it.
        ("threading.Event().wait(20)", 1, ["Timeout", "in main"]),
        # Nobody looks any more, so the loop may stand.
        (
            "watching.cancel(); await asyncio.wait([watching]); threading.Event().wait(1.2); "
            "print(device.close(), readers.close())",
            0,
            [],
        ),
    ],
    ids=["the device", "a thread that reads", "the loop", "neither"],
)
def test_a_process_whose_device_or_loop_stands_still_ends_with_every_stack(then, status, words):
    code = _START.format(then=then)
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == status, ended.stderr
    assert ended.stdout.startswith("lives")
    for word in words:
        assert word in ended.stderr
