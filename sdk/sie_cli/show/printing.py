"""Printing: rows and documents in the form that the user asked for.

*shell.* Data goes to stdout, talk to stderr. Promises:

- `json` and `yaml` hold all that the service said, and `name` gives one `kind/key` a line.
- A table fits its terminal. In a pipe it has no width, and no cell is longer than a bound.
- Colours are for terminals, unless NO_COLOR says none.
- What others wrote moves no cursor. A part that a path selects is given to a pipe as it is.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import typer

from sie_cli.show.tables import table_lines
from sie_cli.texts.json_paths import Path, read_path, selected
from sie_core.nearest import advice
from sie_runtime.texts.printable import json_code
from sie_schemas.errors import FixRequest, escaped, visible, without_password

__all__ = [
    "Form",
    "in_colour",
    "json_text",
    "print_difference",
    "print_lines",
    "print_rows",
    "print_told",
    "print_value",
    "talk",
]


_LINE_MAX: Final = 2000
"""Of what is for people; the forms for machines hold all of it."""
_NAMES: Final = ("table", "wide", "yaml", "json", "name", "jsonpath", "custom-columns")
_COLOURS: Final = {
    "fresh": "green",
    "accepted": "green",
    "loaded": "green",
    "true": "green",
    "yes": "green",
    "not yet": "yellow",
    "stale": "yellow",
    "false": "yellow",
    "gone": "red",
    "lost": "red",
    "failed": "red",
    "forked": "red",
    "halted": "red",
    "quarantined": "red",
    "refused": "red",
}
_OF_DIFFERENCE: Final = {"+": "green", "-": "red", "~": "cyan", "!": "yellow"}


class Form:
    """The form of the output: a name, and for two of them what follows `=`.

    `jsonpath=PATH` prints what a path selects, `custom-columns=HEAD:PATH,…` a table of such.
    """

    TABLE: ClassVar["Form"]
    WIDE: ClassVar["Form"]
    YAML: ClassVar["Form"]
    JSON: ClassVar["Form"]
    NAME: ClassVar["Form"]

    def __init__(self, text: str) -> None:
        """Raises `FixRequest`."""
        # `-o=json` is how other tools take it.
        self.name, _, told = text.removeprefix("=").partition("=")
        self.path: Path = ()
        self.columns: tuple[tuple[str, Path], ...] = ()
        if self.name not in _NAMES:
            raise FixRequest(f"-o knows no form {text[:60]!r}; {advice(self.name, _NAMES)}")
        if self.name == "jsonpath":
            self.path = read_path(_wanted(told, "jsonpath={.path}"))
        elif self.name == "custom-columns":
            parts = _wanted(told, "custom-columns=NAME:.path,…").split(",")
            self.columns = tuple(_column(part) for part in parts)
        elif told:
            raise FixRequest(f"-o {self.name} takes nothing after it: {told[:60]!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Form) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def is_whole(self) -> bool:
        """True if what is printed is all that the service said, or taken from all of it."""
        return self.name not in {"table", "wide", "name"}


Form.TABLE, Form.WIDE, Form.YAML = Form("table"), Form("wide"), Form("yaml")
Form.JSON, Form.NAME = Form("json"), Form("name")


def _wanted(told: str, example: str) -> str:
    if not told:
        raise FixRequest(f"-o {example.partition('=')[0]} wants more: -o {example}")
    return told


def _column(part: str) -> tuple[str, Path]:
    head, colon, path = part.partition(":")
    if not colon or not head:
        raise FixRequest(f"a column is NAME:.path, not {part!r}")
    return head, read_path(path)


def talk(text: str) -> None:
    """Lines for the person, not for the pipe. No address in them has a password."""
    told = without_password(text)
    typer.echo("\n".join(visible(line) for line in told.split("\n")), err=True)


def json_text(value: Any) -> str:
    """JSON for people and programs. What a terminal would obey stands in it by its code."""
    return escaped(json.dumps(value, indent=2, ensure_ascii=False), json_code, kept="\n")


def print_lines(lines: Sequence[str]) -> None:
    """Lines, of which none is too long to read."""
    for line in lines:
        typer.echo(_bounded(line))


def print_difference(lines: Sequence[str]) -> None:
    """Lines of a difference, in colour on a terminal."""
    coloured = in_colour()
    for line in lines:
        colour = _OF_DIFFERENCE.get(line[:1])
        text = _bounded(line)
        typer.echo(typer.style(text, fg=colour) if coloured and colour else text)


def print_value(value: Any, form: Form) -> None:
    """One value, as YAML unless JSON or a part of it is asked for."""
    match form.name:
        case "json":
            typer.echo(json_text(value))
        case "jsonpath":
            # A list of ours is what other tools have below `items`.
            is_list = isinstance(value, list) and form.path[:1] == ["items"]
            found = selected(value, form.path[1:] if is_list else form.path)
            if not found:
                talk("nothing stands at that path: -o json shows what there is")
            for each in found:
                # A script gets what was said, a terminal what it may be shown.
                text = _cell(each)
                typer.echo(visible(text) if sys.stdout.isatty() else text)
        case "custom-columns":
            rows = value if isinstance(value, list) else [value]
            heads = [head for head, _ in form.columns]
            shown = [
                {head: _joined(selected(row, path)) for head, path in form.columns} for row in rows
            ]
            _print_table(shown, heads)
        case _:
            from sie_runtime.texts.plain_yaml import dump_yaml  # noqa: PLC0415 - slow to import

            typer.echo(dump_yaml(value), nl=False)


def print_told(value: Mapping[str, Any], line: str, form: Form, *, name: str = "") -> None:
    """Print what a command did: a line, or the value for a machine."""
    if form.is_whole:
        print_value(dict(value), form)
    else:
        print_lines([name if form == Form.NAME and name else line])


def print_rows(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    form: Form,
    *,
    more: Sequence[str] = (),
    names: Sequence[str] = (),
) -> None:
    """Rows; `more` columns are shown by `wide`, `names` are what `name` prints."""
    if form.is_whole:
        print_value([dict(row) for row in rows], form)
    elif form == Form.NAME:
        print_lines(names)
    else:
        _print_table(rows, [*columns, *(more if form == Form.WIDE else ())])


def in_colour() -> bool:
    """True where stdout is a terminal whose user has not said otherwise."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not plain


def _print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    styled = _coloured if in_colour() else _plain
    for line in table_lines(columns, cells, width, styled):
        typer.echo(line)


def _coloured(cell: str, piece: str) -> str:
    if not cell:
        return typer.style(piece, bold=True)
    colour = _COLOURS.get(cell)
    return typer.style(piece, fg=colour) if colour else piece


def _plain(_cell: str, piece: str) -> str:
    return piece


def _bounded(line: str) -> str:
    text = visible(line)
    return text if len(text) <= _LINE_MAX else text[: _LINE_MAX - 1] + "…"


def _joined(found: Sequence[Any]) -> Any:
    return found[0] if len(found) == 1 else (list(found) or None)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ",".join(_cell(part) for part in value)
    return json.dumps(value, ensure_ascii=False)
