"""The route that verifies: a round of the self-check, now.

*shell.* Promises that the answer is of a round that began after the request. A GET changes nothing:
what is found wrong is told; only the rounds in the background stop the writer.
"""

from dataclasses import asdict
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response

from sie_config.http.json_answers import json_answer
from sie_config.upkeep.self_check import Checked
from sie_config.writer_process import ControlPlane
from sie_schemas.errors import Later

__all__ = ["add_verify_route"]


def add_verify_route(app: FastAPI, plane: ControlPlane) -> None:
    """Mount the route."""

    @app.get("/v1/configs/verify")
    async def verify() -> Response:
        """Check the snapshot against the log's entries, here and at a replica by chance.

        `replica` is null where none lives; its `sound` is null where it could not be asked.
        """
        checked = await plane.self_check.check()
        if checked is None:
            raise Later("the log has not begun", code="NOT_READY")
        body = {"log_id": plane.sequencer.position.log_id, **_told(checked)}
        return json_answer(body)


def _told(checked: Checked) -> dict[str, Any]:
    damage, replica = checked.damage, checked.replica
    return {
        "epoch": checked.epoch,
        "digest": checked.digest,
        "checked_at": checked.at,
        "sound": checked.sound,
        "problem": damage.message if damage is not None else None,
        "first_bad_epoch": damage.first_bad_epoch if damage is not None else None,
        "replica": asdict(replica) if replica is not None else None,
    }
