"""Memory of every process on a request's path, over 100,000 good and bad requests.

*main.* `python benchmarks/edge_memory.py [--requests N] [--quick] [--json]`. Real processes and
sixteen connections. Of twelve kinds of request seven are refused, each for another reason; names
of tenants and of leases are new each time, because what a client invents must not be remembered.
Memory is read at twenty moments; the exit status is 1 when a process grew by more than 64 bytes a
request over the second half, or an answer had another status than its kind has. `--quick` sends
4,000, which is too few to judge growth by: only the statuses count then.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from edge_figures.path import whole_path
from measuring import machine

_CONNECTIONS: Final = 16
"""As many as keep every process busy; what a connection itself holds stays the same throughout."""
_MOMENTS: Final = 20
"""Ten of them lie in the second half: enough for a line, and 5,000 requests lie between two."""
_GROWTH_BYTES_MAX: Final = 64.0
"""An entry of a dict costs more: whoever remembers an invented name is seen, and an allocator's
pages, over 50,000 requests, are not."""
_ENCODE: Final = "/v1/encode/load/echo"


def _request(
    path: str, body: bytes, *, form: str = "json", method: str = "POST", **headers: str
) -> bytes:
    told = {"content-type": f"application/{form}", **headers, "content-length": str(len(body))}
    lines = [f"{method} {path} HTTP/1.1", "host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in told.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _kind(number: int) -> tuple[bytes, int]:
    """The request of a number, and the status that it has to have."""
    good = json.dumps({"items": [{"text": f"{number} which model?"}]}).encode()
    many = msgspec.msgpack.encode({"items": [{"text": f"{number} {n}"} for n in range(40)]})
    lora = json.dumps({"items": [{"text": "a"}], "params": {"options": {"lora": f"x{number}"}}})
    kinds = (
        (_request(_ENCODE, good), 200),
        (_request(_ENCODE, many, form="msgpack", accept="application/msgpack"), 200),
        (_request(_ENCODE, good, x_sie_tenant=f"tenant-{number}"), 200),
        (_request("/v1/embeddings", b'{"model":"load/echo","input":"a"}'), 200),
        (_request("/v1/models", b"", method="GET"), 200),
        (_request(_ENCODE, good[: len(good) // 2]), 400),
        (_request(_ENCODE, b"\xdd\xff\xff\xff\xff" + many[:50], form="msgpack"), 400),
        (_request(_ENCODE, lora.encode()), 404),
        (_request(f"/v1/encode/no/model-{number}", good), 404),
        (_request(_ENCODE, good, x_sie_pool=f"lease-{number}"), 404),
        (_request(f"/v1/nothing/{number}", b""), 404),
        (_request(_ENCODE, b"", method="GET"), 405),
    )
    return kinds[number % len(kinds)]


async def _answer(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("content-length: ")[2].partition("\r")[0])
    await reader.readexactly(length)
    return int(head.split(" ", 2)[1])


async def _ask(port: int, numbers: Sequence[int]) -> Counter[str]:
    """Ask on one connection; the answers that had another status than theirs."""
    wrong: Counter[str] = Counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in numbers:
        request, status = _kind(number)
        writer.write(request)
        found = await _answer(reader)
        if found != status:
            wrong[f"kind {number % 12}: {found} for {status}"] += 1
    writer.close()
    await writer.wait_closed()
    return wrong


async def _ask_all(port: int, first: int, count: int) -> Counter[str]:
    numbers = range(first, first + count)
    shares = [numbers[at::_CONNECTIONS] for at in range(_CONNECTIONS)]
    wrong: Counter[str] = Counter()
    for each in await asyncio.gather(*(_ask(port, share) for share in shares)):
        wrong += each
    return wrong


def _resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} is gone")


def _growth(moments: Sequence[int], requests: int) -> float:
    """Bytes a request over the second half: the slope of a line through its moments."""
    late = moments[len(moments) // 2 :]
    return float(np.polyfit(np.arange(len(late)), late, 1)[0]) / (requests / _MOMENTS)


def _measure(requests: int) -> tuple[Mapping[str, list[int]], Counter[str]]:
    wrong: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, whole_path(Path(folder)) as path:
        pids = {role: pid for role, pid in path.pids.items() if role != "load"}
        held: dict[str, list[int]] = {role: [] for role in pids}
        step = requests // _MOMENTS
        for moment in range(_MOMENTS):
            wrong += asyncio.run(_ask_all(path.port, moment * step, step))
            for role, pid in pids.items():
                held[role].append(_resident_bytes(pid))
    return held, wrong


def _line(role: str, moments: Sequence[int], growth: float) -> str:
    first, middle, last = (moments[at] / 2**20 for at in (0, _MOMENTS // 2, -1))
    return (
        f"{role:10} {first:7.1f} {middle:7.1f} {last:7.1f} MiB at the start, the middle, the end; "
        f"{growth:+.1f} bytes a request over the second half"
    )


def main() -> int:
    """Measure, tell, judge."""
    parser = argparse.ArgumentParser(description="Memory over good and bad requests.")
    parser.add_argument("--requests", type=int, default=0, help="100,000, or 4,000 if quick")
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    requests = options.requests or (4_000 if options.quick else 100_000)
    held, wrong = _measure(requests)
    growth = {role: _growth(moments, requests) for role, moments in held.items()}
    if options.json:
        told = {"machine": machine(), "requests": requests, "resident_bytes": held}
        text = json.dumps(told | {"bytes_per_request": growth, "wrong": wrong})
    else:
        text = "\n".join(_line(role, moments, growth[role]) for role, moments in held.items())
        text += f"\n{requests} requests, wrong: {dict(wrong) or 'none'}"
    sys.stdout.write(text + "\n")
    grew = not options.quick and max(growth.values()) > _GROWTH_BYTES_MAX
    return int(bool(wrong) or grew)


if __name__ == "__main__":
    sys.exit(main())
