"""Classes of a text, against transformers' own pipelines on small random models."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.encoder_models import DEVICE
from tests.support.entity_models import CORPUS, HOSTILE, write_family
from tests.support.extracting import extracted
from tests.support.sameness import assert_same
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BartConfig,
    ConvBertConfig,
    ModernBertConfig,
    pipeline,
)

from sie_schemas import ipc
from sie_schemas.documents import SYNONYMS, ExtractTask, ProfileDocument, Tasks
from sie_schemas.errors import FixRequest, OurFault
from sie_schemas.jobs import AdapterPin
from sie_server.adapters.adapter_shelf import AdapterShelf
from sie_server.adapters.lora import Adapter, Delta
from sie_server.backends.backend import Backend, DeviceSpec, ModelSpec
from sie_server.backends.names import load_backend
from sie_server.weights.sources import Weights

_INFERENCE = ("entailment", "neutral", "contradiction")
_LABELS = ("politics", "the economy", "sports")
_TEXTS = (*CORPUS[:3], "Tim Cook! " * 60)


def _write(folder: Path, family: str, names: Sequence[str], **changes: Any) -> Path:
    kind = AutoModelForSequenceClassification
    if family == "bart":
        write_family(folder, "roberta", names, kind=kind)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        config: Any = BartConfig(
            vocab_size=len(tokenizer),
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            max_position_embeddings=258,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            decoder_start_token_id=2,
            id2label=dict(enumerate(names)),
            label2id={name: place for place, name in enumerate(names)},
        )
        _save_random(config, folder)
    elif family == "convbert":
        # Padding changes its answers: texts run one by one.
        write_family(folder, "bert", names, kind=kind)
        config = ConvBertConfig(
            vocab_size=len(AutoTokenizer.from_pretrained(folder)),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=4,
            intermediate_size=48,
            max_position_embeddings=258,
            id2label=dict(enumerate(names)),
            label2id={name: place for place, name in enumerate(names)},
        )
        _save_random(config, folder)
    elif family == "modernbert":
        write_family(folder, "roberta", names, kind=kind)
        config = ModernBertConfig(
            vocab_size=len(AutoTokenizer.from_pretrained(folder)),
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=48,
            local_attention=8,
            max_position_embeddings=258,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            cls_token_id=0,
            sep_token_id=2,
            id2label=dict(enumerate(names)),
            label2id={name: place for place, name in enumerate(names)},
        )
        _save_random(config, folder)
    else:
        write_family(folder, family, names, kind=kind, **changes)
    return folder


def _save_random(config: Any, folder: Path) -> None:
    torch.manual_seed(3)
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(6)
    model.save_pretrained(folder)


def _load(
    backend: str,
    folder: Path,
    *,
    extract: ExtractTask | None = None,
    device: DeviceSpec | None = None,
    **options: Any,
) -> Backend:
    profile = ProfileDocument(backend=backend, options=options, max_sequence_length=128)
    tasks = Tasks(extract=extract or ExtractTask())
    spec = ModelSpec("test/model", "r1", Weights(folder, None), tasks, profile)
    fresh = replace(DEVICE, adapters=AdapterShelf(), verdicts={})
    return load_backend(spec, device or fresh)


def _run(
    backend: Backend, inputs: Sequence[ipc.Input], labels: Sequence[str] = (), **options: Any
) -> ipc.ClassAnswers:
    return extracted(ipc.ClassAnswers, backend, inputs, labels, options)


def _assert_told(found: Sequence[dict[str, Any]], labels: Any, scores: Any) -> None:
    assert [one["label"] for one in found] == list(labels)
    assert_same(np.array([one["score"] for one in found]), np.array(scores))


@pytest.mark.parametrize(
    "family", ["bert", "xlm-roberta", "deberta-v3", "modernbert", "qwen3", "bart", "convbert"]
)
def test_zero_shot_scores_are_the_pipelines(family, tmp_path):
    """Any labels, one or several that hold; the text is cut and the hypothesis never."""
    names = _INFERENCE if family == "bert" else tuple(reversed(_INFERENCE))
    folder = _write(tmp_path, family, names)
    backend = _load("zero-shot-classification", folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=128)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    reference = pipeline(
        "zero-shot-classification",
        model=AutoModelForSequenceClassification.from_pretrained(folder).eval(),
        tokenizer=tokenizer,
    )
    inputs = [ipc.TextInput(text) for text in _TEXTS]
    for labels, multi, template in (
        (_LABELS, False, "This example is {}."),
        (_LABELS, True, "It is about {}!"),
        # Of equal labels each has its share.
        (("sports", "sports", "{0} of {}"), False, "{{}} {{x}} {}"),
        (_LABELS[:1], False, "This example is {}."),
    ):
        answers = _run(backend, inputs, labels, multi_label=multi, hypothesis_template=template)
        for text, found in zip(_TEXTS, answers.classes, strict=True):
            expected: Any = reference(
                text, list(labels), multi_label=multi, hypothesis_template=template
            )
            _assert_told(found, expected["labels"], expected["scores"])
    assert len(answers.tokens) == len(_TEXTS)
    assert max(answers.tokens) == 128
    # The sidecar bounds a batch by what it costs: each label is another reading of the text.
    assert backend.describe().reads_per_label == 1


@pytest.mark.parametrize("family", ["bert", "deberta-v3", "bart"])
@pytest.mark.parametrize("problem", [None, "multi_label_classification", "regression"])
def test_classes_of_a_text_are_the_pipelines(family, problem, tmp_path):
    names = ("joy", "anger", "fear", "PERSON")
    folder = _write(tmp_path, family, names, problem_type=problem)
    if family == "bart":
        config = BartConfig.from_pretrained(folder)
        config.problem_type = problem
        config.save_pretrained(folder)
    extract = ExtractTask(synonyms={word: SYNONYMS[word] for word in SYNONYMS})
    backend = _load("text-classification", folder, extract=extract)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    reference = pipeline(
        "text-classification",
        model=AutoModelForSequenceClassification.from_pretrained(folder).eval(),
        tokenizer=tokenizer,
    )
    texts = list(CORPUS[:3])
    inputs = [
        ipc.TokensInput(np.array(tokenizer(text)["input_ids"], dtype="<i4").tobytes())
        for text in texts
    ]
    every = _run(backend, inputs).classes
    for text, found in zip(texts, every, strict=True):
        expected: Any = reference(text, top_k=None)
        _assert_told(found, [one["label"] for one in expected], [one["score"] for one in expected])
    some = _run(backend, inputs, ["person", "fear"]).classes
    assert [list(found) for found in some] == [
        [one for one in found if one["label"] in {"PERSON", "fear"}] for found in every
    ]
    with pytest.raises(FixRequest, match="no label 'hate'; its labels are PERSON, anger"):
        _run(backend, inputs, ["hate"])
    likely = _run(backend, inputs, activation="softmax", threshold=0.3).classes
    assert all(one["score"] >= 0.3 for found in likely for one in found)


@pytest.fixture(scope="module")
def inferring(tmp_path_factory) -> dict[str, Backend]:
    made = {}
    for family in ("bert", "xlm-roberta", "roberta"):
        folder = _write(tmp_path_factory.mktemp(family), family, _INFERENCE)
        made[family] = _load("zero-shot-classification", folder)
    return made


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "roberta"])
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(st.lists(HOSTILE, max_size=6).map("".join), min_size=2, max_size=3),
    labels=st.lists(
        HOSTILE.filter(str.strip).map(lambda text: text.strip()[:12]),
        min_size=2,
        max_size=2,
        unique=True,
    ),
)
def test_a_text_of_anything_has_a_score_for_each_label_as_it_has_alone(
    family, inferring, texts, labels
):
    inputs = [ipc.TextInput(text) for text in texts]
    together = _run(inferring[family], inputs, labels, multi_label=True)
    assert all(0 < count <= 2 * 128 for count in together.tokens)
    counts = [_run(inferring[family], inputs, [label]).tokens for label in labels]
    assert together.tokens == tuple(map(sum, zip(*counts, strict=True))), "read with each label"
    for own, found in zip(inputs, together.classes, strict=True):
        assert {one["label"] for one in found} == set(labels)
        scores = [one["score"] for one in found]
        assert scores == sorted(scores, reverse=True) and 0 <= scores[-1] <= scores[0] <= 1
        alone = _run(inferring[family], [own], labels, multi_label=True).classes[0]
        told = {one["label"]: one["score"] for one in alone}
        assert_same(np.array(scores), np.array([told[one["label"]] for one in found]))


def test_each_text_is_read_under_its_own_adapter_however_many_pairs_come_of_it(tmp_path):
    """Of 87 labels and three texts come 261 pairs, and some 256 are run at once."""
    folder = _write(tmp_path, "bert", _INFERENCE)
    device = replace(DEVICE, adapters=AdapterShelf(), verdicts={})
    backend = _load("zero-shot-classification", folder, device=device)
    pins = (AdapterPin("legal", "1"), None, AdapterPin("medical", "1"))
    for seed, named in enumerate(filter(None, pins)):
        device.adapters.put("r1", named, partial(_adapter, backend, seed))

    def told(texts: Sequence[str], pins: Sequence[AdapterPin | None], count: int) -> Any:
        batch = ipc.RunBatch(
            id=1,
            model_revision="r1",
            operation="extract",
            inputs=tuple(map(ipc.TextInput, texts)),
            labels=tuple(f"label {number}" for number in range(count)),
            options={"multi_label": True},
            adapters=tuple(pins),
        )
        answers = backend.run(batch)
        assert isinstance(answers, ipc.ClassAnswers)
        return [
            dict(sorted((one["label"], one["score"]) for one in found)) for found in answers.classes
        ]

    texts = ("Tim Cook", "Berlin", "a joke")
    together = told(texts, pins, 87)
    for place, (text, pin) in enumerate(zip(texts, pins, strict=True)):
        [alone] = told([text], [pin], 87)
        assert_same(np.array([*together[place].values()]), np.array([*alone.values()]))
    base = told(texts, (None, None, None), 1)
    changed = [found != own for found, own in zip(told(texts, pins, 1), base, strict=True)]
    assert changed == [True, False, True]


def _adapter(backend: Backend, seed: int) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    core = cast(Any, backend)._core
    return Adapter(
        {
            name: Delta(
                0.3 * torch.randn(2, module.in_features, generator=generator),
                0.3 * torch.randn(2, module.out_features, generator=generator),
            )
            for name, module in core.encoder.model.named_modules()
            if name.startswith("encoder.") and hasattr(module, "in_features")
        }
    )


def test_what_cannot_be_answered_is_refused_with_the_reason(tmp_path):
    folder = _write(tmp_path / "nli", "bert", _INFERENCE)
    backend = _load("zero-shot-classification", folder, extract=ExtractTask(labels=("a", "b")))
    inputs = [ipc.TextInput("Tim Cook")]
    assert {one["label"] for one in _run(backend, inputs).classes[0]} == {"a", "b"}
    assert len(_run(backend, inputs, ["a", "a", "c"]).classes[0]) == 3
    assert _run(backend, inputs, ["a"], threshold=1.0).classes == ((),)
    with pytest.raises(FixRequest, match="none were given"):
        _run(_load("zero-shot-classification", folder), inputs)
    with pytest.raises(FixRequest, match="leaves no room") as refused:
        _run(backend, inputs, ["x " * 400])
    assert refused.value.code == "INPUT_TOO_LONG"
    for labels in (["  "], [str(number) for number in range(300)]):
        with pytest.raises(FixRequest, match="at most 256 words"):
            _run(backend, inputs, labels)
    with pytest.raises(FixRequest, match=r"no \{\} for the label"):
        _run(backend, inputs, ["a"], hypothesis_template="It is so.")
    for template in ("{}.{", "}{}", "{{}}", "{0}", "{!r}", "{:>9}", "{} {{}} {}"):
        with pytest.raises(FixRequest, match=r"hypothesis_template .*(one is wanted|twice)"):
            _run(backend, inputs, ["a"], hypothesis_template=template)
    # A thousand places for a label of a megabyte were a gigabyte for each label and text.
    with pytest.raises(FixRequest, match="one is wanted"):
        _run(backend, inputs, ["a"], hypothesis_template="{}" * 1000)
    with pytest.raises(FixRequest, match="a label has 1000000 characters"):
        _run(backend, inputs, ["a", "x" * 1_000_000])
    with pytest.raises(OurFault, match="none says that a hypothesis follows"):
        _load("zero-shot-classification", _write(tmp_path / "other", "bert", ("joy", "anger")))


def test_a_model_that_decodes_answers_hostile_texts_beside_others_and_takes_no_adapter(tmp_path):
    """BART wants as many ends in each member of a batch; a text may hold some of its own."""
    backend = _load("zero-shot-classification", _write(tmp_path, "bart", _INFERENCE))
    texts = ["Tim Cook", "</s></s> Tim </s>", "", "Berlin " * 40]
    together = _run(backend, [ipc.TextInput(text) for text in texts], _LABELS).classes
    for text, found in zip(texts, together, strict=True):
        alone = _run(backend, [ipc.TextInput(text)], _LABELS).classes[0]
        _assert_told(found, [one["label"] for one in alone], [one["score"] for one in alone])
    with pytest.raises(OurFault, match="takes no adapters"):
        backend.load_adapter(AdapterPin("legal", "1"), Weights(tmp_path, None))
    assert "decodes" in backend.describe().reason
