"""Texts that are small and mean too much, or mean something else than they look like."""

import json
import time
from pathlib import Path

import pytest

from sie_cli.config.documents import read_documents
from sie_cli.texts.local_texts import read_texts
from sie_runtime.texts.bounds import BOUNDS, Bounds
from sie_runtime.texts.plain_json import read_json
from sie_runtime.texts.plain_yaml import PARSERS, read_yaml
from sie_schemas.errors import FixRequest

SMALL = Bounds(bytes_max=1000, values_max=500, depth_max=8)
"""So that a bomb may be small, and a slow parser is not what is measured."""


def nested_anchors(levels: int, each: int) -> str:
    """Ten of ten of ten …: a few hundred bytes that stand for each**levels values."""
    lines = ["a0: &a0 x"]
    for level in range(1, levels + 1):
        parts = ", ".join([f"*a{level - 1}"] * each)
        lines.append(f"a{level}: &a{level} [{parts}]")
    return "\n".join(lines)


def merged_anchors(levels: int) -> str:
    """The same through `<<`."""
    lines = ["a0: &a0 {x: 1}"]
    for level in range(1, levels + 1):
        parts = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} {{y{level}: {{<<: [{parts}]}}}}")
    return "\n".join(lines)


BOMBS = {
    "nested anchors": nested_anchors(10, 10),
    "nested anchors in mappings": merged_anchors(10),
    "many values": "[" + "1," * 10_000 + "]",
    "many documents": "--- x\n" * 10_000,
    "many lines": "- x\n" * 10_000,
    "deep, flowing": "[" * 10_000,
    "deep, by blocks": "- " * 10_000,
    "deep mappings": "{a: " * 10_000,
    "deep keys": "? " * 10_000,
    "a list of types": "".join(f"%TAG !e{n}! tag:x,{n}:\n" for n in range(10_000)) + "--- a",
}


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_before_it_is_built(bomb, parser):
    began = time.process_time()
    with pytest.raises(FixRequest, match="file") as refused:
        read_yaml(BOMBS[bomb], "file", SMALL, parser=parser)
    assert time.process_time() - began < 2
    assert len(refused.value.message) < 300


def test_a_bomb_of_ten_million_values_is_refused_as_it_is_read():
    """With the bounds that are in force, and the parser that is taken."""
    text = "[" + "1," * (BOUNDS.bytes_max // 2 - 1) + "]"
    began = time.process_time()
    with pytest.raises(FixRequest, match="more than 500000 values"):
        read_yaml(text, "file")
    with pytest.raises(FixRequest, match="more than 500000 values"):
        read_json(text.replace(",]", "]"), "file")
    assert time.process_time() - began < 15


def test_more_bytes_than_a_write_may_have_are_not_even_read(tmp_path: Path):
    for number in range(3):
        (tmp_path / f"{number}.yaml").write_text("#" * 400)
    with pytest.raises(FixRequest, match=r"2\.yaml is too large: one command reads at most 1000"):
        read_texts(str(tmp_path), SMALL)
    with pytest.raises(FixRequest, match="/dev/zero is too large"):
        read_texts("/dev/zero", SMALL)


@pytest.mark.parametrize(
    "text",
    ['{"a": ' * 20 + "1" + "}" * 20, "[" * 100_000, '{"a": [' * 5000, "[" + "0," * 600 + "0]"],
    ids=["nested", "deep lists", "deep mappings", "many"],
)
def test_json_has_the_same_bounds(text):
    with pytest.raises(FixRequest, match="file"):
        read_json(text, "file", SMALL)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("workers_max: 010", "'010' is one thing to YAML 1.1 and another to YAML 1.2: quote it"),
        ("workers_max: -08", "'-08' is one thing"),
        ("country: no", "'no' is one thing"),
        ("on: push", "'on' is one thing"),
        ("at: 12:30", "'12:30' is one thing"),
        ("many: 1_000", "'1_000' is one thing"),
        ("mask: 0b11", "'0b11' is one thing"),
        ("minus: -0x1F", "'-0x1F' is one thing"),
        ("big: " + "9" * 5000, "is a number of more than 400 digits"),
        ("big: 1e400", "a number is finite"),
        ("type: !!int no", "'no' is one thing"),
        ("type: !!int x", "'x' is no int"),
        ("type: !!null 3", "'3' is no null"),
        ('half: "\\ud83d"', "file"),
        ("alias: *nobody", "the alias 'nobody' stands for nothing above it"),
        ("<<: 3", "<< takes a mapping, or a list of them"),
        ("<<: {a: 1}\n<<: {b: 1}", "the key '<<' stands twice"),
        ("[a]: 1", "a key is a text"),
    ],
)
@pytest.mark.parametrize("parser", PARSERS)
def test_a_text_that_could_mean_two_things_is_refused_and_not_guessed(text, told, parser):
    with pytest.raises(FixRequest, match="file") as refused:
        read_yaml(text, "file", parser=parser)
    assert told in refused.value.message


def document(tmp_path: Path, name: str, text: str) -> object:
    (tmp_path / name).write_text(text, encoding="utf-8")
    [found] = read_documents(str(tmp_path / name)).documents
    return found.document


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
@pytest.mark.parametrize("indent", [None, 2, "\t"], ids=["one line", "two", "tabs"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_is_read_as_json_whatever_its_name(tmp_path, name, indent, ascii_only):
    meant = {"name": "p", "description": "smile \U0001f600 \x7f", "big": 1e3, "on": {"no": "yes"}}
    text = json.dumps({"kind": "pool", **meant}, indent=indent, ensure_ascii=ascii_only)
    assert document(tmp_path, name, text) == meant


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"kind": "pool", "name": "a", "name": "b"}', "the key 'name' stands twice"),
        ('{"kind": "pool", "name": "\\ud83d"}', "\\ud83d is half a character"),
        ('{"kind": "pool", "\\udc00": 1}', "\\udc00 is half a character"),
        ('{"kind": "pool", "n": NaN}', "NaN: a number is finite"),
        ('{"kind": "pool", "n": -Infinity}', "-Infinity: a number is finite"),
        ('{"kind": "pool", "n": 1e999}', "1e999: a number is finite"),
        ('{"kind": "pool", "n": 010}', "line 1"),
        ('{"kind": "pool",\n "name": "a",}', "line 2"),
        ('{"kind": "pool", "n": ' + "9" * 5000 + "}", "cannot be read"),
    ],
)
def test_json_that_cannot_be_meant_is_refused_in_one_line(tmp_path, text, told):
    with pytest.raises(FixRequest) as refused:
        document(tmp_path, "a.json", text)
    assert told in refused.value.message
    assert "a.json" in refused.value.message and "\n" not in refused.value.message
