"""The process `sie-worker`: the sidecar of one model-execution process.

*main*: reads the settings, joins bus, log follower, worker and status routes, and ends them in
order. Holds no rule of its own.
"""

import asyncio
import logging
from functools import partial
from typing import Any, Final

from sie_runtime.broker.bus import Bus
from sie_runtime.follower.follower import Follower, ProcessReport
from sie_runtime.process.lifecycle import run, serve_http, spare_collections
from sie_runtime.process.status_routes import status_application
from sie_runtime.settings import load
from sie_runtime.tls import check_tls, listening_context
from sie_worker.settings import WorkerSettings
from sie_worker.worker import Worker

__all__ = ["main", "serve"]

_LOG: Final = logging.getLogger(__name__)


async def serve(settings: WorkerSettings, worker_id: str, stop: asyncio.Event) -> None:
    """Run the sidecar until `stop`, then drain and leave."""
    bus = await Bus.connect(settings, role="worker", process_id=worker_id)
    # Each needs the other: a report of the follower tells what the worker has loaded.
    worker: Worker | None = None
    follower = Follower(
        settings,
        role="worker",
        process_id=worker_id,
        bus=bus,
        process=ProcessReport(
            models=lambda: worker.reports() if worker is not None else {},
            trouble=lambda: worker.trouble if worker is not None else "",
            place=settings.kind,
        ),
    )
    worker = Worker(
        settings, worker_id=worker_id, bus=bus, replica=follower, report_soon=follower.report_soon
    )
    follower.on_change(worker.advance)
    application = status_application(partial(_state, worker, follower, bus))
    over = asyncio.Event()
    try:
        spare_collections()
        async with asyncio.TaskGroup() as group:
            group.create_task(follower.run(over))
            group.create_task(
                serve_http(
                    application,
                    host=settings.host,
                    port=settings.port,
                    stop=over,
                    bounds=settings,
                    on_listening=partial(_LOG.info, "status routes listen on port %d"),
                    tls=listening_context(settings),
                )
            )
            try:
                await worker.run(stop)
            finally:
                # Not before it has drained: a job in hand may wait for an entry that the follower
                # brings, and the status routes say that it leaves.
                over.set()
    finally:
        await bus.close()


def _state(worker: Worker, follower: Follower, bus: Bus) -> dict[str, Any]:
    """The body of `/readyz`: the worker's own state, and whether its registry may be counted on."""
    found = dict(worker.state())
    found["ready"] = found["ready"] and follower.ready
    return found | {
        "replica": follower.state,
        "replica_reason": follower.not_ready,
        "bus_reason": bus.reach.why_not,
    }


def main() -> None:
    """Entry point of `sie-worker`."""
    settings = load(WorkerSettings, prefix="SIE_WORKER")
    check_tls(settings)
    worker_id = settings.process_id()
    run(
        partial(serve, settings, worker_id),
        role="worker",
        process_id=worker_id,
        log_level=settings.log_level,
    )


if __name__ == "__main__":
    main()
