"""A line of a log is let through by its named fields, without secrets and texts of users."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_cli.diagnosis.redaction import Redactor, pseudonym, secrets_of

TEXT = "the patient Erika Mustermann has a planted diagnosis"
PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIPLANTED\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize(
    "line",
    [
        json.dumps({"msg": "ok", "prompt": TEXT}),
        json.dumps({"msg": "no", "error": f'File "a.py", line 3, in b\nValueError: {TEXT}'}),
        json.dumps({"msg": f"it refused '{TEXT * 2}'"}),
        json.dumps({"msg": PEM}),
        json.dumps({"msg": "Authorization: Bearer IPLANTED-token", "tenant": "Mustermann"}),
        json.dumps({"msg": "GET http://host/v1?text=Mustermann"}),
        json.dumps({"msg": "nats://config:IPLANTED@host:4222"}),
        '[1] 2026/01/01 00:00:00.000000 [ERR] password: "IPLANTED"',
        f"ValueError: {TEXT}",
        TEXT,
    ],
)
def test_neither_a_secret_nor_a_text_of_a_user_is_in_what_is_let_through(line):
    kept = Redactor(()).log_line(line) or ""
    assert "IPLANTED" not in kept
    assert "Mustermann" not in kept


@given(
    secret=st.text(
        alphabet=st.characters(codec="ascii", categories=("L", "N")), min_size=6, max_size=40
    ),
    before=st.text(max_size=40),
    after=st.text(max_size=40),
    field=st.sampled_from(["msg", "reason", "code", "error", "anything"]),
)
def test_no_log_line_lets_a_known_secret_through(
    secret: str, before: str, after: str, field: str
) -> None:
    redactor = Redactor({secret})
    kept = redactor.log_line(json.dumps({field: before + secret + after, "level": "info"}))
    assert kept is not None
    told = json.loads(kept)
    assert secret not in str(told.get(field, ""))


def test_a_field_that_is_not_named_is_dropped_by_name_and_a_tenant_gets_another_one():
    told = json.loads(
        Redactor(()).log_line(json.dumps({"msg": "m", "tenant": "erika", "body": TEXT})) or ""
    )
    assert told == {"msg": "m", "tenant": pseudonym("erika"), "dropped": ["body"]}


def test_a_variable_is_a_secret_by_its_name_unless_it_is_the_path_of_a_file():
    found = secrets_of({"SIE_X_TOKEN": "abcdef", "SIE_X_KEY": "/a/path", "SIE_PORT": "808080"})
    assert found == {"abcdef"}
