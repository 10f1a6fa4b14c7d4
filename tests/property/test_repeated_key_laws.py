"""A key that stands twice is found in every body of JSON, and in no other."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sie_runtime.texts.repeated_keys import repeated_key

_NAMES = st.sampled_from(["a", "text", "options", 'q"', "\\", "k\u00e9y", ':"', '":', " :", ""])
_SCALARS = st.none() | st.booleans() | st.integers() | _NAMES | st.text(max_size=6)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=8,
)
_FORMS = st.fixed_dictionaries(
    {
        "indent": st.sampled_from([None, 0, 2]),
        "separators": st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : "), (",", "\t:")]),
        "ensure_ascii": st.booleans(),
    }
)
_TWIN = "\0twin"


def _objects(value: Any, where: str = "$") -> list[tuple[dict[str, Any], str]]:
    found = []
    if isinstance(value, dict):
        found = [(value, where)] if value else []
        for name, inner in value.items():
            found += _objects(inner, f"{where}.{name}")
    if isinstance(value, list):
        for index, inner in enumerate(value):
            found += _objects(inner, f"{where}[{index}]")
    return found


def _escaped(name: str) -> str:
    """The same name, all in escapes."""
    return '"' + "".join(f"\\u{ord(letter):04x}" for letter in name) + '"'


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(_NAMES, _VALUES, max_size=4), _FORMS)
def test_a_body_in_which_no_key_stands_twice_has_none(document, form):
    assert repeated_key(json.dumps(document, **form).encode()) is None


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(_NAMES, _VALUES, min_size=1, max_size=4), _FORMS, st.data())
def test_a_key_that_stands_twice_is_found_at_its_place(document, form, data):
    table, where = data.draw(st.sampled_from(_objects(document)))
    name = data.draw(st.sampled_from(sorted(table)))
    table[_TWIN] = data.draw(_SCALARS)
    spelt = data.draw(st.sampled_from([json.dumps(name), _escaped(name)]))
    body = json.dumps(document, **form).replace(json.dumps(_TWIN), spelt)
    assert repeated_key(body.encode()) == f"{where}.{name}"
