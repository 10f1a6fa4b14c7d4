"""Printing: rows and documents in the form that the user asked for.

*shell.* Data goes to stdout, talk to stderr. Promises that `json` and `yaml` hold all that the
service said, and that `name` gives one `kind/key` a line. A table needs no terminal: in one it fits
its width, and in a pipe nothing is cut. Colours are for terminals, unless NO_COLOR says none.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sie_cli.texts.json_paths import Path, read_path, selected
from sie_cli.texts.plain_yaml import dump_yaml
from sie_core.nearest import advice
from sie_schemas.errors import FixRequest

__all__ = [
    "Form",
    "json_text",
    "print_difference",
    "print_lines",
    "print_rows",
    "print_value",
    "talk",
]


_WIDTH: Final = 10_000
_NAMES: Final = ("table", "wide", "yaml", "json", "name", "jsonpath", "custom-columns")
_COLOURS: Final = {
    "fresh": "green",
    "accepted": "green",
    "loaded": "green",
    "true": "green",
    "stale": "yellow",
    "false": "yellow",
    "lost": "red",
    "failed": "red",
    "forked": "red",
    "halted": "red",
    "quarantined": "red",
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
        self.name, _, told = text.partition("=")
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
    """A line for the person, not for the pipe."""
    typer.echo(text, err=True)


def json_text(value: Any) -> str:
    """JSON for people and programs."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def print_lines(lines: Sequence[str]) -> None:
    """Lines as they are."""
    for line in lines:
        typer.echo(line)


def print_difference(lines: Sequence[str]) -> None:
    """Lines of a difference, in colour on a terminal."""
    console = _console()
    for line in lines:
        console.print(Text(line, style=_OF_DIFFERENCE.get(line[:1], "")), soft_wrap=True)


def print_value(value: Any, form: Form) -> None:
    """One value, as YAML unless JSON or a part of it is asked for."""
    match form.name:
        case "json":
            typer.echo(json_text(value))
        case "jsonpath":
            print_lines([_cell(each) for each in selected(value, form.path)])
        case "custom-columns":
            rows = value if isinstance(value, list) else [value]
            heads = [head for head, _ in form.columns]
            shown = [
                {head: _joined(selected(row, path)) for head, path in form.columns} for row in rows
            ]
            _print_table(shown, heads)
        case _:
            typer.echo(dump_yaml(value), nl=False)


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


def _console() -> Console:
    # Nothing is cut in a pipe, which has no width.
    return Console() if sys.stdout.isatty() else Console(width=_WIDTH)


def _print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    console = _console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        # In a terminal a long cell goes on in the next line of its column.
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_coloured(_cell(row.get(column))) for column in columns))
    console.print(table, markup=False, soft_wrap=not console.is_terminal)


def _coloured(text: str) -> Text:
    return Text(text, style=_COLOURS.get(text, ""))


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
