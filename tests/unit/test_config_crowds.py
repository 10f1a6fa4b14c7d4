"""Clients that leave in the middle of a write, and replicas that come in floods."""

import asyncio
from functools import partial

from tests.support.config_writer import client_of, put, put_model, running
from tests.support.reports import bounded_reports, report_at

from sie_config.log.witnesses import Claim
from sie_config.upkeep.exports import Export, Exports, Log
from sie_config.writer.rules import Put
from sie_config.writer_process import ControlPlane
from sie_core.chain import Position
from sie_schemas import snapshot
from sie_testing.simulation.load import keyed


def report(id_: str, epoch: int = 1, *, leaving: bool = False) -> bytes:
    position = Position("a" * 32, epoch, "0" * 64, "1" * 64, 1)
    return report_at(position, id=id_, leaving=leaving)


def sure(number: int) -> Put:
    return put_model("org/a", description=f"{number}")


async def test_a_write_whose_client_leaves_at_any_moment_is_in_the_log_once_when_it_is_sent_again(
    tmp_path,
):
    turns, number, interrupted = 0, 0, True
    async with running(tmp_path) as plane:
        # From before the commit to after the answer: until a client stayed long enough.
        while interrupted:
            number += 1
            turns = max(turns + 1, turns * 5 // 4)
            write = keyed((sure(number),), f"key-{number}")
            writing = asyncio.ensure_future(plane.write(write))
            for _ in range(turns):
                await asyncio.sleep(0)
            interrupted = writing.cancel()
            await asyncio.wait([writing])

            first, _ = await plane.write(write)
            again, repeated = await plane.write(write)
            assert repeated
            assert (again.entry.epoch, again.entry.hash) == (first.entry.epoch, first.entry.hash)

        entries = await plane.journal.page(0, 10_000, 10_000)
    keys = [entry.idempotency.key for entry in entries if entry.idempotency is not None]
    assert keys == [f"key-{n}" for n in range(1, number + 1)]
    assert number > 5


async def test_of_requests_with_one_key_at_once_the_first_alone_is_worked_out(tmp_path):
    worked_out: list[int] = []
    async with running(tmp_path) as plane:
        write = keyed((sure(1),), "key-1")

        def decide(number: int):
            worked_out.append(number)
            return plane.decide(write)

        sequencer = plane.sequencer
        answers = await asyncio.gather(
            *(sequencer.once(write, partial(decide, number)) for number in range(5))
        )
    assert worked_out == [0]
    assert [repeated for _, repeated in answers] == [False, True, True, True, True]
    assert len({outcome.entry.hash for outcome, _ in answers}) == 1


async def test_names_that_never_come_back_are_not_remembered_for_ever(tmp_path):
    async with running(tmp_path) as plane:
        for number in range(10_100):
            plane.replicas.convergence.heard(Claim(f"worker pod-{number}", "a" * 32, 1, "0" * 64))
        assert len(plane.replicas.convergence._applied) == 10_000


def test_a_flood_of_replicas_is_bounded_and_those_that_are_known_stay():
    reports = bounded_reports(ttl_s=10, forget_s=60, replicas_max=5)
    for number in range(5):
        reports.receive(report(f"known-{number}"), 0.0)
    for number in range(100):
        reports.receive(report(f"stranger-{number}"), 1.0)
    for number in range(5):
        reports.receive(report(f"known-{number}", epoch=7), 2.0)

    assert [(seen.report.id, seen.report.epoch) for seen in reports.sightings()] == [
        (f"known-{number}", 7) for number in range(5)
    ]

    # One that leaves makes room, and so does one that fell silent for long.
    reports.receive(report("known-0", leaving=True), 3.0)
    reports.receive(report("next"), 3.0)
    assert "next" in {seen.report.id for seen in reports.sightings()}
    reports.receive(report("much-later"), 100.0)
    assert [seen.report.id for seen in reports.sightings()] == ["much-later"]


class Overtaken(Exports):
    """Snapshots of a log in which somebody writes after each request and before its answer."""

    def __init__(self, plane: ControlPlane) -> None:
        super().__init__()
        self.plane = plane

    async def newest(self, log: Log) -> Export:
        await put(self.plane, "m", description=f"{self.plane.sequencer.position.epoch}")
        return await super().newest(log)


async def test_the_etag_of_an_export_is_that_of_the_snapshot_that_was_given_out(tmp_path):
    """It may be of a later head than its request: whoever asked again was told of no change."""
    async with running(tmp_path) as plane, client_of(plane) as client:
        # The other is the self-check's, and stays its own.
        own, plane.exports = plane.exports, Overtaken(plane)
        for _ in range(3):
            answer = await client.get("/v1/configs/export")
            entry = snapshot.decode(answer.content).entry
            assert answer.headers["etag"] == f'"{entry.hash}"'
            assert entry.epoch == plane.sequencer.position.epoch
    own.close()
