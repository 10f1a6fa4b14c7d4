"""The route of queues: what waits at the broker for each pool, and since when.

*shell.* `GET /v1/queues`. Asks the broker each time: no figure is older than its request.
"""

import time

from fastapi import FastAPI
from starlette.responses import Response

from sie_config.http.doors import door
from sie_config.http.json_answers import json_answer
from sie_config.writer_process import ControlPlane
from sie_runtime.broker.bus import BusUnavailable
from sie_runtime.streams.broker_usage import read_usage
from sie_schemas.api.log import QueueList, QueueShown

__all__ = ["add_queue_routes"]


def add_queue_routes(app: FastAPI, plane: ControlPlane) -> None:
    """Mount the route."""

    @app.get("/v1/queues")
    @door("read")
    async def queues() -> Response:
        """The queue of each pool: jobs, those included that workers hold, and the oldest's age."""
        if plane.bus is None:
            raise BusUnavailable("queues are at the broker, and there is none")
        usage = await read_usage(plane.bus)
        now = time.time()
        rows: list[QueueShown] = [
            {
                "pool": pool,
                "jobs": queue.jobs,
                "jobs_max": queue.jobs_max,
                "bytes": queue.bytes,
                "oldest_s": None
                if queue.oldest_at is None
                else round(max(0.0, now - queue.oldest_at), 1),
            }
            for pool, queue in sorted(usage.queues.items())
        ]
        told: QueueList = {"queues": rows, "dead_letters": usage.dead_letters}
        return json_answer(told)
