"""Laws of the texts that `sie apply` reads: what is written is read back, nothing is guessed."""

import json
import string

import yaml
from hypothesis import given
from hypothesis import strategies as st

from sie_runtime.texts.plain_json import read_json
from sie_runtime.texts.plain_scalars import is_surely_text
from sie_runtime.texts.plain_yaml import PARSERS, dump_yaml, dump_yaml_all, read_yaml
from sie_schemas.errors import FixRequest

SIGNS = """
no yes on off y n ~ null Null true 010 0o10 0x1F 08 -0 +1 1_000 12:30 1e3 1.5e3 .5 5. .inf .nan
= << - ? : # & * ! | > % @ ` ' " 2026-01-31 --- ... [] {} key: a#b
"""
TRICKY = st.sampled_from(SIGNS.split())
TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | TRICKY | st.text(string.printable)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


def typed(value: object) -> str:
    """A value with its types: to Python 1, 1.0 and True are one."""
    return json.dumps(value)


@given(JSON)
def test_what_is_written_as_yaml_is_read_back_by_each_parser(value):
    for parser in PARSERS:
        [read] = read_yaml(dump_yaml(value), "text", parser=parser)
        assert typed(read) == typed(value)


@given(st.lists(st.dictionaries(TEXTS, JSON, max_size=3), max_size=4))
def test_several_documents_are_read_back_as_several(values):
    for parser in PARSERS:
        assert typed(read_yaml(dump_yaml_all(values), "text", parser=parser)) == typed(values)


@given(st.dictionaries(TEXTS, JSON, max_size=4))
def test_what_is_written_means_the_same_to_older_readers(value):
    assert typed(yaml.safe_load(dump_yaml(value))) == typed(value)


@given(JSON, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_what_is_written_as_json_is_read_back(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert typed(read_json(text, "text")) == typed(value)


@given(TEXTS)
def test_a_text_without_quotes_is_itself_a_number_or_refused_and_both_parsers_agree(text):
    """No word becomes a value that an older reader, or the next one, would not see."""
    found = []
    for parser in PARSERS:
        try:
            found.append(typed(read_yaml(f"- {text}", "text", parser=parser)))
        except FixRequest:
            found.append("refused")
    if text.isascii() and text.isprintable():
        assert len(set(found)) == 1
    if is_surely_text(text) and text.isalnum():
        assert found[0] == typed([[text]])


@given(st.text(alphabet="-[]{}:,&*ab<!?|>'\"#% \n\t0", max_size=60))
def test_no_text_is_more_than_refused(text):
    for parser in PARSERS:
        try:
            json.dumps(read_yaml(text, "text", parser=parser))
        except FixRequest as error:
            assert error.message.startswith("text")
    try:
        read_json(text, "text")
    except FixRequest as error:
        assert error.message.startswith("text")
