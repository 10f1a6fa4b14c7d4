"""Every module class of sentence-transformers is done, or is refused by name: none is forgotten."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import get_args

import pytest
import sentence_transformers
import torch
from sentence_transformers.base.modules.module import Module
from tests.support.published_models import PUBLISHED
from tests.support.sameness import assert_same
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from sie_catalog.families import FAMILIES
from sie_layouts.architectures.known_types import KNOWN_TYPES
from sie_layouts.architectures.published import Form, published_form
from sie_layouts.modules import ACTIVATIONS, DONE, NOT_DONE
from sie_layouts.routes import ROUTERS
from sie_server.backends.architectures.published import architecture_of

_ABSTRACT = {"BaseTokenPooling", "InputModule", "Module"}
_BY_DOING_NOTHING = {"Dropout"}


def _classes() -> Iterator[type[Module]]:
    """The classes that a `modules.json` may name, wherever the reference keeps them."""
    for found in pkgutil.walk_packages(sentence_transformers.__path__, "sentence_transformers."):
        if ".modules" not in found.name:
            continue
        module = importlib.import_module(found.name)
        for _, value in inspect.getmembers(module, inspect.isclass):
            if issubclass(value, Module) and value.__module__ == found.name:
                yield value


def test_each_class_of_the_reference_is_done_or_refused_by_name():
    names = {kind.__name__ for kind in _classes()}
    assert len(names) > 15
    known = {*DONE, *NOT_DONE, *ROUTERS, *_BY_DOING_NOTHING, *_ABSTRACT}
    assert names <= known, f"new in the reference: {sorted(names - known)}"
    assert not set(DONE) & set(NOT_DONE)
    # A name of an older release.
    assert known - names == {"Asym"}


_TYPES = {
    "alibi-bert": "alibi_bert",
    "alibi-bert-normed": "alibi_bert",
    "bart": "bart",
    "bert": "bert",
    "both-ways-llama": "both_ways_llama",
    "deberta-v2": "deberta-v2",
    "distilbert": "distilbert",
    "flash-roberta": "flash_roberta",
    "flash-roberta-tasks": "flash_roberta",
    "gemma3": "gemma3_text",
    "gte": "gte",
    "gte-renamed": "gte",
    "both-ways-qwen2": "qwen2",
    "both-ways-qwen2-by-name": "qwen2",
    "gritlm": "gritlm",
    "mistral": "mistral",
    "modernbert": "modernbert",
    "nomic-bert": "nomic_bert",
    "nomic-experts": "nomic_bert",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "roberta": "roberta",
    "xlm-roberta": "xlm-roberta",
    "zerank": "qwen3",
}
"""The model type of each architecture that the catalog names: transformers', or a form of ours."""
_KINDS_OF_TEXTS = {
    "dense", "late", "m3", "pairs", "plain", "sparse", "sparse-lookup", "yes-no", "zero-shot",
}  # fmt: skip


def test_each_architecture_of_texts_in_the_catalog_is_one_of_transformers_or_a_form_of_ours():
    named = {
        name.partition("/")[2]
        for name, family in FAMILIES.items()
        if family.backend and name.partition("/")[0] in _KINDS_OF_TEXTS
    }
    assert named == _TYPES.keys(), "say the model type of each"
    assert set(_TYPES.values()) <= set(CONFIG_MAPPING) | set(get_args(Form))


def test_each_type_that_transformers_has_is_known_without_it():
    assert set(CONFIG_MAPPING) <= KNOWN_TYPES, "write down what the newer release has"
    assert not {"nvembed", "llama_bidirec", "new"} & KNOWN_TYPES


@pytest.mark.parametrize("form", get_args(Form))
def test_each_published_form_has_an_architecture_and_a_case(form):
    """A form that is read and not run, or run and never compared, is named here."""
    configs = [model().config for model in PUBLISHED.values()]
    configs.append({"model_type": "llama_bidirec"})
    code = {"AutoModel": "modeling_gritlm7b.MistralModel"}
    configs.append({"model_type": "mistral", "auto_map": code})
    (found, *_) = [config for config in configs if published_form(config) == form]
    assert architecture_of(found) is not None


def test_each_activation_that_is_done_is_one_of_torch_that_goes_number_by_number():
    values = torch.linspace(-3, 3, 24).reshape(4, 6)
    for name in sorted(ACTIVATIONS):
        activation = getattr(torch.nn, name)().eval()
        assert not list(activation.parameters()), name
        whole = activation(values)
        assert_same(whole[1].numpy(), activation(values[1]).numpy())
        assert_same(whole[:, 2].numpy(), activation(values[:, 2]).numpy())
