"""The routes of upkeep: one compacts the log, one verifies it now.

*shell.* Compacting moves the low water and has the stream trimmed after it. History stays whole:
only which entries are served as a delta changes. First the mark, then the trim. A crash between
leaves a stream that is longer than it need be, and the publisher trims it when it next looks.
Verifying promises an answer of a round that began after the request. It changes nothing: what is
found wrong is told; only the rounds in the background stop the writer.
"""

from typing import Final

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from sie_config.documents.bodies import converted, parse_json
from sie_config.http.direct import DirectApp
from sie_config.http.doors import JSON_BODY, door
from sie_config.http.json_answers import json_answer
from sie_config.http.write_requests import read_body
from sie_config.upkeep.self_check import Checked, ReplicaChecked
from sie_config.writer_process import ControlPlane
from sie_schemas.api.log import Compacted, ReplicaCheckedRow, Verified
from sie_schemas.errors import FixRequest, Later

__all__ = ["add_compact_route", "add_verify_route", "low_water_for"]

_BODY_BYTES_MAX: Final = 4096
"""The body holds two fields; nobody has a reason for a longer one."""


class _Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keep: int | None = None
    low_water: int | None = None


def low_water_for(head: int, *, keep: int | None, low_water: int | None) -> int:
    """The mark that is asked for: a number of newest entries, or an epoch. Raises `FixRequest`."""
    if (keep is None) == (low_water is None):
        raise FixRequest("give either keep (a number of entries) or low_water (an epoch)")
    wanted = low_water if low_water is not None else max(1, head - (keep or 0) + 1)
    if (keep is not None and keep < 1) or not 1 <= wanted <= head:
        raise FixRequest(f"the newest entry stays: keep 1 or more, low_water 1 to {head}")
    return wanted


def add_compact_route(app: DirectApp, plane: ControlPlane) -> None:
    """Mount the route."""

    @door("admin", media=JSON_BODY)
    async def compact(request: Request) -> Response:
        """`{"keep": N}` or `{"low_water": EPOCH}`; the mark only rises."""
        wanted = converted(parse_json(await read_body(request, _BODY_BYTES_MAX)), _Wanted)
        head = plane.sequencer.position.epoch
        before = plane.low_water
        await plane.compact(low_water_for(head, keep=wanted.keep, low_water=wanted.low_water))
        publisher = plane.broadcast.publisher
        answer: Compacted = {
            "low_water": plane.low_water,
            "moved": plane.low_water != before,
            "head": head,
            "trimmed": publisher is not None
            and await publisher.wait_trimmed(timeout_s=plane.settings.ack_wait_s),
        }
        return json_answer(answer)

    app.add_plain("POST", "/v1/configs/compact", compact)


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
        return json_answer(_told(checked, plane.sequencer.position.log_id))


def _told(checked: Checked, log_id: str) -> Verified:
    damage, replica = checked.damage, checked.replica
    return {
        "log_id": log_id,
        "epoch": checked.epoch,
        "digest": checked.digest,
        "checked_at": checked.at,
        "sound": checked.sound,
        "problem": damage.message if damage is not None else None,
        "first_bad_epoch": damage.first_bad_epoch if damage is not None else None,
        "replica": _told_of(replica) if replica is not None else None,
    }


def _told_of(replica: ReplicaChecked) -> ReplicaCheckedRow:
    return {
        "role": replica.role,
        "id": replica.id,
        "epoch": replica.epoch,
        "digest": replica.digest,
        "sound": replica.sound,
        "problem": replica.problem,
    }
