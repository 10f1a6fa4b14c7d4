"""The tutorial, run as its reader runs it: every command, and what it shows.

In a text block `…` stands for the rest of a line, and alone on a line for any lines.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.live_cluster import SIE, sie

from sie_cli.plan.ports import free_ports

pytestmark = [pytest.mark.integration, pytest.mark.tool("curl"), pytest.mark.timeout(120)]

PAGE = Path(__file__).parents[2] / "docs/tutorial.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STEP_S = 60.0


@dataclass(frozen=True)
class Step:
    """A block to run, and what it is said to show: None where nothing is said."""

    language: str
    code: str
    shown: str | None = None


def steps(page: str) -> list[Step]:
    """The blocks that a reader runs, in order. A text block is what the block before it shows."""
    found: list[Step] = []
    for language, text in BLOCK.findall(page):
        match language:
            case "sh" | "python":
                found.append(Step(language, text))
            case "text":
                assert found[-1].shown is None, f"shown by nothing: {text}"
                found[-1] = Step(found[-1].language, found[-1].code, text)
            case _:
                pytest.fail(f"a reader of the tutorial cannot run a block of {language}")
    return found


def as_shown(text: str) -> str:
    """Without what nobody sees: how many blanks there are, and empty lines at the ends."""
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


def shows(shown: str, output: str) -> bool:
    """True if an output is what the page shows."""
    lines = [
        r"(.*\n)*?" if line == "…" else ".*?".join(map(re.escape, line.split("…"))) + r"\n"
        for line in as_shown(shown).splitlines()
    ]
    return re.fullmatch("".join(lines), as_shown(output) + "\n") is not None


class Reader:
    """Somebody with a checkout and a shell, who does what the page says."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)

    def run(self, step: Step) -> str:
        """The output of one block. What a shell exports is there for the blocks after it."""
        kept = self._folder / "environment"
        command = {
            "sh": ["bash", "-euo", "pipefail", "-c", f"{step.code}\nenv -0 > {kept}"],
            "python": [".venv/bin/python", "-c", step.code],
        }[step.language]
        done = subprocess.run(
            command,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STEP_S,
            check=False,
        )
        assert done.returncode == 0, f"{step.code}\n{done.stdout}"
        if step.language == "sh":
            pairs = kept.read_text().rstrip("\0").split("\0")
            self._environment = dict(pair.split("=", 1) for pair in pairs)
        return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A folder with all that the tutorial uses of a checkout: the command and its environment."""
    command = tmp_path / "sie"
    command.write_text(f'#!/bin/sh\nexec "{SIE}" "$@"\n')
    command.chmod(0o755)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    yield tmp_path
    sie("down", "--data", str(tmp_path / ".sie"))


def test_every_command_of_the_tutorial_does_what_it_shows(checkout):
    # The one thing that is not as it is written: ports that are free here.
    port = free_ports(1, adjacent=2)[0]
    page = PAGE.read_text().replace("8080", str(port)).replace("8081", str(port + 1))
    reader = Reader(
        checkout, {name: text for name, text in os.environ.items() if not name.startswith("SIE_")}
    )

    for step in steps(page):
        output = reader.run(step)
        assert step.shown is None or shows(step.shown, output), (
            f"{step.code}\nshows\n{as_shown(output)}\nand not\n{as_shown(step.shown)}"
        )
    assert not (checkout / ".sie").exists()
