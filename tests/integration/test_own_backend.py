"""The page on writing a backend, followed as it stands: its files, its commands, its documents."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.config_writer import client_of, running

from sie_testing.contracts.backend import BACKEND_CONTRACT

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PAGE = Path(__file__).parents[2] / "docs/guides/own_backend.md"
NAMED = re.compile(r"^`([\w./]+)`[.:]?(?:$|:)|`(letters\.json)`:$", re.MULTILINE)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files(page: str) -> dict[str, str]:
    """The files that the page has its reader write: the block after each name."""
    found: dict[str, str] = {}
    for block in BLOCK.finditer(page):
        if block.group(1) != "sh":
            names = [first or second for first, second in NAMED.findall(page[: block.start()])]
            found[names[-1]] = block.group(2)
    return found


def commands(page: str) -> list[str]:
    """The lines that the page has its reader type."""
    return [
        line
        for language, text in BLOCK.findall(page)
        if language == "sh"
        for line in text.splitlines()
    ]


def test_a_backend_written_by_the_page_keeps_the_contract(tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    written = files(page)
    assert list(written) == [
        "letters/pyproject.toml",
        "letters/letters/__init__.py",
        "letters/test_letters.py",
        "letters.json",
    ]
    for name, text in written.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    # The one thing that is not as it is written: it is installed beside the tests' environment.
    site = tmp_path / "site"
    said = ""
    for line in commands(page):
        program, *rest = line.split()
        if program == "pip":
            rest = ["-m", "pip", *rest, "--no-index", "--target", str(site)]
        else:
            assert program == "python"
            rest = [*rest, "-p", "no:cacheprovider"]
        done = subprocess.run(
            [sys.executable, *rest],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout
        assert done.returncode == 0, f"{line}\n{said}{done.stderr}"
    assert f"{len(BACKEND_CONTRACT)} passed" in said


async def test_the_pages_documents_are_taken(tmp_path: Path) -> None:
    body = files(PAGE.read_text(encoding="utf-8"))["letters.json"]
    async with running(tmp_path) as plane, client_of(plane) as client:
        answer = await client.post(
            "/v1/configs/batch", content=body, headers={"content-type": "application/json"}
        )
        assert answer.is_success, answer.text
        made = await client.get("/v1/configs/models/org/letters")
        assert made.json()["document"]["profiles"]["default"]["options"] == {"digits": True}
