"""Tokens of the hub by reference: found, or refused by the secret's name and never its value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sie_schemas.documents import HubSource
from sie_schemas.errors import SIEError
from sie_server.weights.hub_tokens import token_of

COMMIT = "1" * 40
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True).filter(
    lambda name: not name.endswith("-file")
)
TOKENS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)


def source(name: str) -> HubSource:
    return HubSource(type="hub", id="org/m", revision=COMMIT, token=f"secret:{name}")


def variable(name: str) -> str:
    return "SIE_SECRET_" + name.upper().replace("-", "_")


@given(NAMES, NAMES, TOKENS)
def test_a_secret_is_that_of_its_name_and_of_no_other(name, other, token):
    given_ = {variable(name): token}
    assert token_of(source(name), given_) == token
    if other != name:
        with pytest.raises(SIEError, match=f"secret:{other}, .*is not on this worker"):
            token_of(source(other), given_)


@given(NAMES, st.text(min_size=1, max_size=40).filter(lambda text: not text.strip().isascii()))
def test_what_is_no_token_is_refused_and_not_repeated(name, text):
    with pytest.raises(SIEError) as refused:
        token_of(source(name), {variable(name): text})
    assert f"secret:{name}" in refused.value.message
    assert len(text) < 4 or text not in refused.value.message


@pytest.mark.parametrize("text", ["two words", "a\nb", "", " ", "a\tb", "a\x7f"])
def test_a_token_is_one_word_of_what_a_header_takes(text, tmp_path):
    file = tmp_path / "token"
    file.write_text(text)
    with pytest.raises(SIEError, match=r"secret:a.*(is no token|is not on this worker)"):
        token_of(source("a"), {"SIE_SECRET_A": text})
    with pytest.raises(SIEError, match=r"secret:a.*is no token") as refused:
        token_of(source("a"), {"SIE_SECRET_A_FILE": str(file)})
    assert "two words" not in refused.value.message


def test_two_places_of_one_secret_are_refused_and_no_secret_is_none(tmp_path):
    both = {"SIE_SECRET_A": "x", "SIE_SECRET_A_FILE": str(tmp_path / "x")}
    with pytest.raises(SIEError, match="leave one of them"):
        token_of(source("a"), both)
    assert token_of(HubSource(type="hub", id="org/m", revision=COMMIT), both) is None
    with pytest.raises(SIEError, match=r"secret:a.*cannot be read.*No such file"):
        token_of(source("a"), {"SIE_SECRET_A_FILE": str(tmp_path / "x")})


@pytest.mark.parametrize("name", ["a-file", "A", "", "-a", "a/b", "../a", "a_b", "a.b", "a" * 65])
def test_a_reference_that_is_no_name_is_refused(name):
    with pytest.raises(ValidationError, match="secret:NAME"):
        source(name)


def test_a_token_in_the_place_of_its_reference_is_refused_and_not_repeated():
    with pytest.raises(ValidationError) as refused:
        HubSource(type="hub", id="org/m", revision=COMMIT, token="hub-token-5f1c")
    told = refused.value.errors(include_input=False)
    assert "hub-token-5f1c" not in str(told)
