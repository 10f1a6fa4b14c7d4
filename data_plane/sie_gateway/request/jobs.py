"""From a request and its route to the jobs that are published.

*pure.* Promises that every item is in exactly one job, in order, and that all jobs of a request
name the same revisions. Time is an argument.
"""

from dataclasses import dataclass

from msgspec.structs import replace

from sie_gateway.fleet.routing import Route
from sie_gateway.request.admission import cut
from sie_gateway.request.requests import Asked
from sie_schemas.errors import FixRequest
from sie_schemas.jobs import Job

__all__ = ["JobCaps", "check_outputs", "jobs_for"]


@dataclass(frozen=True, slots=True)
class JobCaps:
    """The most that one job holds; an item that is alone may be above the bytes."""

    items_max: int
    bytes_max: int


def check_outputs(asked: Asked, route: Route) -> None:
    """Refuse outputs that the model does not give. Raises `FixRequest`."""
    for index, output in enumerate(asked.output_types):
        if output not in route.model.outputs:
            raise FixRequest(
                f"{route.model.model_id} gives no {output!r}; "
                f"it gives {', '.join(route.model.outputs)}",
                field=f"$.params.output_types[{index}]",
            )


def jobs_for(
    asked: Asked,
    route: Route,
    *,
    run_id: str,
    reply_to: str,
    published_at: float,
    deadline: float,
    caps: JobCaps,
    tenant: str = "",
) -> list[Job]:
    """Cut a request. `run_id` is the request's id on the queue; times are Unix seconds."""
    ranges = cut(
        asked.item_sizes,
        items_max=caps.items_max,
        bytes_max=max(1, caps.bytes_max - asked.fixed_size),
    )
    # A job like the route's: to make one of all its fields takes four times as long.
    made = replace(
        route.job,
        request_id=run_id,
        query=asked.query,
        output_types=_outputs(asked, route),
        output_dtype=asked.output_dtype,
        labels=asked.labels,
        instruction=asked.instruction,
        options=asked.options,
        reply_to=reply_to,
        deadline=deadline,
        published_at=published_at,
        tenant=tenant,
    )
    return [
        replace(
            made,
            job_id=f"{run_id}.{indices.start}",
            first_item=indices.start,
            items=asked.items[indices.start : indices.stop],
        )
        for indices in ranges
    ]


def _outputs(asked: Asked, route: Route) -> tuple[str, ...]:
    """The outputs asked for, else dense vectors where the model has them, else all that it
    gives."""
    if asked.operation != "encode":
        return ()
    if asked.output_types:
        return asked.output_types
    return ("dense",) if "dense" in route.model.outputs else route.model.outputs
