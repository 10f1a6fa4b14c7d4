"""Extractions of many labels, options and adapters at once, on the real worker and its devices.

Each answer is the one that its request got when it was asked alone: whatever shared the batch, or
waited beside it. Small models of every backend that is installed; GLiNER's is tried with its bundle
(`test_bundle_workers`).
"""

import asyncio
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.support.entity_models import write_classifier, write_family
from tests.support.live_cluster import LiveCluster, sie
from tests.support.sameness import assert_same
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

# peft reads a name of transformers that is on its way out.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),
]

TEXTS = (
    "Ada Lovelace wrote to Charles Babbage from London in 1843.",
    "the red house of Berlin",
    "Größe in Köln, said Tim Cook — and Apple paid $3 million.",
    "nobody was there",
)
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
ROUNDS = 3


class Asked(NamedTuple):
    """One request."""

    model: str
    texts: tuple[str, ...]
    labels: tuple[str, ...] = ()
    options: Mapping[str, Any] = {}
    msgpack: bool = False


SPACY = "spacy/en_core_web_sm"
"""The demonstration's own."""
LABELS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "live/tokens": ((), ("PER",), ("LOC",), ("PER", "LOC"), ("LOC", "PER")),
    "live/classes": ((), ("bad",), ("good", "odd"), ("odd", "good")),
    "live/any": (("a person", "a place"), ("a place", "a person"), ("money",)),
    SPACY: ((), ("PERSON",), ("GPE", "MONEY"), ("DATE",)),
}
OPTIONS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "live/tokens": (
        {}, {"lora": "one"}, {"lora": "two"}, {"aggregation": "first"},
        {"aggregation": "max", "offset_unit": "bytes"}, {"threshold": 0.4, "lora": "one"},
    ),
    "live/classes": ({}, {"activation": "none"}, {"threshold": 0.3}, {"lora": "one"}),
    "live/any": (
        {}, {"multi_label": True}, {"hypothesis_template": "Nobody spoke of {}."},
        {"threshold": 0.5},
    ),
    SPACY: ({}, {"offset_unit": "bytes"}, {"offset_unit": "utf16"}),
}  # fmt: skip
VARIANTS = tuple(
    Asked(model, TEXTS[place % 2 :], labels, options, msgpack=bool(place % 3))
    for model in LABELS
    for place, (labels, options) in enumerate(product(LABELS[model], OPTIONS[model]))
)


def _write(folder: Path, kind: Any, names: tuple[str, ...]) -> None:
    write_family(folder, "bert", names, kind=kind)
    for number, name in enumerate(("one", "two"), 1):
        torch.manual_seed(number)
        lora = LoraConfig(r=4, lora_alpha=16, target_modules=["query"], init_lora_weights=False)
        get_peft_model(kind.from_pretrained(folder), lora).save_pretrained(
            str(folder.parent / f"{folder.name}-{name}")
        )


@pytest.fixture(scope="module")
def extractors(
    live_cluster: LiveCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveCluster]:
    """The cluster, with three models beside its own, and two adapters of two of them."""
    folder = tmp_path_factory.mktemp("extract")
    url = ("--url", live_cluster.config_url)
    write_classifier(folder / "tokens", "bert", TAGS)
    _write(folder / "tokens", AutoModelForTokenClassification, TAGS)
    _write(folder / "classes", AutoModelForSequenceClassification, ("bad", "good", "odd"))
    inference = ("contradiction", "neutral", "entailment")
    write_family(folder / "any", "bert", inference, kind=AutoModelForSequenceClassification)
    for name in ("tokens", "classes", "any"):
        _done("add", str(folder / name), "--name", f"live/{name}", *url)
    for model in ("tokens", "classes"):
        for name in ("one", "two"):
            place, of = str(folder / f"{model}-{name}"), f"live/{model}"
            _done("add", place, "--adapter-of", of, "--name", name, *url)
    yield live_cluster


def _done(*words: str) -> None:
    ran = sie(*words)
    assert ran.returncode == 0, ran.stderr + ran.stdout


