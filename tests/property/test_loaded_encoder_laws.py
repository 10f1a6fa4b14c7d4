"""Laws of a model behind its encoder: how the probe lets it run, and what each input gets of it."""

import tempfile
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.encoder_models import VOCABULARY, fresh_device, write_tiny
from tests.support.sameness import assert_same
from torch import Tensor
from transformers import AutoModel, BertConfig

from sie_layouts.steps import TextLayout
from sie_schemas.documents import EncodeTask, ProfileDocument, Tasks
from sie_schemas.errors import FixRequest, OurFault
from sie_schemas.ipc import LateInput, RunBatch, TokensInput
from sie_schemas.jobs import AdapterPin
from sie_server.adapters.lora import Adapter, Delta
from sie_server.backends.backend import ModelSpec
from sie_server.backends.forward.encoder import Encoder, Sequences, States
from sie_server.backends.forward.loaded_encoder import LoadedEncoder
from sie_server.backends.forward.probe import probe
from sie_server.backends.heads.vector_answers import as_given, lengths_of, rows_as_given
from sie_server.backends.score.late import late_scores
from sie_server.packed.packed_attention import register
from sie_server.packed.prepacked import PrepackedLinear
from sie_server.tolerances import logits_agree
from sie_server.vectors.pooling import pool
from sie_server.weights.sources import Weights
from sie_server.weights.tokenizer_file import tokenizer_file

