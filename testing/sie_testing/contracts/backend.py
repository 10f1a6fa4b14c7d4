"""The contract of each backend: what the sidecar relies on, whoever wrote the backend.

*shell* over one loaded model. Each promise is a function over a `BackendUnderTest`; texts take the
way that they take in a worker, through its tokenizing and its answers. Holds for every built-in
backend, and for any of your own that its entry point names. Wants the extras `worker` and `server`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np

from sie_core.backend_options import GENERAL
from sie_core.options import declared_at
from sie_schemas import arrays
from sie_schemas.errors import FixRequest, SIEError
from sie_schemas.ipc import Input, Loaded, Option, RunBatch, TextInput, TokensInput
from sie_schemas.items import Item, Operation
from sie_schemas.jobs import AdapterPin, Job
from sie_server.backends.backend import Backend, DeviceSpec, ModelSpec
from sie_server.backends.names import load_backend, options_of
from sie_server.tolerances import FULL, HALF, Tolerance
from sie_worker.forms.answers import public_answers
from sie_worker.forms.tokenizing import Tokenizer, prepare

__all__ = ["BACKEND_CONTRACT", "BackendUnderTest"]

_TEXTS: Final = (
    "a short text",
    "another text, somewhat longer than the first",
    "one",
    "Ada Lovelace wrote the first program in London, long before there was a machine to run it",
)
_QUERY: Final = "who wrote it"
_ACCEPTED: Final = frozenset({"tokens", "text", "pair", "image", "document"})
_UNITS: Final = frozenset({"tokens", "bytes4", "items"})


@dataclass(frozen=True, slots=True)
class BackendUnderTest:
    """A model that its backend has loaded, and the operation that it is to do."""

    backend: Backend
    spec: ModelSpec
    device: DeviceSpec
    operation: Operation
    texts: tuple[str, ...] = _TEXTS
    query: str = _QUERY

    @classmethod
    def loaded(
        cls,
        spec: ModelSpec,
        device: DeviceSpec,
        operation: Operation,
        *,
        texts: Sequence[str] = _TEXTS,
    ) -> "BackendUnderTest":
        """Load a model by the name of its profile's backend. Raises MODEL_LOAD_FAILED."""
        return cls(load_backend(spec, device), spec, device, operation, tuple(texts))

    @property
    def described(self) -> Loaded:
        """The facts that the sidecar is told of the model."""
        return self.backend.describe()

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs of `encode` that the model's document names."""
        encode = self.spec.tasks.encode
        return tuple(encode.outputs) if self.operation == "encode" and encode is not None else ()

    def inputs(self, texts: Sequence[str]) -> tuple[Input, ...]:
        """Texts as the sidecar hands them over."""
        loaded = self.described
        tokenizer = Tokenizer.read(loaded) if loaded.accepts == "tokens" else None
        prepared = prepare(self._job(texts), loaded, tokenizer)
        assert not prepared.failures, f"texts are refused: {prepared.failures}"
        assert all(cost >= 1 for _, _, cost in prepared.inputs), "every input costs something"
        return tuple(given for _, given, _ in prepared.inputs)

    def batch(self, inputs: Sequence[Input], **changed: Any) -> RunBatch:
        """A batch of the operation with all outputs."""
        batch = RunBatch(
            id=1,
            model_revision=self.spec.revision,
            operation=self.operation,
            inputs=tuple(inputs),
            outputs=self.outputs,
        )
        return msgspec.structs.replace(batch, **changed)

    def answers(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """The public answer of each text, all in one batch."""
        done = self.backend.run(self.batch(self.inputs(texts)))
        items = [Item(text=text) for text in texts]
        public = public_answers(done, items, ["float32"] * len(items))
        for answer in public:
            assert isinstance(answer, bytes), f"a text has no answer: {answer}"
        return [_read(answer) for answer in public if isinstance(answer, bytes)]

    def _job(self, texts: Sequence[str]) -> Job:
        return Job(
            job_id="contract.0",
            request_id="contract",
            first_item=0,
            operation=self.operation,
            log_id="",
            epoch=0,
            model_id=self.spec.model_id,
            profile="default",
            model_revision=self.spec.revision,
            items=tuple(Item(text=text) for text in texts),
            query=Item(text=self.query) if self.operation == "score" else None,
            output_types=self.outputs,
            reply_to="",
            deadline=math.inf,
            published_at=0.0,
        )


Promise: TypeAlias = Callable[[BackendUnderTest], None]


def described(under_test: BackendUnderTest) -> None:
    """It says what it takes, what that costs, and how wide each vector is."""
    loaded = under_test.described
    assert loaded.accepts in _ACCEPTED, loaded.accepts
    assert loaded.cost_unit in _UNITS, loaded.cost_unit
    assert loaded.accepts != "tokens" or loaded.tokenizer_path, "token ids need a tokenizer"
    for output in under_test.outputs:
        assert loaded.dims.get(output, 0) > 0, f"the width of {output} is not told"


def as_wide_as_told(under_test: BackendUnderTest) -> None:
    """Each vector has the width that was told, and nothing but finite numbers."""
    told = under_test.described.dims
    for answer in under_test.answers(under_test.texts):
        if "dense" in answer:
            assert answer["dense"]["dims"] == told["dense"]
        if "multivector" in answer:
            assert answer["multivector"]["token_dims"] == told["multivector"]
        if "sparse" in answer:
            assert int(answer["sparse"]["indices"].max(initial=0)) < told["sparse"]
        for numbers in _numbers(answer):
            assert np.isfinite(numbers).all(), "an answer holds what is no number"


def in_order(under_test: BackendUnderTest) -> None:
    """Answers are in the order of the inputs, whatever that is."""
    texts = list(under_test.texts)
    forwards, backwards = under_test.answers(texts), under_test.answers(texts[::-1])
    for text, first, second in zip(texts, forwards, backwards[::-1], strict=True):
        _assert_same(under_test, first, second, f"{text!r} in another order")


def alone_as_together(under_test: BackendUnderTest) -> None:
    """A text's answer does not depend on its batch-mates, unless the profile says that it may."""
    if not (under_test.described.batch_invariant and under_test.spec.profile.batch_invariant):
        return
    texts = list(under_test.texts)
    together = under_test.answers(texts)
    for text, expected in zip(texts, together, strict=True):
        _assert_same(under_test, under_test.answers([text])[0], expected, f"{text!r} alone")


def the_same_again(under_test: BackendUnderTest) -> None:
    """A batch leaves nothing behind that the next one would see."""
    first = under_test.answers(under_test.texts)
    under_test.answers(under_test.texts[:1])
    for one, other in zip(first, under_test.answers(under_test.texts), strict=True):
        _assert_same(under_test, one, other, "the same batch again")


def long_texts_cut(under_test: BackendUnderTest) -> None:
    """A text that is longer than the model reads has an answer too."""
    assert len(under_test.answers(["word " * 5000, "a"])) == 2


def refusals(under_test: BackendUnderTest) -> None:
    """A batch that it cannot do is the request's fault by name, and harms no other."""
    good = under_test.inputs(under_test.texts[:2])
    before = under_test.answers(under_test.texts[:2])
    foreign: Input = TokensInput(b"\1\0\0\0")
    if under_test.described.accepts == "tokens":
        foreign = TextInput("a text where token ids belong")
    others: dict[Operation, Operation] = {
        "encode": "score",
        "score": "extract",
        "extract": "encode",
    }
    nobody = AdapterPin("nobody", "1")
    for what, batch in {
        "no inputs": under_test.batch(()),
        "an input of another kind": under_test.batch((*good, foreign)),
        "another operation": under_test.batch(
            good, operation=others[under_test.operation], outputs=()
        ),
        "an output that nobody gives": under_test.batch(good, outputs=("smell",)),
        "an adapter that is not loaded": under_test.batch(good, adapter=nobody),
        "such an adapter of one input": under_test.batch(good, adapters=(nobody, None)),
    }.items():
        try:
            under_test.backend.run(batch)
        except FixRequest as refused:
            assert 400 <= refused.status < 500, f"{what}: {refused.code}"
        else:
            raise AssertionError(f"{what} was answered")
    for one, other in zip(before, under_test.answers(under_test.texts[:2]), strict=True):
        _assert_same(under_test, one, other, "after refusals")


def memory_told(under_test: BackendUnderTest) -> None:
    """The bytes that it holds are known and do not grow with the batches that it runs."""
    before = under_test.backend.memory_bytes()
    assert before >= 0
    for _ in range(3):
        under_test.answers(under_test.texts)
    assert under_test.backend.memory_bytes() <= before * 1.01 + 1024


def options_declared(under_test: BackendUnderTest) -> None:
    """Its options are declared; another name or value is refused before anything is loaded."""
    declared = options_of(under_test.spec.profile.backend)
    general = {(option.name, option.operations) for option in GENERAL}
    own = [option for option in declared if option not in GENERAL]
    assert not general & {(option.name, option.operations) for option in own}
    wrong: list[dict[str, Any]] = [{"no_such_option": 1}]
    wrong += [{option.name: _amiss(option)} for option in declared_at(declared).values()]
    for options in wrong:
        profile = under_test.spec.profile
        changed = profile.model_copy(update={"options": {**profile.options, **options}})
        try:
            load_backend(replace(under_test.spec, profile=changed), under_test.device)
        except SIEError as refused:
            assert refused.code == "MODEL_LOAD_FAILED"
            assert next(iter(options)) in refused.message
        else:
            raise AssertionError(f"{options} was taken")


BACKEND_CONTRACT: Final[tuple[Promise, ...]] = (
    described,
    as_wide_as_told,
    in_order,
    alone_as_together,
    the_same_again,
    long_texts_cut,
    refusals,
    memory_told,
    options_declared,
)


def _amiss(option: Option) -> Any:
    """A value that the option does not take."""
    return {"flag": "yes", "text": 7, "whole": 0.5, "number": "many"}[option.kind]


def _read(answer: bytes) -> dict[str, Any]:
    found: dict[str, Any] = arrays.from_wire(msgspec.msgpack.decode(answer))
    return found


def _numbers(answer: Any) -> list[Any]:
    if isinstance(answer, np.ndarray):
        return [answer]
    if isinstance(answer, dict):
        return [each for value in answer.values() for each in _numbers(value)]
    if isinstance(answer, list):
        return [each for value in answer for each in _numbers(value)]
    return [np.float64(answer)] if isinstance(answer, float) else []


def _assert_same(under_test: BackendUnderTest, found: Any, expected: Any, what: str) -> None:
    """Equal within what rounding explains."""
    if isinstance(expected, dict):
        assert isinstance(found, dict) and found.keys() == expected.keys(), what
        for name, value in expected.items():
            _assert_same(under_test, found[name], value, f"{what}: {name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), f"{what}: {found} is not {expected}"
        for one, other in zip(found, expected, strict=True):
            _assert_same(under_test, one, other, what)
    elif isinstance(expected, np.ndarray):
        _assert_near(under_test, found, expected, what)
    elif isinstance(expected, float):
        allowed = _tolerance(under_test).logit * (1 + abs(expected))
        assert abs(found - expected) <= allowed, f"{what}: {found} is not {expected}"
    else:
        assert found == expected, f"{what}: {found} is not {expected}"


def _assert_near(under_test: BackendUnderTest, found: Any, expected: Any, what: str) -> None:
    assert found.shape == expected.shape, f"{what}: shape {found.shape} is not {expected.shape}"
    bound = _tolerance(under_test)
    rows = zip(np.atleast_2d(found), np.atleast_2d(expected), strict=True)
    for one, other in ((left.astype(float), right.astype(float)) for left, right in rows):
        if (one == other).all():
            continue
        distance = 1 - float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))
        most = float(np.abs(one - other).max() / np.sqrt((other**2).mean()))
        assert distance <= bound.cosine and most <= bound.delta, (
            f"{what}: cosine distance {distance:.1e} and difference {most:.1e} rms"
        )


def _tolerance(under_test: BackendUnderTest) -> Tolerance:
    return HALF if under_test.described.dtype in ("bf16", "fp16") else FULL
