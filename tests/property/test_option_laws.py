"""Options: what is let through is declared, and what was meant is named."""

import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_core.backend_options import BACKEND_OPTIONS, GENERAL, of_backend
from sie_core.options import check_request, declared_at, profile_problems, request_field
from sie_core.templates import Template, text_template
from sie_schemas.errors import FixRequest
from sie_schemas.items import Operation
from sie_server.backends.names import _BUILT_IN

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
NAMES = st.sampled_from([option.name for option in GENERAL] + ["pooling", "label", "dims"])
OPERATIONS = st.sampled_from(["encode", "score", "extract"])
BACKENDS = st.sampled_from(sorted(BACKEND_OPTIONS))


@given(st.dictionaries(NAMES | st.text(max_size=12), JSON, max_size=4), OPERATIONS, BACKENDS)
def test_only_what_is_declared_of_its_type_is_let_through(
    asked: dict[str, Any], operation: Operation, backend: str
):
    declared = of_backend(backend)
    assert declared is not None
    allowed = declared_at(declared, operation)
    try:
        check_request(asked, declared, operation, model="m", params="$.params")
    except FixRequest as refused:
        assert refused.status == 400
        assert refused.field is not None and refused.field.startswith("$.params.")
        assert len(refused.message) < 400
        return
    assert asked.keys() <= allowed.keys()
    for name, value in asked.items():
        kinds = {"flag": bool, "text": str, "whole": int, "number": float}
        assert value is None or isinstance(value, kinds[allowed[name].kind])


@given(st.sets(NAMES | st.text(max_size=12), max_size=4), OPERATIONS, BACKENDS)
def test_a_name_that_is_another_s_to_check_is_let_through_unless_it_is_declared_elsewhere(
    names: set[str], operation: Operation, backend: str
):
    """An option of `score` that comes with `encode` is refused, and not handed on unseen."""
    declared = of_backend(backend)
    assert declared is not None
    elsewhere = {option.name for option in declared} - declared_at(declared, operation).keys()
    asked = dict.fromkeys(names)
    if not names & elsewhere:
        check_request(asked, declared, operation, model="m", other_names=True)
        return
    with pytest.raises(FixRequest) as refused:
        check_request(asked, declared, operation, model="m", other_names=True)
    assert refused.value.field in {request_field("$", name) for name in elsewhere}


@given(st.integers(-2, 2), st.sampled_from("aé漢"))
def test_a_text_may_have_8192_characters_and_not_one_more(more: int, letter: str):
    declared = of_backend("transformer")
    assert declared is not None
    asked = {"instruction": letter * (8192 + more)}
    if more <= 0:
        check_request(asked, declared, "encode", model="m")
        return
    with pytest.raises(FixRequest, match=r"it takes 8192"):
        check_request(asked, declared, "encode", model="m")


@given(st.dictionaries(NAMES | st.text(max_size=12), JSON, max_size=4), BACKENDS)
def test_a_profile_is_told_each_of_its_options_that_is_amiss(asked: dict[str, Any], backend: str):
    declared = of_backend(backend)
    assert declared is not None
    told = dict(profile_problems(asked, declared, backend=backend))
    assert asked.keys() - declared_at(declared).keys() <= told.keys()
    assert all(told.values())


@given(NAMES, st.data())
def test_a_name_in_other_signs_is_told_the_right_one(name: str, data: st.DataObject):
    declared = GENERAL
    joint = data.draw(st.sampled_from(["", "-", ".", " "]))
    words = [data.draw(st.sampled_from([w, w.title(), w.upper()])) for w in name.split("_")]
    spelt = joint.join(words)
    if spelt == name or name not in declared_at(declared, "encode"):
        return
    with pytest.raises(FixRequest) as refused:
        check_request({spelt: 1}, declared, "encode", model="m")
    assert f"did you mean {name!r}?" in refused.value.message


TEXTS = st.text(string.ascii_letters + "{} \n", max_size=20)


@given(TEXTS, TEXTS, TEXTS)
def test_a_template_is_filled_in_one_pass_and_its_text_comes_last(
    before: str, instruction: str, text: str
):
    source = before.replace("{", "(") + "{instruction}: {text}"
    filled = text_template(source).filled({"instruction": instruction, "text": text})
    assert filled == f"{before.replace('{', '(')}{instruction}: {text}"


@given(TEXTS)
def test_a_text_without_a_known_name_is_no_template_of_a_text(source: str):
    try:
        template = text_template(source)
    except FixRequest as refused:
        assert refused.status == 400
    else:
        assert source.endswith("{text}")
        assert template.filled({"text": "x", "instruction": "y"}).endswith("x")


def test_braces_that_enclose_no_word_stay_and_a_name_stands_once():
    kept = Template.read('{"a": {0}} {text}', ("text",)).filled({"text": "x"})
    assert kept == '{"a": {0}} x'
    with pytest.raises(FixRequest, match="twice"):
        Template.read("{text}{text}", ("text",))


def test_every_built_in_backend_declares_its_options_and_no_two_say_one_name():
    assert BACKEND_OPTIONS.keys() == _BUILT_IN.keys()
    for name in BACKEND_OPTIONS:
        names = [option.name for option in of_backend(name) or ()]
        assert len(names) == len(set(names)), name
        json.dumps(names)


def test_the_operators_page_names_each_option_of_each_backend():
    page = (Path(__file__).parents[2] / "docs/operations/configure.md").read_text(encoding="utf-8")
    table = page[page.index("## Models") : page.index("### Code of a model")]
    for name, options in BACKEND_OPTIONS.items():
        assert f"| `{name}` |" in table
        for option in options:
            assert not option.in_profile or f"`{option.name}`" in table, (name, option.name)
