"""The self-check: the snapshot is the fold of the entries, on the writer and on a replica."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from tests.support.config_writer import client_of, grown_log, new_file, put, running
from tests.support.polling import until_told

from sie_config.log.journal import Journal
from sie_config.log.storage_faults import StorageFailed
from sie_config.start.opened_log import LOG_FILE
from sie_config.upkeep.exports import Exports
from sie_config.upkeep.self_check import AskReplica, SelfCheck
from sie_core.apply import apply
from sie_core.registry import Registry
from sie_schemas.entry import Entry, build_entry
from sie_schemas.errors import TimeRanOut
from sie_schemas.fleet import Recount

ENTRIES = grown_log(70)


@dataclass
class Served:
    """The state that a writer serves; here it may differ from its log."""

    registry: Registry
    lineage: tuple[Entry, ...]
    last: Entry


def folded(entries: Sequence[Entry]) -> Registry:
    registry = Registry.EMPTY
    for entry in entries:
        registry = apply(registry, entry)
    return registry


async def nobody(role: str, replica: str) -> Recount:
    raise TimeRanOut(f"{role} {replica} is silent")


@contextlib.asynccontextmanager
async def check_of(
    folder: Path,
    served: Served,
    *,
    replicas: int = 0,
    ask: AskReplica = nobody,
    path: Path | None = None,
) -> AsyncIterator[SelfCheck]:
    new_file(folder / LOG_FILE, ENTRIES).close()
    journal = await Journal.open(folder / LOG_FILE, tail_entries=10)
    try:
        yield SelfCheck(
            journal,
            Exports(),
            served,
            known=None,
            replicas=lambda: [("gateway", f"g{number}") for number in range(replicas)],
            ask=ask,
            share=1.0,
            path=path,
            rng=random.Random(1),
        )
    finally:
        await journal.close()


async def test_a_snapshot_that_is_not_the_fold_of_its_entries_is_found(tmp_path):
    served = Served(folded(ENTRIES), (ENTRIES[0],), ENTRIES[-1])
    async with check_of(tmp_path, served) as check:
        checked = await check.check()
        assert checked is not None and checked.sound
        assert (checked.epoch, checked.digest) == (73, ENTRIES[-1].state_digest)
    (tmp_path / "b").mkdir()
    served.registry = served.registry.with_changes({("model", "org/model-3"): None})
    async with check_of(tmp_path / "b", served) as check:
        checked = await check.check()
        assert checked is not None and not checked.sound
        assert "the snapshot at" in str(checked.damage)


async def test_a_snapshot_that_stands_at_another_entry_of_that_epoch_is_found(tmp_path):
    last = ENTRIES[-1]
    other = build_entry(
        log_id=last.log_id,
        epoch=last.epoch,
        term=last.term,
        writer=last.writer,
        ts=last.ts,
        actor="somebody else",
        reason=last.reason,
        request_id=last.request_id,
        changes=last.changes,
        prev_hash=last.prev_hash,
        state_digest=last.state_digest,
    )
    async with check_of(tmp_path, Served(folded(ENTRIES), (ENTRIES[0],), other)) as check:
        checked = await check.check()
        assert checked is not None and not checked.sound
        assert "stands at another entry" in str(checked.damage)


@dataclass
class Moving(Served):
    """A log that moves on to its `last` while a round is under way."""

    first: Entry

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name == "last":
            last, self.__dict__["last"] = self.__dict__["first"], found
            self.__dict__["first"] = found
            return last
        return found


@pytest.mark.parametrize("behind", [1, 2, 60])
async def test_a_log_that_moves_on_is_compared_where_its_snapshot_stands(tmp_path, behind):
    wrong = folded(ENTRIES).with_changes({("model", "org/model-3"): None})
    for registry in (folded(ENTRIES), wrong):
        (folder := tmp_path / registry.digest).mkdir()
        served = Moving(registry, (ENTRIES[0],), ENTRIES[-1], ENTRIES[-1 - behind])
        async with check_of(folder, served) as check:
            checked = await check.check()
        assert checked is not None
        assert (checked.epoch, checked.sound) == (ENTRIES[-1].epoch, registry is not wrong)


async def test_the_rows_beside_the_entries_are_compared_in_the_first_round_that_ends_alone(
    tmp_path,
):
    served = Served(folded(ENTRIES), (ENTRIES[0],), ENTRIES[-1])
    beside = tmp_path / "beside.sqlite"
    async with check_of(tmp_path, served, path=beside) as check:
        # A disk that gives nothing back has compared nothing: the next round does.
        with pytest.raises(StorageFailed):
            await check.check()
        new_file(beside, ENTRIES).close()
        for _ in range(2):
            checked = await check.check()
            assert checked is not None
            assert checked.sound
            beside.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("changes", "sound"),
    [
        ({}, True),
        ({"digest": "0" * 64}, False),
        ({"hash": "0" * 64}, None),
        ({"log_id": "0" * 32}, None),
        ({"epoch": 74}, None),
        ({"epoch": -1}, None),
        (None, None),
    ],
)
async def test_a_replica_is_sound_only_where_its_own_count_is_that_of_its_entry(
    tmp_path, changes, sound
):
    entry = ENTRIES[40]
    asked: list[str] = []

    async def ask(role: str, replica: str) -> Recount:
        asked.append(replica)
        if changes is None:
            return await nobody(role, replica)
        told = {"log_id": entry.log_id, "epoch": entry.epoch, "hash": entry.hash}
        return Recount(**(told | {"digest": entry.state_digest} | changes))

    served = Served(folded(ENTRIES), (ENTRIES[0],), ENTRIES[-1])
    async with check_of(tmp_path, served, replicas=3, ask=ask) as check:
        rounds = [await check.check() for _ in range(20)]
    assert {each.replica.sound for each in rounds if each and each.replica} == {sound}
    assert all(each is not None and each.sound is (sound is not False) for each in rounds)
    assert set(asked) == {"g0", "g1", "g2"}, "drawn by chance"


async def test_a_replica_that_does_not_answer_holds_up_no_end(tmp_path):
    asked, stop = asyncio.Event(), asyncio.Event()

    async def silent(role: str, replica: str) -> Recount:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    served = Served(folded(ENTRIES), (ENTRIES[0],), ENTRIES[-1])
    async with check_of(tmp_path, served, replicas=1, ask=silent) as check:
        rounds = asyncio.create_task(check.run(stop, every_s=0.01, found=lambda checked: None))
        await asked.wait()
        stop.set()
        async with asyncio.timeout(60):
            await rounds


def test_a_count_anew_sees_what_a_remembered_digest_hides():
    registry = folded(ENTRIES)
    assert registry.recounted() == registry.digest
    entity = registry.get("model", "org/model-3")
    assert entity is not None
    document = json.loads(entity.document) | {"description": "a flipped bit"}
    object.__setattr__(entity, "document", json.dumps(document).encode())
    assert registry.recounted() != registry.digest == ENTRIES[-1].state_digest


async def test_verify_is_a_round_of_now_and_the_background_goes_on_by_itself(tmp_path):
    async with running(tmp_path, self_check_s=0.02) as plane, client_of(plane) as client:
        await put(plane, "m")
        answer = await client.get("/v1/configs/verify")
        told = answer.json()
        assert (told["sound"], told["problem"], told["replica"]) == (True, None, None)
        assert told["epoch"] == plane.sequencer.position.epoch
        assert told["digest"] == plane.sequencer.position.digest
        await put(plane, "n")
        text = "sie_config_self_checks_total"

        async def rounds() -> float:
            lines = (await client.get("/metrics")).text.splitlines()
            return sum(float(line.split()[1]) for line in lines if line.startswith(text + "{"))

        before = await rounds()

        async def more() -> bool:
            return await rounds() > before + 1

        await until_told(more)


@pytest.mark.parametrize("leave", [1, 2])
async def test_an_export_is_made_for_those_who_stay_whoever_leaves(leave):
    served = Served(folded(ENTRIES), (ENTRIES[0],), ENTRIES[-1])
    with contextlib.closing(Exports()) as exports:
        asking = [asyncio.create_task(exports.newest(served)) for _ in range(3)]
        await asyncio.sleep(0)
        for each in asking[:leave]:
            each.cancel()
        await asyncio.wait(asking, timeout=20)
        for each in asking[leave:]:
            assert not each.cancelled()
            assert each.result().hash == ENTRIES[-1].hash
        assert exports.rendered == 1


async def test_an_export_that_failed_is_made_again_for_who_comes_next():
    served = Served(cast("Registry", None), (ENTRIES[0],), ENTRIES[-1])
    with contextlib.closing(Exports()) as exports:
        for _ in range(2):
            with pytest.raises(AttributeError):
                await exports.newest(served)
        served.registry = folded(ENTRIES)
        assert (await exports.newest(served)).hash == ENTRIES[-1].hash
