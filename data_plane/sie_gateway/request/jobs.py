"""From a request and its route to the jobs that are published.

*pure.* Promises that every item is in exactly one job, in order, and that all jobs of a request
name the same revisions. Time is an argument.
"""

from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from sie_core.backend_options import GENERAL, inputs_of, of_backend
from sie_core.options import check_request, request_field
from sie_gateway.fleet.routing import Route
from sie_gateway.request.admission import cut
from sie_gateway.request.requests import Asked
from sie_schemas.errors import FixRequest
from sie_schemas.jobs import JOB_VERSION, Job

__all__ = ["JobCaps", "check_asked", "jobs_for"]

_CUT: Final = frozenset({"dense", "multivector"})
_SPARSE_DTYPES: Final = ("float32", "float16")
_TEXTS: Final = ("text",)
_PLAIN_OPTIONS: Final = frozenset({"is_query"})
"""Options that workers of every release know."""


@dataclass(frozen=True, slots=True)
class JobCaps:
    """The most that one job holds; an item that is alone may be above the bytes."""

    items_max: int
    bytes_max: int


def check_asked(asked: Asked, route: Route) -> None:
    """Refuse inputs, outputs and options that the model does not take or give.

    Raises `FixRequest`.
    """
    model = route.model
    _check_inputs(asked, route)
    for index, output in enumerate(asked.output_types):
        if output not in model.outputs:
            raise FixRequest(
                f"{model.model_id} gives no {output!r}; it gives {', '.join(model.outputs)}",
                field=f"{asked.params}.output_types[{index}]",
            )
    if asked.output_dtype != "float32":
        _check_dtype(asked, route)
    if not asked.given:
        return
    declared = of_backend(model.profile_document["backend"])
    check_request(
        asked.given,
        GENERAL if declared is None else declared,
        asked.operation,
        model=model.model_id,
        params=asked.params,
        # A backend of another package declares its own, which the worker knows.
        other_names=declared is None,
    )
    if asked.dimensions is not None and not _CUT.intersection(_outputs(asked, route)):
        where = request_field(asked.params, "dimensions")
        raise FixRequest(
            f"{where}: only {' and '.join(sorted(_CUT))} vectors are cut, and none is asked for",
            field=where,
        )


def _check_inputs(asked: Asked, route: Route) -> None:
    taken = inputs_of(route.model.profile_document["backend"])
    if taken is None:
        return  # A backend of another package says at the worker what it takes.
    if taken == _TEXTS and not asked.has_images:
        return
    for index, item in enumerate(asked.items):
        given, field = ("image", "images") if item.images else ("text", "text")
        if given not in taken:
            where = f"$.items[{index}].{field}"
            raise FixRequest(
                f"{where}: {route.model.model_id} takes no {given}s; it takes "
                f"{' and '.join(f'{each}s' for each in taken)}",
                field=where,
            )


def _check_dtype(asked: Asked, route: Route) -> None:
    """Weights of a vocabulary come as floats: smaller ones would save nothing beside indices."""
    if asked.output_dtype in _SPARSE_DTYPES or _outputs(asked, route) != ("sparse",):
        return
    where = f"{asked.params}.output_dtype"
    raise FixRequest(
        f"{where}: sparse vectors come as {' or '.join(_SPARSE_DTYPES)}, not "
        f"{asked.output_dtype!r}",
        field=where,
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
    trace: str = "",
) -> list[Job]:
    """Cut a request. `run_id` is the request's id on the queue; times are Unix seconds."""
    room = max(1, caps.bytes_max - asked.fixed_size)
    # What fits into one job as a whole is cut by number alone, and no item is measured.
    sizes = asked.item_sizes() if asked.items_size > room else (0,) * len(asked.items)
    ranges = cut(sizes, items_max=caps.items_max, bytes_max=room)
    # A job like the route's: to make one of all its fields takes four times as long.
    made = replace(
        route.job,
        v=_version(asked),
        request_id=run_id,
        query=asked.query,
        output_types=_outputs(asked, route),
        output_dtype=asked.output_dtype,
        labels=asked.labels,
        instruction=asked.instruction,
        options=asked.options,
        dimensions=asked.dimensions,
        reply_to=reply_to,
        deadline=deadline,
        published_at=published_at,
        tenant=tenant,
        trace=trace,
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


def _version(asked: Asked) -> int:
    """The release that a worker must be of: an older one would pass over what it does not know."""
    plain = asked.dimensions is None and asked.options.keys() <= _PLAIN_OPTIONS
    return 1 if plain and not asked.has_tokens else JOB_VERSION