_CPU = torch.device("cpu")
_WINDOW = 150
_CONFIG = BertConfig(
    vocab_size=VOCABULARY,
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=256,
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        register()
        yield write_tiny(Path(made), _CONFIG)


@cache
def _model(folder: Path) -> Any:
    return AutoModel.from_pretrained(folder).eval().requires_grad_(False)


def _means(states: States, sequences: Sequences) -> Tensor:
    packed = pool(states.hidden, lengths_of(states, sequences), "mean")
    return rows_as_given(packed, states.order)


@dataclass
class _Wrong:
    """The ways in which a model is another one than its own forward."""

    packed: str
    padded: bool
    together: bool
    prepacked: bool
    head: bool


class _Misled(Encoder):
    """A model that answers otherwise where it is told to."""

    wrong: _Wrong
    execution = "padded"

    def choose(self, execution: Any) -> None:
        super().choose(execution)
        self.execution = execution

    def packed(self, batch: Sequences, adapters: Sequence[Adapter] = ()) -> States:
        is_off = {
            "never": False,
            "always": True,
            "beyond its window": max(batch.lengths) > _WINDOW,
            "with special ids": any(bool((ids < 10).any()) for ids in batch.ids),
        }[self.wrong.packed]
        laid_out = any(isinstance(each, PrepackedLinear) for each in self.model.modules())
        return _moved(
            super().packed(batch, adapters), is_off or (laid_out and self.wrong.prepacked)
        )

    def padded(
        self, batch: Sequences, adapters: Sequence[Adapter] = (), *, tokens_max: int
    ) -> States:
        states = super().padded(batch, adapters, tokens_max=tokens_max)
        several = len(batch.ids) > 1
        is_filled = several and self.execution == "padded"
        is_off = (is_filled and self.wrong.padded) or (several and self.wrong.together)
        return _moved(states, is_off)


def _moved(states: States, is_off: bool) -> States:
    return States(states.hidden + 1, states.order) if is_off else states


@settings(max_examples=15)
@example(_Wrong("beyond its window", padded=False, together=False, prepacked=False, head=False), "")
@example(_Wrong("with special ids", padded=True, together=False, prepacked=False, head=False), "")
@example(_Wrong("never", padded=False, together=False, prepacked=True, head=False), "")
@example(_Wrong("never", padded=True, together=True, prepacked=False, head=False), "it codes")
@given(
    st.builds(
        _Wrong,
        st.sampled_from(["never", "always", "beyond its window", "with special ids"]),
        *[st.booleans()] * 4,
    ),
    st.sampled_from(["", "it codes"]),
)
def test_a_model_runs_together_only_in_a_way_that_answers_as_its_own_forward(folder, wrong, why):
    encoder = _Misled(deepcopy(_model(folder)), device=_CPU)
    encoder.wrong = wrong
    encoder.model.config.sliding_window = _WINDOW
    plain = Encoder(_model(folder), device=_CPU)

    def head(text: Tensor) -> Tensor:
        single = Sequences(ids=[text], type_ids=[None], owners=[None])
        return _means(plain.padded(single, tokens_max=1), single) + 2

    def judge() -> Any:
        given = {"reference": head} if wrong.head else {}
        return probe(
            encoder, _means, vocabulary=VOCABULARY, tokens_max=256, padded_because=why, **given
        )

    packs = wrong.packed == "never" and not why
    if wrong.head or (not packs and wrong.together):
        with pytest.raises(OurFault, match="answers the same text in two ways"):
            judge()
        return
    verdict = judge()
    wanted = "packed" if packs else "alone" if wrong.padded else "padded"
    assert (verdict.execution, encoder.execution) == (wanted, wanted)
    assert verdict.reason.startswith(why) and bool(verdict.reason) != packs
    laid_out = any(isinstance(each, PrepackedLinear) for each in encoder.model.modules())
    assert laid_out == verdict.prepacked
    assert not (wrong.prepacked and laid_out)


_PINS = [AdapterPin("legal", "1"), AdapterPin("legal", "2"), AdapterPin("medical", "1")]
_STRANGERS = [AdapterPin("medical", "2"), AdapterPin("legal", "3")]
"""One is there for another model, one is nowhere."""


def _adapter(model: Any, seed: int) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    deltas = {
        name: Delta(
            0.3 * torch.randn(2, module.in_features, generator=generator),
            0.3 * torch.randn(2, module.out_features, generator=generator),
        )
        for name, module in model.named_modules()
        if name.startswith("encoder.") and type(module) is torch.nn.Linear
    }
    return Adapter(deltas)


@dataclass
class _Core:
    core: LoadedEncoder
    plain: Encoder
    changes: dict[Any, Adapter]


@pytest.fixture(scope="module")
def loaded(folder: Path) -> _Core:
    device = fresh_device()
    model, plain = (deepcopy(_model(folder)) for _ in range(2))
    changes: dict[Any, Adapter] = {
        each: _adapter(model, seed) for seed, each in enumerate([*_PINS, "retrieval"])
    }
    profile = ProfileDocument(backend="transformer", max_sequence_length=100_000)
    core = LoadedEncoder(
        ModelSpec("org/model", "r1", Weights(folder, None), Tasks(encode=EncodeTask()), profile),
        Encoder(model, device=_CPU),
        tokenizer_file(folder, device.cache_folder, TextLayout(None)),
        device,
        finish=_means,
        tasks={"retrieval": changes["retrieval"]},
    )
    for pin in _PINS:
        device.adapters.put("r1", pin, lambda pin=pin: changes[pin])  # type: ignore[misc]
    device.adapters.put("r2", _STRANGERS[0], lambda: changes[_PINS[2]])
    return _Core(core, Encoder(plain, device=_CPU), changes)


_INPUT = st.tuples(
    st.integers(1, 20),
    st.sampled_from([None, None, *_PINS, *_STRANGERS]),
    st.sampled_from(["", "", "", "retrieval", "clustering"]),
    st.integers(-1, 22),
    st.integers(-1, 3),
)
"""Length, adapter, task, at how many tokens it looks, and how many of them are its prompt's."""


@settings(max_examples=30)
@example(inputs=[(9, _PINS[0], "", 0, 0), (8, None, "", 0, 0), (7, _PINS[1], "", 3, 2)], more=0)
@example(inputs=[(9, None, "retrieval", 0, 0), (8, _PINS[2], "", 0, 0)], more=0)
@example(inputs=[(9, _PINS[0], "retrieval", 0, 0)], more=0)
@example(inputs=[(9, _STRANGERS[0], "", 0, 0)], more=0)
@example(inputs=[(9, None, "clustering", 0, 0)], more=0)
@example(inputs=[(9, _PINS[0], "", 0, 0)], more=1)
@given(inputs=st.lists(_INPUT, min_size=1, max_size=5), more=st.sampled_from([0, 0, 0, 1, -1]))
def test_each_input_has_the_adapter_or_the_task_that_it_names_and_else_the_base(
    loaded, inputs, more
):
    generator = np.random.default_rng(len(inputs))
    texts = [generator.integers(5, VOCABULARY, length) for length, *_ in inputs]
    told = [
        TokensInput(ids.astype("<i4").tobytes(), task=task, attended=looks, skip=skip)
        for ids, (_, _, task, looks, skip) in zip(texts, inputs, strict=True)
    ]
    pins = [pin for _, pin, *_ in inputs]
    pins = (pins[: len(pins) + more] or pins) if more < 1 else [*pins, None]
    batch = RunBatch(
        id=1, model_revision="r1", operation="encode", inputs=tuple(told), adapters=tuple(pins)
    )
    unfit = any(
        pin in _STRANGERS or task == "clustering" or (pin and task) for _, pin, task, *_ in inputs
    )
    if unfit or len(pins) != len(inputs):
        with pytest.raises(FixRequest):
            loaded.core.run(batch, told)
        return
    states, sequences = loaded.core.run(batch, told)
    parts = as_given(torch.split(states.hidden, lengths_of(states, sequences)), states.order)
    for part, ids, (length, pin, task, looks, _) in zip(parts, texts, inputs, strict=True):
        change = pin or task
        alone = Sequences(
            ids=[torch.from_numpy(ids)],
            type_ids=[None],
            owners=[0 if change else None],
            attended=[looks] if 0 < looks < length else [],
        )
        own = [loaded.changes[change]] if change else []
        expected = loaded.plain.padded(alone, own, tokens_max=1).hidden
        assert logits_agree(part, expected, torch.float32)
    skips = [max(0, skip) for *_, skip in inputs]
    assert list(sequences.skips) == (skips if any(skips) else [])


def test_a_model_says_how_much_it_reads_whatever_its_profile_wishes(loaded):
    assert loaded.core.describe().max_sequence_length == _CONFIG.max_position_embeddings


@given(st.lists(st.lists(st.sampled_from([0.0, 1e38, float("inf"), float("nan")]), min_size=1)))
def test_one_number_that_is_none_fails_the_answer(loaded, numbers):
    tensors = [torch.tensor(part) for part in numbers]
    if all(np.isfinite(part).all() for part in numbers):
        loaded.core.require_finite(*tensors)
    else:
        with pytest.raises(OurFault, match="not finite"):
            loaded.core.require_finite(*tensors)


_SIDE = st.integers(0, 3).map(lambda length: np.arange(5, 5 + length, dtype="<i4").tobytes())


@example(pairs=[(b"\5\0\0\0", b"\6\0\0\0", pin) for pin in (None, *_PINS)], mean=False)
@example(pairs=[(b"\5\0\0\0\6\0\0\0", b"", None)], mean=True)
@given(
    pairs=st.lists(
        st.tuples(_SIDE, _SIDE, st.sampled_from([None, *_PINS])), min_size=1, max_size=4
    ),
    mean=st.booleans(),
)
def test_a_pair_scores_the_nearest_of_the_document_to_each_vector_of_its_query(loaded, pairs, mean):
    """Whichever pairs share a query, and under which adapter: it is run once under each."""

    def own(ids: bytes, pin: AdapterPin | None) -> Tensor:
        seed = sum(ids) + 100 * [None, *_PINS].index(pin)
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(len(ids) // 4, 4, generator=generator).half()

    def vectors(batch: RunBatch, texts: Sequence[TokensInput]) -> list[Tensor]:
        assert len(texts) == len({(query, pin) for query, _, pin in pairs}) + len(pairs)
        given = zip(texts, batch.adapters, strict=True)
        return [own(text.ids, pin) for text, pin in given]

    inputs = [LateInput(TokensInput(query), TokensInput(document)) for query, document, _ in pairs]
    batch = RunBatch(
        id=1,
        model_revision="r1",
        operation="score",
        inputs=tuple(inputs),
        adapters=tuple(pin for _, _, pin in pairs),
    )
    found = late_scores(loaded.core, batch, vectors, mean=mean)
    for place, (query, document, pin) in enumerate(pairs):
        sides = [own(side, pin).double().numpy() for side in (query, document)]
        both = all(len(side) for side in sides)
        total = float((sides[0] @ sides[1].T).max(axis=1).sum()) if both else 0.0
        average = total / max(1, len(sides[0]))
        values, relevance = (np.frombuffer(part, "<f4") for part in (found.values, found.relevance))
        assert_same(values[place], average if mean else total)
        assert_same(relevance[place], min(1.0, max(0.0, (average + 1) / 2)))
