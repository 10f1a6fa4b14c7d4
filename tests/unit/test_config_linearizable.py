"""Property 7 over recorded histories: reads and conditional writes of one model are linearizable.

The epoch of a write is its place in the one order, so a history can be checked directly: the order
of epochs must respect real time, each conditional write must follow the very version that it named,
and no read may show a version older than one that was already answered before it began.
"""

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

import httpx
import pytest
from tests.support.config_writer import client_of, model, running

MODEL = "/v1/configs/models/m"


@dataclass(frozen=True)
class Operation:
    """One call: when it began and ended, what it believed (0: absent), what it found or made."""

    began: int
    ended: int
    is_write: bool
    believed: int | None
    epoch: int
    taken: bool


def faults(history: Sequence[Operation], first: int) -> Iterator[str]:
    """Everything in a history that no order of its operations explains."""
    writes = sorted((op for op in history if op.is_write and op.taken), key=lambda op: op.epoch)
    versions = [first, *(op.epoch for op in writes)]
    for op, before in zip(writes, versions, strict=False):
        if op.believed != before:
            yield f"a write on version {op.believed} was taken on version {before}"
    made = {op.epoch: op for op in writes}
    for op in history:
        # What an answer shows was answered: a refusal and a read show the version that they met.
        later = [w for w in writes if w.epoch > op.epoch and w.ended < op.began]
        if later and not (op.is_write and op.taken):
            yield f"version {op.epoch} was shown after version {later[0].epoch} was answered"
        if op.is_write and op.taken and later:
            yield f"epoch {op.epoch} began after epoch {later[0].epoch} was answered"
        if op.epoch in made and made[op.epoch].began > op.ended:
            yield f"version {op.epoch} was shown before it was asked for"
        if op.is_write and not op.taken and op.epoch == op.believed:
            yield f"a write on version {op.believed} was refused although it was the newest"


async def one_client(
    client: httpx.AsyncClient, name: int, rng: random.Random, clock: Iterator[int]
) -> list[Operation]:
    history: list[Operation] = []
    believed, etag = 0, ""
    for turn in range(12):
        if rng.random() < 0.5 or not etag:
            began = next(clock)
            answer = await client.get(MODEL)
            believed, etag = answer.json()["modified_epoch"], answer.json()["etag"]
            history.append(Operation(began, next(clock), False, None, believed, taken=True))
            continue
        document = model("m", description=f"{name}.{turn}")
        began = next(clock)
        answer = await client.put(MODEL, json=document, headers={"If-Match": etag})
        ended = next(clock)
        if answer.status_code == 200:
            made = answer.json()["epoch"]
            history.append(Operation(began, ended, True, believed, made, taken=True))
            believed, etag = made, answer.headers["etag"]
        else:
            assert answer.status_code == 412
            met = answer.json()["detail"]["details"]["modified_epoch"]
            history.append(Operation(began, ended, True, believed, met, taken=False))
            etag = answer.json()["detail"]["details"]["etag"] if rng.random() < 0.5 else etag
            believed = met if etag.endswith(f'-{met}"') else believed
    return history


@pytest.mark.parametrize("seed", range(4))
async def test_property_07_reads_and_conditional_writes_at_once_are_linearizable(tmp_path, seed):
    async with running(tmp_path) as plane, client_of(plane) as client:
        first = (await client.put(MODEL, json=model("m"))).json()["epoch"]
        clock, rng = count(), random.Random(seed)
        clients = [
            one_client(client, name, random.Random(rng.random()), clock) for name in range(6)
        ]
        history = [op for part in await asyncio.gather(*clients) for op in part]
        assert list(faults(history, first)) == []
        outcomes = {op.taken for op in history if op.is_write}
        assert outcomes == {True, False}, "the clients met each other"
        log = (await client.get(f"{MODEL}/history")).json()["history"]
        taken = sorted(op.epoch for op in history if op.is_write and op.taken)
        assert [row["epoch"] for row in log] == [first, *taken]


def test_the_check_finds_a_lost_update_and_a_stale_read():
    write = Operation(began=0, ended=1, is_write=True, believed=1, epoch=2, taken=True)
    other = replace(write, began=2, ended=3, epoch=3)
    read = Operation(began=2, ended=3, is_write=False, believed=None, epoch=1, taken=True)
    assert len(list(faults([write, other], 1))) == 1
    assert len(list(faults([write, read], 1))) == 1
    assert list(faults([write, replace(other, believed=2), replace(read, epoch=2)], 1)) == []
