"""A job of few words, for whatever takes one."""

from typing import Any

from sie_schemas.jobs import Job

__all__ = ["small_job"]


def small_job(**told: Any) -> Job:
    """An `encode` job, but for what is told of it. Its deadline was before any clock began."""
    usual: dict[str, Any] = {
        "job_id": "r.0",
        "request_id": "r",
        "first_item": 0,
        "operation": "encode",
        "log_id": "l",
        "epoch": 1,
        "model_id": "m",
        "profile": "default",
        "model_revision": "rev",
        "items": (),
        "reply_to": "sie.result.g",
        "deadline": 0.0,
        "published_at": 0.0,
    }
    return Job(**usual | told)
