"""The executor against a scripted execution process, on a real Unix socket."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.support.polling import until
from tests.support.scripted_execution import LETHAL, ScriptedExecution, scripted_execution

from sie_schemas import ipc
from sie_schemas.errors import SIEError
from sie_worker.execution.executor import Executor, ExecutorLost


@asynccontextmanager
async def running_executor(
    execution: ScriptedExecution, **changed: float
) -> AsyncIterator[Executor]:
    times = {
        "reconnect_s": 0.01,
        "ping_interval_s": 30.0,
        "ping_timeout_s": 2.0,
        "load_timeout_s": 5.0,
        "batch_timeout_s": 5.0,
    } | changed
    executor = Executor(str(execution.path), **times)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(executor.run(stop))
        async with asyncio.timeout(60):
            await executor.wait_connected()
        try:
            yield executor
        finally:
            stop.set()


def batch(executor: Executor, *texts: str):
    return executor.run_batch(
        model_revision="rev",
        operation="encode",
        adapter=None,
        inputs=tuple(ipc.TextInput(text) for text in texts),
        outputs=(),
        labels=(),
        options={},
    )


async def test_replies_in_any_order_reach_the_requests_they_belong_to(tmp_path: Path):
    async with scripted_execution(tmp_path) as execution, running_executor(execution) as executor:
        execution.hold()
        async with asyncio.TaskGroup() as group:
            slow = group.create_task(batch(executor, "a", "bb"))
            loaded = await executor.load("rev", {})
            assert not slow.done()
            execution.let_go()

    assert loaded.revision == "rev"
    assert isinstance(slow.result().answers, ipc.DenseAnswers)


@pytest.mark.parametrize("apart", [True, False])
async def test_batches_go_over_a_connection_of_their_own_where_that_is_offered(
    tmp_path: Path, apart: bool
):
    async with scripted_execution(tmp_path) as execution:
        execution.hello = replace(execution.hello, batches_apart=apart)
        async with running_executor(execution) as executor:
            assert len((await batch(executor, "a", "bb")).answers.values) == 8
            assert execution.connections == (2 if apart else 1)
            # Over the other one a batch would wait for the process's loop.
            assert execution.batches_apart == [apart]


async def test_what_is_out_is_lost_with_either_connection(tmp_path: Path):
    async with scripted_execution(tmp_path) as execution, running_executor(execution) as executor:
        with pytest.raises(ExecutorLost):
            await batch(executor, LETHAL)
        await until(lambda: executor.connected and execution.connections == 2)

        execution.hold()
        execution.answer = lambda request: b"\0\0\0\1\xc1"
        async with asyncio.TaskGroup() as group:
            out = group.create_task(_lost(batch(executor, "a")))
            await until(lambda: len(execution.batches) == 2)
            with pytest.raises(ExecutorLost):
                await executor.load("rev", {})
            await out


async def _lost(asking: Coroutine[Any, Any, ipc.BatchDone]) -> None:
    with pytest.raises(ExecutorLost):
        await asking


async def test_the_error_of_a_reply_is_raised_with_its_code(tmp_path: Path):
    async with scripted_execution(tmp_path) as execution, running_executor(execution) as executor:
        with pytest.raises(SIEError, match="poisoned") as caught:
            await batch(executor, "poison")

    assert caught.value.code == "INFERENCE_ERROR"


async def test_what_a_process_that_stops_has_not_begun_is_as_lost_as_with_one_that_is_gone(
    tmp_path: Path,
):
    """Its jobs go back to the queue; a client would be told of an error."""
    async with scripted_execution(tmp_path) as execution, running_executor(execution) as executor:
        execution.answer = lambda request: ipc.Failed(
            id=request.id, code="NOT_READY", message="model execution is stopping"
        )
        await _lost(batch(executor, "a"))


async def test_a_death_in_mid_batch_fails_what_was_out_and_a_new_process_is_found(tmp_path: Path):
    async with scripted_execution(tmp_path) as execution, running_executor(execution) as executor:
        seen: list[bool] = []
        executor.on_change(lambda: seen.append(executor.connected))
        execution.resident = ()
        await executor.load("rev", {})
        loaded = executor.resident
        assert loaded == frozenset({"rev"})
        execution.hold()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(_error(batch(executor, "a")))
            await until(lambda: execution.batches)
            await execution.die()
        # Nothing is loaded in a process that is gone, and of the next one nothing is known.
        assert executor.resident is None
        assert isinstance(running.result(), ExecutorLost)
        assert running.result().retry_after_s is not None
        assert not executor.connected
        assert isinstance(await _error(batch(executor, "b")), ExecutorLost)

        await execution.start()
        execution.let_go()
        await until(lambda: executor.connected)
        await batch(executor, "c")

    assert seen[:2] == [False, True]
    assert executor.connections == 2


@pytest.mark.parametrize(
    "reply",
    [
        ipc.FRAME_HEADER.pack(3) + b"\xc1\xc1\xc1",
        ipc.FRAME_HEADER.pack(ipc.FRAME_BYTES_MAX + 1),
        ipc.FRAME_HEADER.pack(1) + b"\x01",
        ipc.encode(ipc.Failed(id=1, code="XX", message="")).replace(b"XX", b"\xff\xff"),
    ],
    ids=["not msgpack", "a frame above the limit", "not a reply", "not UTF-8"],
)
async def test_a_malformed_reply_drops_the_connection_and_the_next_one_works(
    tmp_path: Path, reply: bytes
):
    async with scripted_execution(tmp_path) as execution, running_executor(execution) as executor:
        execution.answer = lambda request: reply
        lost = await _error(batch(executor, "a"))
        assert isinstance(lost, ExecutorLost)
        assert "unreadable" in lost.message

        execution.answer = execution.usual_answer
        await until(lambda: executor.connected)
        await batch(executor, "b")


async def test_a_process_that_hangs_is_given_up_by_its_pings(tmp_path: Path):
    async with (
        scripted_execution(tmp_path) as execution,
        running_executor(execution, ping_interval_s=0.02, ping_timeout_s=0.1) as executor,
    ):
        execution.answer = lambda request: None
        lost = await _error(batch(executor, "a"))

    assert isinstance(lost, ExecutorLost)
    assert "Ping" in lost.message


async def test_a_process_that_is_silent_is_told_long_before_it_is_given_up(tmp_path: Path):
    async with (
        scripted_execution(tmp_path) as execution,
        running_executor(
            execution, ping_interval_s=0.02, ping_timeout_s=60.0, silent_s=0.05
        ) as executor,
    ):
        assert executor.trouble == ""
        usual, execution.answer = execution.answer, lambda request: None
        await until(lambda: executor.trouble == "no answer for 0 s")
        assert executor.connected
        execution.answer = usual
        await execution.die()
        await until(lambda: not executor.connected)
        await execution.start()
        await until(lambda: executor.connected and executor.trouble == "")


async def test_a_batch_that_takes_too_long_is_lost(tmp_path: Path):
    async with (
        scripted_execution(tmp_path) as execution,
        running_executor(execution, batch_timeout_s=0.1) as executor,
    ):
        execution.hold()
        lost = await _error(batch(executor, "a"))

    assert isinstance(lost, ExecutorLost)
    assert "RunBatch" in lost.message


async def test_a_process_of_a_newer_protocol_is_refused_with_the_reason(tmp_path: Path):
    async with scripted_execution(tmp_path) as execution:
        execution.hello = ipc.Hello(v=ipc.IPC_VERSION + 1, pid=1, device="d", backends=())
        executor = Executor(
            str(execution.path),
            reconnect_s=0.01,
            ping_interval_s=30,
            ping_timeout_s=1,
            load_timeout_s=1,
            batch_timeout_s=1,
        )
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            # It comes after its sidecar, as it does at each start.
            there = execution.path.rename(tmp_path / "elsewhere")
            group.create_task(executor.run(stop))
            await until(lambda: "does not listen" in executor.trouble)
            there.rename(execution.path)
            await until(lambda: "version" in executor.last_loss)
            assert not executor.connected
            stop.set()


async def _error(call) -> SIEError:
    try:
        await call
    except SIEError as error:
        return error
    raise AssertionError("it did not fail")
