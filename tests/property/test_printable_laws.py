"""Laws of what is printed: a machine reads all of it, and a terminal obeys none of it."""

import json

import yaml
from hypothesis import given
from hypothesis import strategies as st

from sie_cli.show.printing import json_text
from sie_runtime.texts.plain_yaml import dump_yaml
from sie_schemas.errors import FixRequest, visible, without_password

OBEYED = st.sampled_from("\x00\x07\x08\x1b\x7f\x9b\u200e\u202e\u2066\u2028\ufeff\U000e0001")
TEXTS = st.text(OBEYED | st.characters(exclude_categories=["Cs"]), max_size=30)
JOINER = "\u200d"


def is_seen(text: str) -> bool:
    return all(each.isprintable() or each in f"\n{JOINER}" for each in text)


@given(st.dictionaries(TEXTS, TEXTS | st.lists(TEXTS, max_size=3), max_size=4))
def test_no_form_of_the_output_holds_what_a_terminal_obeys_and_all_is_read_back(value):
    as_json, as_yaml = json_text(value), dump_yaml(value)
    assert is_seen(as_json) and is_seen(as_yaml)
    assert json.loads(as_json) == value
    assert yaml.safe_load(as_yaml) == value
    assert all(is_seen(visible(each)) for each in value)


@given(TEXTS | st.text(st.characters(categories=["Cs", "Cf", "Lo"]), max_size=400))
def test_no_error_repeats_what_a_terminal_obeys_or_no_text_can_hold(text):
    """Halves of a pair among it: an answer that held one could not be written at all."""
    problem = {"path": text, "message": text, "id": "x"}
    error = FixRequest(text, field=text, details=[problem])
    told = [error.message, error.field, *error.details[0].values()]
    assert all(is_seen(each) and each.encode() is not None for each in told)
    again = FixRequest(error.message, field=error.field, details=error.details)
    assert again.to_wire() == error.to_wire()


NAMES = st.text("abcdefghijklmnop0123456789-_.~!$&'()*+,;=:%", min_size=1, max_size=20)


@given(NAMES, st.sampled_from(["https", "nats", "redis", "postgresql+ssl"]), TEXTS)
def test_no_address_is_told_with_its_password(user, scheme, around):
    """Also where the password has an @, and in what an error tells besides its sentence."""
    for secret in (f"{user}:se%20cret{user}", f"{user}:se@c@ret{user}"):
        address = f"{scheme}://{secret}@host:80/a@b?c=d@e"
        told = without_password(f"{around} {address} {around}")
        assert f"{scheme}://host:80/a@b?c=d@e" in told
        assert without_password(told) == told
        error = FixRequest("no", details=[{"path": "x", "message": address}])
        assert error.details == [{"path": "x", "message": f"{scheme}://host:80/a@b?c=d@e"}]


@given(NAMES.filter(lambda user: ":" not in user), st.sampled_from("/?#"), TEXTS)
def test_no_address_is_told_with_a_password_that_no_parser_reads(user, mark, around):
    """A slash ends the address for every parser, and a person pasted it all the same."""
    told = without_password(f"{around} https://{user}:se{mark}cr@et@host:80/a@b {around}")
    assert "https://host:80/a@b" in told and "cr@et" not in told
    for plain in (
        "https://host:8080/@scope/x",
        "http://[::1]:80/a@b",
        "nats://a:4222,nats://b:4222/a@b",
        "http://a:80?to=a@b",
    ):
        assert without_password(plain) == plain
    assert without_password("nats://a:4222,nats://me:word@b") == "nats://a:4222,nats://b"
    many = "a://b:c" * 20_000
    assert without_password(f"{many}@") != ""
