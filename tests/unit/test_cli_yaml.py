"""The YAML that `sie apply` and `sie edit` read, and what they refuse by its line."""

import json

import pytest

from sie_runtime.texts.plain_yaml import read_yaml
from sie_schemas.errors import FixRequest


def test_dates_stay_texts_and_mappings_can_be_shared():
    text = "pool: &a {name: x, until: 2026-01-31}\nother: {<<: *a, name: y}\n"
    text += "---\n- 0x10\n- true\n- 1e3\n- 0o10\n"
    first, second = read_yaml(text, "text")
    assert first["pool"] == {"name": "x", "until": "2026-01-31"}
    assert first["other"] == {"name": "y", "until": "2026-01-31"}
    assert second == [16, True, 1000.0, 8]
    json.dumps([first, second])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2\na: 3", "file, line 3: the key 'a' stands twice"),
        ("a:\n  1: x", "file, line 2: a key is a text"),
        ("a: .nan", "file, line 1: a number is finite"),
        ("a: !!binary aGk=", "file, line 1: a value of type 'binary'"),
        ("a: !!python/object:os.system {}", "file, line 1: a value of type 'python/object"),
        ("a: &x [*x]", "file, line 1: this holds itself"),
        ("a: [", "file is no YAML"),
        ("- " * 5000, "nested too deep"),
        ("a: \0", "file is no YAML"),
    ],
)
def test_what_json_has_no_form_for_is_refused_by_its_line(text, told):
    with pytest.raises(FixRequest, match="file") as caught:
        read_yaml(text, "file")
    assert told in caught.value.message
