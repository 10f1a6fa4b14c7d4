"""Memory that is full: what is freed, who leaves, how a batch shrinks, and what is said at last."""

import struct
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.support.encoder_models import DEVICE

from sie_schemas import ipc
from sie_schemas.jobs import AdapterPin
from sie_server.adapters.adapter_shelf import AdapterShelf
from sie_server.backends.backend import WithoutAdapters
from sie_server.device.memory import host_available_bytes
from sie_server.execution.answer_joining import join
from sie_server.execution.execution import Execution
from sie_server.execution.memory_ladder import run_batch
from sie_server.execution.residents import Pressure


class _Narrow(WithoutAdapters):
    """A backend that fits `fits` inputs at once, fewer while its neighbours are loaded."""

    name = "narrow"

    def __init__(self, fits: int, neighbours: "list[_Narrow] | None" = None) -> None:
        self._fits = fits
        self._neighbours = [] if neighbours is None else neighbours
        self.sizes: list[int] = []
        self.loaded = True

    def describe(self) -> ipc.Loaded:
        return ipc.Loaded(id=0, revision="", accepts="text")

    def memory_bytes(self) -> int:
        return 1

    def leave(self) -> None:
        self.loaded = False

    def run(self, batch: ipc.RunBatch) -> ipc.Answers:
        self.sizes.append(len(batch.inputs))
        room = self._fits - sum(1 for other in self._neighbours if other.loaded)
        if len(batch.inputs) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        values = [
            float(len(given.text)) for given in batch.inputs if isinstance(given, ipc.TextInput)
        ]
        return ipc.ScoreAnswers(struct.pack(f"<{len(values)}f", *values))


def _batch(count: int, revision: str = "r1") -> ipc.RunBatch:
    return ipc.RunBatch(
        id=3,
        model_revision=revision,
        operation="score",
        inputs=tuple(ipc.TextInput("x" * size) for size in range(count)),
    )


def _execution() -> Execution:
    return Execution(replace(DEVICE, adapters=AdapterShelf()), memory_bytes_max=0)


def _scores(reply: ipc.Reply) -> list[float]:
    assert isinstance(reply, ipc.BatchDone), reply
    assert isinstance(reply.answers, ipc.ScoreAnswers)
    values = reply.answers.values
    return list(struct.unpack(f"<{len(values) // 4}f", values))


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_batch_that_does_not_fit_is_answered_in_parts_and_in_order(count, fits):
    found = run_batch(_Narrow(fits).run, _batch(count), lambda: False)
    assert isinstance(found, ipc.ScoreAnswers)
    assert list(struct.unpack(f"<{count}f", found.values)) == [float(i) for i in range(count)]


def test_models_leave_oldest_first_and_no_more_than_are_needed():
    idle = [_Narrow(9) for _ in range(3)]
    busy = _Narrow(4, idle)
    execution = _execution()
    for revision, backend in (("a", idle[0]), ("r1", busy), ("b", idle[1]), ("c", idle[2])):
        execution.adopt(revision, backend)
    assert _scores(execution.answer(_batch(3))) == [0.0, 1.0, 2.0]
    assert [backend.loaded for backend in idle] == [False, False, True]
    assert busy.sizes == [3, 3, 3, 3], "freed once, then one model after the other"


def test_a_batch_is_cut_only_when_nothing_else_can_leave():
    other = _Narrow(9)
    busy = _Narrow(2, [other])
    execution = _execution()
    execution.adopt("r1", busy)
    execution.adopt("r2", other)
    assert _scores(execution.answer(_batch(4))) == [0.0, 1.0, 2.0, 3.0]
    assert not other.loaded
    assert busy.loaded, "what runs never leaves"


def test_an_input_that_does_not_fit_alone_may_be_sent_again_later():
    execution = _execution()
    execution.adopt("r1", _Narrow(0))
    failed = execution.answer(_batch(3))
    assert isinstance(failed, ipc.Failed)
    assert failed.code == "RESOURCE_EXHAUSTED"
    assert failed.retry_after_s


