"""Capacity: how many of each role a load takes, by a queueing simulation fed with measured times.

The service times are those of docs/laboratory/edge.md (an idle machine, processor time for each
request, by clients). First the simulation is held to that same machine, which it has to explain.
Then each role gets processors of its own, and the load grows to a million requests a second, 1,000
workers and 10,000 models.

    python benchmarks/capacity.py            # both tables; --json: one object
    python benchmarks/capacity.py --write    # puts them into docs/operations/scale.md

*pure* but for its last lines. It leaves out the network, and the device, whose time depends on the
model. A device is counted by the items a second that benchmarks/gpu.py or serve.py gives.
"""

import argparse
import heapq
import json
import math
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["MEASURED", "SIZES", "Checked", "Need", "checked", "need", "simulated", "tables"]

PAGE: Final = Path(__file__).parents[1] / "docs/operations/scale.md"
BEGIN: Final = "<!-- benchmarks/capacity.py: begin -->"
END: Final = "<!-- benchmarks/capacity.py: end -->"


@dataclass(frozen=True, slots=True)
class Row:
    """A measurement: processor µs of each role for a request, and what came of it on two cores."""

    clients: int
    gateway: float
    broker: float
    sidecar: float
    execution: float
    load: float
    per_s: float
    p50_ms: float


MEASURED: Final = (
    Row(8, 186, 151, 156, 31, 27, 2_479, 2.8),
    Row(64, 128, 61, 69, 12, 19, 5_165, 12),
    Row(256, 120, 40, 48, 4, 17, 6_862, 35),
    Row(1_000, 126, 30, 42, 3, 21, 7_454, 131),
)
"""docs/laboratory/edge.md, "By number of clients". One client is left out: its time is wake-ups."""
CORES: Final = 2
_WAKE_SHARE: Final = 0.2
"""Of the processor's time on that machine: the kernel's share for sockets and switches between five
processes, which no process is charged with. The one constant that is fitted, on all four rows."""
_BUSY: Final = 0.6
"""So busy a role is planned: above it the wait grows faster than the load."""
_SHAPE: Final = 4.0
"""Of the service times: a gamma distribution, half as wide as its mean."""

STREAM_PER_S: Final = 20_000.0
"""Jobs that one stream takes: its leader is one process, and writes in order (nats-server 2.15 took
21,000 asynchronous publishes a second on two cores)."""
HEARTBEATS_PER_S: Final = 1.0
"""Of each worker, to each gateway and each worker of any kind."""
REPORTS_PER_S: Final = 0.5
"""Of each replica, to sie-config."""
HEARTBEAT_US: Final = 6.5
"""Processor time of a gateway for one heartbeat: it is read, and folded in 2.4 to 3.2 µs with 10 to
10,000 workers. While the fleet was made anew each time it was 84 with 1,000."""
BROKER_MESSAGE_US: Final = 5.0
"""Processor time of the broker to deliver one message. A request is six of them, and takes 30."""
REPORT_US: Final = 20.0
"""Of sie-config, to take one report."""


@dataclass(frozen=True, slots=True)
class Station:
    """Servers before one queue. `mean_s` is the time of one service."""

    servers: int
    mean_s: float


def simulated(
    stages: Sequence[int], stations: Sequence[Station], *, clients: int, requests: int, seed: int
) -> tuple[float, list[float]]:
    """A closed loop: requests a second, and the time of each in seconds.

    `stages` are the stations that a request goes through, in order. Each client sends the next
    request when it has its answer.
    """
    rng = random.Random(seed)
    free = [station.servers for station in stations]
    waiting: list[list[tuple[int, int]]] = [[] for _ in stations]
    events: list[tuple[float, int, int, int]] = []
    began = [0.0] * clients
    times: list[float] = []
    now, number = 0.0, 0

    def enter(client: int, stage: int) -> None:
        nonlocal number
        place = stages[stage]
        if free[place]:
            free[place] -= 1
            took = rng.gammavariate(_SHAPE, stations[place].mean_s / _SHAPE)
            number += 1
            heapq.heappush(events, (now + took, number, client, stage))
        else:
            waiting[place].append((client, stage))

    for client in range(clients):
        enter(client, 0)
    while len(times) < requests:
        now, _, client, stage = heapq.heappop(events)
        place = stages[stage]
        free[place] += 1
        if waiting[place]:
            # In no order: a processor's turn goes round.
            enter(*waiting[place].pop(rng.randrange(len(waiting[place]))))
        if stage + 1 < len(stages):
            enter(client, stage + 1)
        else:
            times.append(now - began[client])
            began[client] = now
            enter(client, 0)
    return requests / now, times


