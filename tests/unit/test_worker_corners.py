"""Isolation, the window, peers and settings of the worker."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_schemas.errors import Later, OurFault
from sie_schemas.fleet import Heartbeat, WorkerKind
from sie_worker.device.isolation import run_isolated
from sie_worker.intake.peers import Peers
from sie_worker.scheduling.window import Window
from sie_worker.settings import WorkerSettings, host_id

BAD = OurFault("poisoned", code="INFERENCE_ERROR")


@given(size=st.integers(1, 64), bad=st.sets(st.integers(0, 63), max_size=2))
async def test_only_the_poisonous_inputs_fail_and_outcomes_stay_in_order(size: int, bad: set[int]):
    runs = 0

    async def run(part):
        nonlocal runs
        runs += 1
        if bad & set(part):
            raise BAD
        return part

    outcomes, left = await run_isolated(run, list(range(size)), passes_max=1000)

    assert not left
    expected = [BAD if index in bad else index for index in range(size)]
    assert outcomes == expected
    assert runs <= 1 + 2 * len(bad & set(range(size))) * max(1, (size - 1).bit_length())


@given(size=st.integers(1, 100), share=st.integers(1, 4), passes_max=st.integers(0, 9))
async def test_where_many_are_bad_none_fails_by_the_error_of_another(
    size: int, share: int, passes_max: int
):
    runs = 0
    errors = [OurFault(f"{index}", code="INFERENCE_ERROR") for index in range(size)]

    async def run(part):
        nonlocal runs
        runs += 1
        for index in part:
            if index % share == 0:
                raise errors[index]
        return part

    outcomes: list[Any] = []
    turns: deque[Sequence[int]] = deque([range(size)])
    while turns:
        part, before = turns.popleft(), runs
        found, left = await run_isolated(run, part, passes_max=passes_max)
        assert runs - before <= 1 + passes_max, "others wait for the rest of this turn"
        assert len(found) + sum(map(len, left)) == len(part)
        assert all(len(each) < len(part) for each in left), "else it never ends"
        outcomes += found
        turns.extendleft(reversed(left))

    assert outcomes == [errors[n] if n % share == 0 else n for n in range(size)]
    assert runs < 2 * size


async def test_an_error_that_is_no_inputs_fault_is_raised_and_nothing_is_split():
    async def run(part):
        raise Later("memory is short", code="RESOURCE_EXHAUSTED")

    with pytest.raises(Later, match="memory"):
        await run_isolated(run, [1, 2], passes_max=5)


@given(room=st.integers(0, 600), sizes=st.lists(st.integers(1, 64), max_size=40))
def test_there_is_demand_exactly_while_there_is_room(room: int, sizes: list[int]):
    window = Window(items_max=600)
    for size in sizes:
        window.took(size, "a", 0.0)

    demand = window.demand(600 - room, 0.0)

    assert (demand > 0) == (room > 0)
    assert demand <= room


def test_a_tenant_that_fills_the_window_leaves_room_for_others_while_they_send():
    window = Window(items_max=4)
    for _ in range(4):
        window.took(1, "flood", 0.0)
    assert window.demand(4, 1.0) == 0
    window.took(1, "small", 1.0)
    assert window.demand(4, 2.0) == 4
    assert window.demand(8, 2.0) == 0
    window.took(1, "flood", 12.0)
    assert window.demand(4, 12.0) == 0


def heartbeat(worker: str, **changed: Any) -> Heartbeat:
    told: dict[str, Any] = {
        "pool": "p",
        "machine_profile": "cpu",
        "bundle": "b",
        "ready": True,
    } | changed
    return Heartbeat(worker_id=worker, log_id="", epoch=0, **told)


def test_a_peer_counts_while_it_is_ready_of_our_kind_and_heard():
    peers = Peers(WorkerKind("p", "cpu", "b"), silence_s=3.0)
    peers.heard(heartbeat("a", memory_total_bytes=5), now=0.0)
    peers.heard(heartbeat("other", pool="q"), now=0.0)
    peers.heard(heartbeat("b"), now=1.0)
    peers.heard(heartbeat("c"), now=1.0)
    peers.heard(heartbeat("c", leaving=True), now=1.5)

    assert peers.rooms(2.0) == {"a": 5.0, "b": 0.0}
    assert peers.rooms(3.5) == {"b": 0.0}
    peers.heard(heartbeat("b", ready=False), now=3.6)
    assert peers.rooms(3.7) == {}


@pytest.mark.parametrize(
    "changed",
    [
        {"hold_extend_s": 15.0},
        {"peer_silence_s": 2.0},
        {"batches_ahead_max": 0},
        {"worker_id": "node.example.org"},
    ],
)
def test_settings_that_cannot_work_are_refused(changed):
    with pytest.raises(ValueError, match=next(iter(changed))):
        WorkerSettings(socket_path=("s",), **changed)


@pytest.mark.parametrize("host", ["one", "ip-10-0-0-1.ec2.internal", "a" * 64, "größe *.>"])
def test_every_host_has_a_name_that_is_one_part_of_a_subject(host):
    named = host_id(host, 4_194_304)
    assert WorkerSettings(socket_path=("s",), worker_id=named).process_id() == named
