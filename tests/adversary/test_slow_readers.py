"""A crowd asks for the whole log, or the whole audit, and reads nothing of it.

Each of them is one whom sie-config owes megabytes. Whoever writes and asks meanwhile is answered,
and the process holds a few pages and what its bounds allow.
"""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.config_process import config_process
from tests.support.config_writer import model
from tests.support.log_world import nowhere

pytestmark = pytest.mark.integration

CROWD = 150
LOOKS = 20
SLOWEST_S = 4.0
"""A write and a look, on a machine that does other things too."""
GROWN_KB = {
    "/v1/configs/log": 320_000,
    "/v1/configs/audit": 60_000,
    "/v1/configs/models": 320_000,
    "/v1/configs/models?at=450": 320_000,
    "/v1/configs/models/org/m/history?limit=1000&diff=true": 200_000,
}
"""For the log what nobody reads (256 MiB), and what allocators keep. An audit of this size fits the
connections: its rows, read for all at once, took 90 MB and more. A history, made for all at once,
took 442 MB and had others wait for 5 s."""


@contextlib.contextmanager
def crowd(port: int, path: str) -> Iterator[None]:
    """Clients that ask and never read."""
    with contextlib.ExitStack() as stack:
        for _ in range(CROWD):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", port))
            head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/x-ndjson\r\n\r\n"
            client.send(head.encode())
        yield


def resident_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


async def write(client: httpx.AsyncClient, key: str, number: int) -> None:
    # Some 5 KB: the log is more than what the system keeps for a connection.
    aliases = [f"a{each:02d}-{number:05d}{'y' * 80}" for each in range(30)]
    document = model(key, description=f"{number:05d}" * 400, aliases=aliases)
    answer = await client.put(f"/v1/configs/models/{key}", json=document)
    assert answer.is_success, answer.text


@pytest.mark.parametrize("path", GROWN_KB)
async def test_a_crowd_that_reads_nothing_holds_up_nobody_and_fills_no_memory(
    tmp_path: Path, path: str
) -> None:
    async with config_process(tmp_path, nowhere()) as (process, client):
        for number in range(500):
            await write(client, f"org/{number}" if "history" not in path else "org/m", number)
        assert (await client.get(path)).is_success
        before = resident_kb(process.pid)
        waits: list[float] = []
        grown: list[int] = []
        with crowd(client.base_url.port or 0, path):
            for number in range(LOOKS):
                begun = time.monotonic()
                assert (await client.get("/v1/configs/epoch")).status_code == 200
                await write(client, "org/other", 1000 + number)
                waits.append(time.monotonic() - begun)
                grown.append(resident_kb(process.pid) - before)
        assert max(waits) < SLOWEST_S, waits
        assert max(grown) < GROWN_KB[path], grown