def test_the_halves_of_a_batch_keep_the_adapter_of_each_input():
    pins = (AdapterPin("a", "1"), None, AdapterPin("b", "1"))
    seen: list[tuple[AdapterPin | None, ...]] = []

    def run(batch: ipc.RunBatch) -> ipc.Answers:
        if len(batch.inputs) > 1:
            raise MemoryError
        seen.append(batch.adapters)
        return ipc.ScoreAnswers(b"\0\0\0\0")

    run_batch(
        run,
        ipc.RunBatch(
            id=1, model_revision="r1", operation="score", inputs=_batch(3).inputs, adapters=pins
        ),
        lambda: False,
    )
    assert seen == [(pin,) for pin in pins]


def test_every_kind_of_answer_is_joined_and_kinds_are_not_mixed():
    dense = ipc.DenseAnswers(1, b"abcd")
    sparse = ipc.SparseAnswers(b"1", b"2", b"3")
    many = ipc.MultivectorAnswers(2, b"4", b"5")
    whole = ipc.EncodeAnswers(dense=dense, sparse=sparse, multivector=many)
    assert join([whole, whole]) == ipc.EncodeAnswers(
        dense=ipc.DenseAnswers(1, b"abcdabcd"),
        sparse=ipc.SparseAnswers(b"11", b"22", b"33"),
        multivector=ipc.MultivectorAnswers(2, b"44", b"55"),
    )
    entities = ipc.EntityAnswers((({"label": "x"},),))
    assert join([entities, entities]) == ipc.EntityAnswers((({"label": "x"},), ({"label": "x"},)))
    with pytest.raises(TypeError):
        join([dense, whole])


def _under(pressure: Pressure) -> tuple[Execution, list[_Narrow]]:
    """Three models of a byte each, of which the first, the least recently used, is pinned."""
    execution = Execution(
        replace(DEVICE, adapters=AdapterShelf()), memory_bytes_max=0, pressure=pressure
    )
    models = [_Narrow(fits=9) for _ in range(3)]
    for number, model in enumerate(models, 1):
        execution.adopt(f"r{number}", model)
    pinned = ipc.Load(id=1, revision="r1", config={}, pinned=True)
    assert isinstance(execution.answer(pinned), ipc.Loaded)
    for revision in ("r1", "r2", "r3"):
        assert _scores(execution.answer(_batch(1, revision)))
    return execution, models


def test_an_idle_model_leaves_and_a_pinned_one_never():
    execution, models = _under(Pressure(idle_s=0.0))
    execution.tend()
    assert [model.loaded for model in models] == [True, False, False]
    execution.answer(ipc.Load(id=2, revision="r1", config={}))
    execution.tend()
    assert [model.loaded for model in models] == [False, False, False]


def test_models_leave_one_at_a_look_while_the_host_is_short_of_memory_and_no_longer():
    available = [500]
    pressure = Pressure(host_bytes_min=100, available_bytes=lambda: available[0])
    execution, models = _under(pressure)
    execution.tend()
    assert [model.loaded for model in models] == [True, True, True]
    available[0] = 99
    execution.tend()
    assert [model.loaded for model in models] == [True, False, True]
    available[0] = 100
    execution.tend()
    assert [model.loaded for model in models] == [True, False, True]


def test_a_full_device_is_not_relieved_of_a_pinned_model():
    execution, models = _under(Pressure())
    execution.adopt("r4", _Narrow(fits=2, neighbours=models))
    refused = execution.answer(_batch(1, "r4"))
    assert isinstance(refused, ipc.BatchDone)
    assert [model.loaded for model in models] == [True, False, False]


def test_what_a_host_has_left_is_the_least_of_what_kernel_and_container_tell(tmp_path):
    meminfo, group = tmp_path / "meminfo", tmp_path / "group"
    assert host_available_bytes(meminfo=meminfo, cgroup=group) is None
    meminfo.write_text("MemTotal: 900 kB\nMemAvailable:   500 kB\n")
    assert host_available_bytes(meminfo=meminfo, cgroup=group) == 500 * 1024
    group.mkdir()
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("5000\n")
    assert host_available_bytes(meminfo=meminfo, cgroup=group) == 500 * 1024
    (group / "memory.max").write_text("6000\n")
    (group / "memory.stat").write_text("anon 1\ninactive_file 300\n")
    assert host_available_bytes(meminfo=meminfo, cgroup=group) == 1300
