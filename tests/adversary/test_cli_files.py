"""Folders that cannot be read whole: nothing is pruned for what nobody read, or half applied."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
import yaml
from tests.support.config_writer import model
from tests.support.served import served_config
from typer.testing import CliRunner, Result

from sie_cli.config import config_commands

NAMES = ("one", "two", "three")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A writer without a broker."""
    with served_config(tmp_path_factory.mktemp("config")) as url:
        yield url


@pytest.fixture
def folder(address: str, tmp_path: Path) -> Path:
    """A folder with a file for each model, which the cluster holds as well."""
    made = tmp_path / "gitops"
    made.mkdir()
    for name in NAMES:
        write(made / f"{name}.yaml", name)
    assert sie(address, "apply", "-f", str(made), "--prune").exit_code == 0
    return made


def write(path: Path, name: str) -> Path:
    path.write_text(yaml.safe_dump({"kind": "model", **model(name)}))
    return path


def sie(url: str, *arguments: str) -> Result:
    commands = typer.Typer()
    for name in config_commands.__all__:
        commands.command(name.rstrip("_"))(getattr(config_commands, name))
    result = CliRunner().invoke(commands, [*arguments, "--url", url])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def models(url: str) -> list[str]:
    return sorted(sie(url, "get", "models", "-o", "name").stdout.split())


ALL = sorted(f"model/{name}" for name in NAMES)


def link_to_folder(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    shutil.move(folder / "one.yaml", elsewhere)
    (folder / "shared").symlink_to(elsewhere)


def config_map(folder: Path) -> None:
    """As Kubernetes mounts one: hidden folder, link to it, a link for each file."""
    (folder / "..2026").mkdir()
    (folder / "..data").symlink_to("..2026")
    for name in NAMES:
        shutil.move(folder / f"{name}.yaml", folder / "..2026")
        (folder / f"{name}.yaml").symlink_to(f"..data/{name}.yaml")


def ring(folder: Path) -> None:
    (folder / "below").mkdir()
    shutil.move(folder / "one.yaml", folder / "below")
    (folder / "below" / "up").symlink_to(folder)


def as_json(folder: Path) -> None:
    (folder / "one.yaml").unlink()
    (folder / "one.JSON").write_text(json.dumps({"kind": "model", **model("one")}))


def renamed(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "one.yaml").rename(folder / name)


READ_ALL_THE_SAME: dict[str, Callable[[Path], object]] = {
    "a link to a folder": link_to_folder,
    "a config map": config_map,
    "a ring of links": ring,
    ".YAML": renamed("one.YAML"),
    ".Yml": renamed("one.Yml"),
    "hidden": renamed(".one.yaml"),
    "a mark at the beginning": lambda folder: (folder / "one.yaml").write_bytes(
        b"\xef\xbb\xbf" + (folder / "two.yaml").read_bytes().replace(b"two", b"one")
    ),
    ".JSON": as_json,
    "a second name of a file": lambda folder: os.link(folder / "one.yaml", folder / "again.yml"),
}


@pytest.mark.parametrize("how", READ_ALL_THE_SAME)
def test_what_can_be_read_is_read_whatever_its_name_and_place(address, folder, how):
    READ_ALL_THE_SAME[how](folder)
    assert sie(address, "diff", "-f", str(folder), "--prune").output == ""
    done = sie(address, "apply", "-f", str(folder), "--prune")
    assert done.output.startswith("nothing differs"), done.output
    assert models(address) == ALL


def in_its_place(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def put(folder: Path) -> None:
        (folder / "one.yaml").unlink()
        make(folder / "one.yaml")

    return put


def folder_that_is_gone(folder: Path) -> None:
    (folder / "one.yaml").unlink()
    (folder / "shared").symlink_to("/nowhere")


def unreadable_folder(folder: Path) -> None:
    """A link that leads to itself: to look at it fails for everybody, root too."""
    (folder / "one.yaml").unlink()
    (folder / "below").symlink_to("below")


CANNOT_BE_READ: dict[str, Callable[[Path], object]] = {
    "a link to nothing": in_its_place(lambda path: path.symlink_to("/nowhere/one.yaml")),
    "a folder that is gone": folder_that_is_gone,
    "a folder that cannot be looked at": unreadable_folder,
    "a file that cannot be read": in_its_place(lambda path: path.symlink_to("/proc/self/mem")),
    "a pipe": in_its_place(os.mkfifo),
    "UTF-16": in_its_place(lambda path: path.write_text("kind: model\n", encoding="utf-16")),
    "empty": in_its_place(Path.touch),
    "blank": in_its_place(lambda path: path.write_text("\n \n")),
    "half written": in_its_place(lambda path: path.write_text("kind: model\nmodel_id: [")),
    "no kind": in_its_place(lambda path: path.write_text("model_id: one\n")),
    "an unknown kind": in_its_place(lambda path: path.write_text("kind: modle\nname: one\n")),
    "YAML that says it is JSON": lambda folder: (folder / "one.yaml").rename(folder / "one.json"),
}


@pytest.mark.parametrize("how", CANNOT_BE_READ)
def test_what_cannot_be_read_stops_everything_by_its_name(address, folder, how):
    CANNOT_BE_READ[how](folder)
    for arguments in (("apply", "--prune"), ("apply",), ("diff", "--prune"), ("diff",)):
        refused = sie(address, *arguments, "-f", str(folder))
        assert (refused.exit_code, refused.stdout) == (2, ""), (arguments, refused.output)
        assert str(folder) + os.sep in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
    assert models(address) == ALL


def test_what_was_left_out_is_named_where_something_may_be_pruned(address, folder):
    (folder / "one.yaml").rename(folder / "one.yaml.off")
    (folder / "README.md").write_text("words")
    for command in ("diff", "apply"):
        refused = sie(address, command, "-f", str(folder), "--prune")
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert "one.yaml.off looks like documents" in refused.stderr
    assert models(address) == ALL
    assert sie(address, "diff", "-f", str(folder)).stderr == ""
    (folder / "one.yaml.off").unlink()
    told = sie(address, "diff", "-f", str(folder), "--prune")
    assert told.stdout == "- model one\n"
    assert told.stderr.startswith("not read, since no name ends in .json, .yaml, .yml: ")
    assert "README.md" in told.stderr


def test_a_folder_without_a_document_says_which_names_count(address, tmp_path):
    (tmp_path / "one.yaml.off").write_text("kind: model")
    refused = sie(address, "apply", "-f", str(tmp_path), "--prune")
    assert refused.exit_code == 2
    assert "holds no document in files that end in .json, .yaml, .yml" in refused.stderr


def test_a_pipe_that_is_named_itself_is_read(address, tmp_path):
    """As a shell gives one with `<(…)`."""
    reading, writing = os.pipe()
    os.write(writing, yaml.safe_dump({"kind": "model", **model("one")}).encode())
    os.close(writing)
    try:
        told = sie(address, "diff", "-f", f"/dev/fd/{reading}")
    finally:
        os.close(reading)
    assert told.exit_code in {0, 1}, told.output


def test_a_name_that_no_file_can_have_is_one_line(address):
    assert sie(address, "diff", "-f", "a\0b").stderr.startswith(r"sie: a\x00b cannot be read")
