"""`sie log` on files that a disk spoilt: a word and a status from every command, whatever it is."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.log_tools import closed_log
from typer.testing import CliRunner

from sie_cli.admin.log_commands import app
from sie_schemas.entry import Entry

PAGE = 4096
Spoil = Callable[[bytes, list[Entry]], bytes]


def page_gone(number: int) -> Spoil:
    """One page is zeros: what else is on others is still read."""
    return lambda data, _: data[: number * PAGE] + bytes(PAGE) + data[(number + 1) * PAGE :]


def replaced(old: bytes, new: bytes) -> Spoil:
    return lambda data, _: data.replace(old, new, 1)


SPOILT: dict[str, Spoil] = {
    "nothing left": lambda *_: b"",
    "another file": lambda *_: b"root:x:0:0:root:/root:/bin/bash\n" * 200,
    "cut in its header": lambda data, _: data[:50],
    "cut in the middle": lambda data, _: data[: len(data) // 2],
    # SQLite quotes it in a message, which cannot be decoded.
    "a trigger is no text": replaced(
        b"CREATE TRIGGER log_is_linked BEFORE", b"CREATE \xce\xce" * 5
    ),
    "a column is no text": lambda data, log: data.replace(log[40].prev_hash.encode(), b"\xff" * 64),
    "its first page": page_gone(0),
    "the root of the log": page_gone(3),
    "a page of entries": page_gone(20),
}
COMMANDS = ("verify", "verify and export", "doctor", "entries", "replay", "backup", "compact")


def arguments(command: str, folder: Path, export: Path) -> list[str]:
    made = str(folder / "made")
    return {
        "verify": ["verify", str(folder)],
        "verify and export": ["verify", str(folder), "--export", str(export)],
        "doctor": ["doctor", str(folder), "--url", "http://127.0.0.1:1"],
        "entries": ["entries", made, str(folder)],
        "replay": ["replay", str(folder)],
        "backup": ["backup", made, str(folder)],
        "compact": ["compact", str(folder), "--keep", "1"],
    }[command]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[Entry], Path]:
    folder = tmp_path_factory.mktemp("whole")
    path, entries = closed_log(folder, 60)
    export = folder / "export"
    assert CliRunner().invoke(app, ["replay", str(folder), "--out", str(export)]).exit_code == 0
    return path.read_bytes(), entries, export


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_file_gets_a_word_and_the_status_of_damage_from_every_command(
    tmp_path, whole, how
):
    data, entries, export = whole
    spoilt = SPOILT[how](data, entries)
    assert spoilt != data
    for command in COMMANDS:
        (tmp_path / "log.sqlite").write_bytes(spoilt)

        ended = CliRunner().invoke(app, arguments(command, tmp_path, export))

        assert isinstance(ended.exception, SystemExit), f"{command}: {ended.exception!r}"
        assert (ended.exit_code, "Traceback" in ended.output) == (1, False), command
        assert not (tmp_path / "made").exists(), command
        if command in {"verify", "doctor"}:
            assert "sie log restore" in ended.output, "the cure is not told"