@dataclass(frozen=True, slots=True)
class Checked:
    """A measured row beside what the simulation says of it."""

    clients: int
    measured_per_s: float
    simulated_per_s: float
    measured_p50_ms: float
    simulated_p50_ms: float

    @property
    def off(self) -> float:
        """The share by which the rate is off."""
        return self.simulated_per_s / self.measured_per_s - 1


def checked(requests: int = 20_000) -> list[Checked]:
    """The simulation of that machine: every role on the same two cores."""
    found = []
    for row in MEASURED:
        # In and out of the gateway, and twice through the broker.
        parts = (
            row.load / 2,
            row.gateway / 2,
            row.broker / 2,
            row.sidecar,
            row.execution,
            row.broker / 2,
            row.gateway / 2,
            row.load / 2,
        )
        mean_s = sum(parts) / len(parts) / 1e6 / (1 - _WAKE_SHARE)
        rate, times = simulated(
            [0] * len(parts),
            [Station(CORES, mean_s)],
            clients=row.clients,
            requests=requests,
            seed=1,
        )
        settled = sorted(times[len(times) // 5 :])
        p50_ms = settled[len(settled) // 2] * 1e3
        found.append(Checked(row.clients, row.per_s, rate, row.p50_ms, p50_ms))
    return found


@dataclass(frozen=True, slots=True)
class Size:
    """A cluster to plan. `item_us` is a device's time for one item, in its batches."""

    name: str
    per_s: float
    models: int
    item_us: float = 500.0


SIZES: Final = (
    Size("a team", 100, 20),
    Size("a product", 2_000, 200),
    Size("a company", 20_000, 1_000),
    Size("many tenants", 200_000, 10_000),
    Size("all of them", 1_000_000, 10_000),
)


@dataclass(frozen=True, slots=True)
class Need:
    """The parts that a size takes. Each part has one core; those of the broker are of all brokers.

    `beats` are heartbeats and reports that brokers deliver in a second.
    """

    name: str
    per_s: float
    models: int
    gateways: int
    queues: int
    broker_cores: int
    workers: int
    beats: float
    hearing_share: float
    """Of each gateway's core, for heartbeats."""
    config_share: float
    """Of sie-config's one core, for reports."""


def need(size: Size) -> Need:
    """The parts of a size, each role planned at most `_BUSY` busy."""
    row = MEASURED[-1] if size.per_s > 5_000 else MEASURED[1]

    def parts(us: float) -> int:
        return max(1, math.ceil(size.per_s * us / 1e6 / _BUSY))

    gateways = parts(row.gateway)
    workers = max(parts(size.item_us), parts(row.sidecar))
    beats = workers * HEARTBEATS_PER_S * (gateways + workers) + REPORTS_PER_S * (workers + gateways)
    broker_us = size.per_s * row.broker + beats * BROKER_MESSAGE_US
    return Need(
        name=size.name,
        per_s=size.per_s,
        models=size.models,
        gateways=gateways,
        queues=max(1, math.ceil(size.per_s / STREAM_PER_S / _BUSY)),
        broker_cores=max(1, math.ceil(broker_us / 1e6 / _BUSY)),
        workers=workers,
        beats=beats,
        hearing_share=workers * HEARTBEATS_PER_S * HEARTBEAT_US / 1e6,
        config_share=REPORTS_PER_S * (workers + gateways) * REPORT_US / 1e6,
    )


def tables(rows: Sequence[Checked], needs: Sequence[Need]) -> str:
    """Both as they stand on the page."""
    lines = [
        "| Clients | requests/s measured | simulated | p50 ms measured | simulated |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.clients:,} | {row.measured_per_s:,.0f} | {row.simulated_per_s:,.0f} "
        f"({row.off:+.0%}) | {row.measured_p50_ms:g} | {row.simulated_p50_ms:.1f} |"
        for row in rows
    ]
    lines += [
        "",
        "| Size | requests/s | models | gateways | queues | broker cores | devices | heartbeats/s "
        "| of a gateway | of sie-config |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.name} | {each.per_s:,.0f} | {each.models:,} | {each.gateways} | {each.queues} | "
        f"{each.broker_cores} | {each.workers:,} | {each.beats:,.0f} | "
        f"{each.hearing_share:.1%} | {each.config_share:.1%} |"
        for each in needs
    ]
    return "\n".join(lines)


def _written(page: str, text: str) -> str:
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Print, or write into the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    options = parser.parse_args()
    rows, needs = checked(), [need(size) for size in SIZES]
    if options.json:
        told: Mapping[str, Any] = {
            "checked": [asdict(row) | {"off": row.off} for row in rows],
            "needs": [asdict(each) for each in needs],
        }
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
    elif options.write:
        PAGE.write_text(_written(PAGE.read_text(), tables(rows, needs)))
    else:
        sys.stdout.write(tables(rows, needs) + "\n")


if __name__ == "__main__":
    main()
