"""Every command of `sie`: the same -o, quick to start, and names in completion."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from sie_cli.main import build

TALKS: dict[str, str] = {
    "up": "runs until it is stopped, and tells what it does",
    "test": "is pytest",
    "check": "is ruff, mypy, lint-imports and pytest",
    "simulate": "has --json: a line for each seed",
    "soak": "has --json: a line for each round",
    "support-bundle": "writes a file, and says what is in it",
}
"""Commands that give no answer to be formed, and what they do instead."""
SLOW = {
    *("numpy", "pydantic", "rich", "yaml", "torch", "transformers", "nats", "fastapi", "uvicorn"),
    *("huggingface_hub", "hypothesis", "httpx._main", "sie_core.registry", "asyncio"),
}
"""Modules that take long to import; none of them is needed for a table."""
WRITES = {"yaml"}
"""The part of it that a command needs which reads files."""


def leaves(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Each command that does something, by its words."""
    below = getattr(command, "commands", {})
    if not below or getattr(command, "invoke_without_command", False):
        yield name, command
    for word, each in below.items():
        yield from leaves(each, f"{name} {word}".strip())


COMMANDS = dict(leaves(typer.main.get_command(build())))


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - set(TALKS)))
def test_every_command_takes_the_same_o(name):
    options = [each for each in COMMANDS[name].params if "-o" in each.opts]
    assert len(options) == 1
    assert options[0].opts == ["-o", "--output"]
    assert "custom-columns" in options[0].help and options[0].default == "table"


def test_a_command_that_takes_no_o_is_there_and_says_why():
    assert {name for name, command in COMMANDS.items() if name in TALKS} == set(TALKS)
    assert not [n for n in TALKS if any("-o" in each.opts for each in COMMANDS[n].params)]


def imported_by(*words: str, environment: dict[str, str] | None = None) -> set[str]:
    """The modules that a command line has loaded when it ends."""
    program = (
        "import atexit, sys\n"
        "from sie_cli.main import main\n"
        "def told():\n"
        "    sys.stderr.write('\\n' + ' '.join(n for n, m in sys.modules.items() if m))\n"
        "atexit.register(told)\n"
        f"sys.argv = ['sie', *{list(words)!r}]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("SIE_")}
        | (environment or {}),
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (("get", "models", "--url", "http://127.0.0.1:1"), set[str]()),
        (("replicas", "--url", "http://127.0.0.1:1"), set[str]()),
        (("history", "--url", "http://127.0.0.1:1"), set[str]()),
        (("apply", "-f", "/none", "--url", "http://127.0.0.1:1"), WRITES),
        (("context", "ls"), set[str]()),
        (("--version",), set[str]()),
    ],
)
def test_a_command_loads_nothing_that_it_does_not_need(words, needed, tmp_path):
    loaded = imported_by(*words, environment={"XDG_CONFIG_HOME": str(tmp_path)})
    assert "sie_cli.main" in loaded
    assert not (SLOW - needed) & loaded


def completed(line: str, folder: Path) -> list[str]:
    """The words that Tab offers at the end of a line, as bash asks for them."""
    words = line.split(" ")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv = ['sie']\nfrom sie_cli.main import main; main()",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ
        | {"_SIE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
        | {"XDG_CONFIG_HOME": str(folder)},
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_kinds_and_contexts_are_completed_and_no_cluster_is_no_error(tmp_path):
    file = tmp_path / "sie/contexts.json"
    file.parent.mkdir()
    file.write_text('{"contexts": {"prod": {"url": "http://127.0.0.1:1"}}}')
    assert completed("sie get mo", tmp_path) == ["models"]
    assert completed("sie get a", tmp_path) == ["adapters", "all"]
    assert completed("sie get --context p", tmp_path) == ["prod"]
    assert completed("sie get models org/", tmp_path) == [], "none is named, and none is guessed"
    assert completed("sie get models --context prod org/", tmp_path) == [], "nobody answers"
