"""Memory that is full: what is freed, who leaves, how a batch shrinks, and what is said at last."""

import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from tests.support.encoder_models import DEVICE

from sie_schemas import ipc
from sie_schemas.errors import Later
from sie_schemas.jobs import AdapterPin
from sie_server.adapters.adapter_shelf import AdapterShelf
from sie_server.backends.backend import WithoutAdapters
from sie_server.device.memory import device_bytes, host_available_bytes
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


def _words(batch: ipc.RunBatch) -> list[str]:
    """Each input with its adapter: what an answer hangs on."""
    texts = [given.text for given in batch.inputs if isinstance(given, ipc.TextInput)]
    pins = batch.adapters or (None,) * len(texts)
    return [f"{text}{pin.name if pin else '-'}" for text, pin in zip(texts, pins, strict=True)]


def _bytes(words: list[str], mark: str) -> bytes:
    return "".join(mark + word for word in words).encode()


def _sparse(words: list[str]) -> ipc.SparseAnswers:
    return ipc.SparseAnswers(_bytes(words, "c"), _bytes(words, "i"), _bytes(words, "v"))


def _many(words: list[str]) -> ipc.MultivectorAnswers:
    return ipc.MultivectorAnswers(2, _bytes(words, "c"), _bytes(words, "v"))


def _lengths(words: list[str]) -> tuple[int, ...]:
    return tuple(map(len, words))


_ANSWERS: dict[str, Callable[[list[str]], ipc.Answers]] = {
    "dense": lambda words: ipc.DenseAnswers(1, _bytes(words, "d")),
    "sparse": lambda words: ipc.EncodeAnswers(sparse=_sparse(words)),
    "all": lambda words: ipc.EncodeAnswers(
        dense=ipc.DenseAnswers(1, _bytes(words, "d")),
        sparse=_sparse(words),
        multivector=_many(words),
    ),
    "scores": lambda words: ipc.ScoreAnswers(
        _bytes(words, "s"), _bytes(words, "r"), _bytes(words, "l"), _lengths(words)
    ),
    "entities": lambda words: ipc.EntityAnswers(
        tuple(({"label": word},) * len(word) for word in words), _lengths(words)
    ),
    "classes": lambda words: ipc.ClassAnswers(
        tuple(({"label": word},) for word in words), _lengths(words)
    ),
}


@pytest.mark.parametrize("kind", _ANSWERS)
@settings(max_examples=15)
@given(st.integers(1, 40), st.integers(1, 40), st.booleans())
def test_a_batch_that_does_not_fit_is_answered_in_parts_as_in_one(kind, count, fits, adapted):
    batch = _batch(count)
    if adapted:
        pins = tuple(AdapterPin(f"a{place}", "1") for place in range(count))
        batch = structs.replace(batch, adapters=pins)
    sizes: list[int] = []

    def run(part: ipc.RunBatch) -> ipc.Answers:
        sizes.append(len(part.inputs))
        if len(part.inputs) > fits:
            raise MemoryError
        return _ANSWERS[kind](_words(part))

    assert run_batch(run, batch, lambda: False) == _ANSWERS[kind](_words(batch))
    assert sum(size for size in sizes if size <= fits) == count, "nothing is run twice"


@pytest.mark.parametrize(
    "error",
    [
        Later("the model is on its way", code="MODEL_LOADING"),
        RuntimeError("shapes do not match"),
        ValueError("can't allocate memory"),
    ],
    ids=repr,
)
def test_a_batch_that_fails_for_another_reason_is_not_cut_and_nobody_leaves(error):
    runs: list[int] = []

    def run(batch: ipc.RunBatch) -> ipc.Answers:
        runs.append(len(batch.inputs))
        raise error

    def make_room() -> bool:
        raise AssertionError("somebody leaves for nothing")

    with pytest.raises(type(error), match=str(error)):
        run_batch(run, _batch(4), make_room)
    assert runs == [4]


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


def test_kinds_of_answers_are_not_mixed():
    dense = ipc.DenseAnswers(1, b"abcd")
    both = ipc.EncodeAnswers(dense=dense, sparse=ipc.SparseAnswers(b"1", b"2", b"3"))
    with pytest.raises(TypeError):
        join([dense, both])
    with pytest.raises(TypeError):
        join([both, ipc.EncodeAnswers(dense=dense)])


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
    assert device_bytes("cpu", cgroup=group) == 6000, "of a machine that has more"
    (group / "memory.max").write_text("max\n")
    whole = device_bytes("cpu", cgroup=group)
    assert whole > 2**20
    (group / "memory.max").write_text(f"{whole + 1}\n")
    assert device_bytes("cpu", cgroup=group) == whole, "no container has more than its host"
