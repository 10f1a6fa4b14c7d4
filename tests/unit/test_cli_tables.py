"""Tables, lines and differences as people see them: on a terminal, in a pipe, by hostile text."""

import re
import sys

import pytest

from sie_cli.config.config_rows import replica_row
from sie_cli.show.printing import Form, print_difference, print_rows, talk
from sie_cli.show.tables import table_lines, width_of

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
HOSTILE = "a\x1b[2Jb\rc\u202ed\x07e"


@pytest.mark.parametrize("width", [10, 24, 40, 80, 200])
@pytest.mark.parametrize(
    "cell", ["", "x" * 400, "one, two, three " * 20, "模型" * 90, "e\u0301" * 90, HOSTILE]
)
def test_no_line_is_wider_than_the_terminal(width, cell):
    lines = list(table_lines(["name", "state"], [[cell, "fresh"], ["short", cell]], width))
    assert max(width_of(line) for line in lines) <= width
    assert lines[0].startswith("name"[: width // 3])
    assert not [line for line in lines if line.endswith(" ")]


def test_columns_stand_below_each_other_and_a_long_cell_goes_on_below_itself():
    rows = [["a model of a long name, with words", "fresh"], ["模型", "lost"]]
    assert list(table_lines(["name", "state"], rows, 24)) == [
        "name               state",
        "a model of a long  fresh",
        "name, with words",
        "模型               lost",
    ]


def test_a_table_in_a_pipe_has_no_line_of_ten_thousand_characters(capsys):
    print_rows([{"name": "x" * 10_000, "state": "fresh"}], ["name", "state"], Form.TABLE)
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) < 600
    assert "…" in lines[1] and lines[1].endswith("fresh")


def test_a_machine_reads_all_of_it(capsys):
    print_rows([{"name": "x" * 10_000}], ["name"], Form.JSON)
    assert "x" * 10_000 in capsys.readouterr().out


def test_nothing_that_others_wrote_moves_the_cursor(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    print_rows([{"name": HOSTILE}], ["name"], Form.TABLE)
    print_difference([f"+ model {HOSTILE}"])
    talk(HOSTILE)
    printed = "".join(capsys.readouterr())
    assert printed.replace("\n", "").isprintable()
    assert r"\x1b[2J" in printed and r"\u202e" in printed


def test_colours_are_for_terminals_whose_user_wants_them(capsys, monkeypatch):
    def shown() -> str:
        print_rows([{"state": "lost"}], ["state"], Form.TABLE)
        print_difference(["- model m", "+ model n"])
        return str(capsys.readouterr().out)

    assert not ESCAPES.search(shown()), "a pipe"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    coloured = shown()
    assert len(set(ESCAPES.findall(coloured))) >= 4, "bold, red, green, and back"
    assert not [line for line in coloured.splitlines() if line.rstrip() != line]
    for name, value in (("TERM", "dumb"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
        assert not ESCAPES.search(shown()), name


@pytest.mark.parametrize(
    ("told", "state", "live"),
    [
        ({"gone": False, "live": True}, "fresh", True),
        ({"gone": True, "live": True}, "gone", False),
        ({"gone": True, "live": False}, "gone", False),
        ({"gone": False, "live": False}, "lost", False),
        ({"live": True}, "fresh", True),
    ],
)
def test_a_replica_that_is_gone_is_shown_as_no_live_one_whatever_it_said_last(told, state, live):
    shown = replica_row({"role": "worker", "id": "w1", "state": "fresh", **told})
    assert (shown["state"], shown["live"]) == (state, live)


def test_a_wide_character_is_shown_where_not_even_one_fits():
    lines = list(table_lines(["n", "s"], [["漢字", "ok"]], 3))

    assert [line.split()[0] for line in lines] == ["n", "漢", "字"]
