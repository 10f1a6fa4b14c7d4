"""Printing: rows and documents in the form that the user asked for.

*shell.* Data goes to stdout, talk to stderr. Promises that `json` and `yaml` hold all that the
service said, that `name` gives one `kind/key` a line, and that a table needs no terminal.
"""

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import typer
from rich.console import Console
from rich.table import Table

from sie_cli.texts.plain_yaml import dump_yaml

__all__ = ["Form", "json_text", "print_lines", "print_rows", "print_value", "talk"]


_WIDTH: Final = 10_000


class Form(StrEnum):
    """The form of the output."""

    TABLE = "table"
    WIDE = "wide"
    YAML = "yaml"
    JSON = "json"
    NAME = "name"

    @property
    def is_whole(self) -> bool:
        """True if all that the service said is printed."""
        return self in {Form.JSON, Form.YAML}


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


def print_value(value: Any, form: Form) -> None:
    """One value, as YAML unless JSON is asked for."""
    if form is Form.JSON:
        typer.echo(json_text(value))
    else:
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
    match form:
        case Form.JSON | Form.YAML:
            print_value([dict(row) for row in rows], form)
        case Form.NAME:
            print_lines(names)
        case Form.TABLE | Form.WIDE:
            shown = [*columns, *(more if form is Form.WIDE else ())]
            _print_table(rows, shown)


def _print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    # Nothing is cut: a pipe has no width, and a terminal breaks long lines by itself.
    console = Console(width=_WIDTH)
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    console.print(table, markup=False, soft_wrap=True)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ",".join(_cell(part) for part in value)
    return json.dumps(value, ensure_ascii=False)
