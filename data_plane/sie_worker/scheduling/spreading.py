"""Spreading: which device of a host takes which inputs of a job.

*pure.* Promises that every input is on exactly one device. Neighbours stay together in pieces that
are worth a batch of their own, and a piece goes where the least is waiting. Loads and costs have
the unit of the scheduler's budget.
"""

from collections.abc import Sequence

__all__ = ["spread"]


def spread(costs: Sequence[int], loads: Sequence[float], *, piece_cost_min: int) -> list[int]:
    """The place in `loads` of the device of each input.

    A job below two pieces' cost goes to one device as a whole. Raises `ValueError` without devices.
    """
    if not loads:
        raise ValueError("inputs are spread over at least one device")
    total = sum(costs)
    pieces = max(1, min(len(loads), len(costs), total // max(1, piece_cost_min)))
    waiting = list(loads)
    places: list[int] = []
    spent, piece, device = 0, 0, _least(waiting)
    for cost in costs:
        # A piece ends with the first input that brings the job to that part of its whole cost.
        if spent >= (piece + 1) * total / pieces:
            piece += 1
            device = _least(waiting)
        places.append(device)
        waiting[device] += cost
        spent += cost
    return places


def _least(waiting: Sequence[float]) -> int:
    return min(range(len(waiting)), key=lambda place: (waiting[place], place))
