"""Every module class of sentence-transformers is done, or is refused by name: none is forgotten."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import sentence_transformers
import torch
from sentence_transformers.base.modules.module import Module
from tests.support.sameness import assert_same

from sie_layouts.modules import ACTIVATIONS, DONE, NOT_DONE
from sie_layouts.routes import ROUTERS

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


def test_each_activation_that_is_done_is_one_of_torch_that_goes_number_by_number():
    values = torch.linspace(-3, 3, 24).reshape(4, 6)
    for name in sorted(ACTIVATIONS):
        activation = getattr(torch.nn, name)().eval()
        assert not list(activation.parameters()), name
        whole = activation(values)
        assert_same(whole[1].numpy(), activation(values[1]).numpy())
        assert_same(whole[:, 2].numpy(), activation(values[:, 2]).numpy())
