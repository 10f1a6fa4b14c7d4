"""Commands that pages, errors and the console tell: each is there, with every option it is given.

*shell.* Reads the text of the project. A cure that cannot be typed is worse than none, and nobody
types it before the night on which it is wanted.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from sie_cli.main import build

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/**/*.md", "deploy/**/*.md")
SOURCES = tuple(
    f"{folder}/**/*.{suffix}"
    for folder in ("control_plane", "data_plane", "shared", "sdk", "testing")
    for suffix in ("py", "js")
)
OTHERS = ("deploy/**/*.yaml", "deploy/**/*.txt")
MARKED = re.compile(
    r'`(?:\./)?(sie [a-z][^`\n]*)`|<code>(sie [^<]*)</code>|"(sie [a-z-]+(?: [^"]*)?)"'
)
LINE = re.compile(r"^\s*(?:\$ )?(?:\./)?(sie [a-z].*)$", re.MULTILINE)
FENCE = re.compile(r"```(?:sh|bash|console)\n(.*?)```", re.DOTALL)
COMMAND: Any = typer.main.get_command(build())
ENDS = re.compile(r"^(?:[|;&>]|\d?>|<|\\$)")


def told(path: Path) -> Iterator[str]:
    """Each command that a file tells, as it stands there."""
    text = path.read_text()
    for match in MARKED.finditer(text):
        yield next(each for each in match.groups() if each)
    if path.suffix == ".md":
        for block in FENCE.findall(text):
            yield from LINE.findall(block.replace("\\\n", " "))


def problem(line: str) -> str:
    """The part of a command that is not there; empty where all of it is."""
    try:
        words = shlex.split(line, comments=True)[1:]
    except ValueError:
        return "quotes that do not close"
    command = COMMAND
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    for word in words:
        if ENDS.match(word):
            break
        below = getattr(command, "commands", {})
        if word.startswith("-") and word not in {"-", "--"}:
            name = word.partition("=")[0]
            # What `sie test` does not know is pytest's.
            is_handed_on = command.context_settings.get("ignore_unknown_options")
            if name not in known | {"--help"} and not is_handed_on:
                return f"{command.name} has no {name}"
        elif word in below:
            command = below[word]
            known |= {o for each in command.params for o in (*each.opts, *each.secondary_opts)}
        elif below and re.fullmatch(r"[a-z][a-z-]*", word):
            return f"{command.name} has no command {word}"
    return ""


@pytest.mark.parametrize("pattern", [*PAGES, *SOURCES, *OTHERS])
def test_a_command_that_is_told_can_be_typed(pattern):
    wrong = [
        f"{path.relative_to(ROOT)}: {line}: {what}"
        for path in sorted(ROOT.glob(pattern))
        for line in told(path)
        if (what := problem(line))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "line",
    [
        "sie token new me --role read",
        "sie tokn new me",
        "sie log frobnicate",
        "sie get models --nope",
    ],
)
def test_what_cannot_be_typed_is_found(line):
    assert problem(line)