async def _ask(client: httpx.AsyncClient, asked: Asked) -> list[Any]:
    form = "application/msgpack" if asked.msgpack else "application/json"
    answer = await client.post(
        f"/v1/extract/{asked.model}",
        json={
            "items": [{"text": text} for text in asked.texts],
            "params": {"labels": asked.labels, "options": asked.options},
        },
        headers={"accept": form},
    )
    assert answer.status_code == 200, answer.text
    decode = msgspec.msgpack.decode if asked.msgpack else msgspec.json.decode
    items: list[Any] = decode(answer.content)["items"]
    assert len(items) == len(asked.texts)
    return items


def _same(found: list[Any], alone: list[Any]) -> None:
    """The same labels at the same places, with the same scores but for their last digits."""

    def parts(items: list[Any]) -> tuple[list[Any], list[float]]:
        told = [
            one
            for item in items
            for one in (*(item.get("entities") or ()), *(item.get("classifications") or ()))
        ]
        words = [{key: one[key] for key in one if key != "score"} for one in told]
        sizes = [len(item.get("entities") or item.get("classifications") or ()) for item in items]
        return [sizes, words], [one["score"] for one in told]

    (words, scores), (alone_words, alone_scores) = parts(found), parts(alone)
    assert words == alone_words
    assert_same(scores, alone_scores)


async def test_requests_that_come_together_get_the_answers_that_each_got_alone(extractors):
    async with httpx.AsyncClient(base_url=extractors.gateway_url, timeout=120) as client:
        alone = [await _ask(client, asked) for asked in VARIANTS]
        # What is told apart below has to be apart: labels, thresholds, units and adapters.
        assert len({repr(each) for each in alone}) > len(VARIANTS) // 2
        for number in range(ROUNDS):
            order = [*range(len(VARIANTS))] * 2
            Random(number).shuffle(order)
            found = await asyncio.gather(*(_ask(client, VARIANTS[place]) for place in order))
            for place, each in zip(order, found, strict=True):
                _same(each, alone[place])


@pytest.mark.parametrize(
    ("model", "params", "named"),
    [
        (SPACY, {"options": {"aggregation_strategy": "simple"}}, "aggregation_strategy"),
        (SPACY, {"options": {"aggregation": "simple"}}, "aggregation"),
        (SPACY, {"options": {"threshold": 0.5}}, "threshold"),
        (SPACY, {"options": {"flat_ner": True}}, "flat_ner"),
        (SPACY, {"options": {"truncate": "end"}}, "truncate"),
        (SPACY, {"options": {"lora": "one"}}, "one"),
        ("live/tokens", {"options": {"truncate": "end"}}, "truncate"),
        ("live/tokens", {"options": {"flat_ner": False}}, "flat_ner"),
        ("live/tokens", {"options": {"multi_label": True}}, "multi_label"),
        ("live/tokens", {"options": {"prompt": ["find"]}}, "prompt"),
        ("live/tokens", {"options": {"instruction": ["find"]}}, "instruction"),
        ("live/tokens", {"instruction": ["find"]}, "instruction"),
        ("live/tokens", {"instruction": "find"}, "instruction"),
        ("live/tokens", {"prompt": ["find"]}, "prompt"),
        ("live/tokens", {"labels": "PER"}, "labels"),
        ("live/tokens", {"labels": ["nobody"]}, "nobody"),
        ("live/classes", {"options": {"aggregation": "simple"}}, "aggregation"),
        ("live/classes", {"options": {"offset_unit": "bytes"}}, "offset_unit"),
        ("live/any", {"labels": ["a"], "options": {"activation": "none"}}, "activation"),
        ("live/any", {}, "labels"),
    ],
)
def test_what_a_backend_does_not_read_is_refused_by_its_name(extractors, model, params, named):
    body = {"items": [{"text": "Ada"}], "params": params}
    answer = httpx.post(f"{extractors.gateway_url}/v1/extract/{model}", json=body, timeout=60)
    assert 400 <= answer.status_code < 500, answer.text
    assert named in answer.json()["detail"]["message"]
