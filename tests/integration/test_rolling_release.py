"""Processes replaced one by one under load, and releases found in a history or refused."""

import os
import subprocess
from pathlib import Path

import pytest

from sie_schemas.errors import FixRequest
from sie_testing.soak.releases import other_release, this_release
from sie_testing.soak.upgrade import walk

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

AUTHOR = ("-c", "user.name=t", "-c", "user.email=t@example.org")


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", *AUTHOR, *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull},
    )


async def test_each_role_is_replaced_under_load_and_no_request_fails(tmp_path):
    this = this_release()
    order = ("config", "worker-0", "gateway-0")
    story = await walk(tmp_path, this, this, order, and_back=False, requests=10)
    assert story.failed == []
    assert [step.refused for step in story.steps] == ["", "", ""]
    assert all(step.answered >= 20 for step in story.steps), "both gateways answered meanwhile"


def test_a_shallow_clone_is_told_what_it_lacks(tmp_path):
    whole, shallow = tmp_path / "whole", tmp_path / "shallow"
    whole.mkdir()
    git(whole, "init", "--quiet")
    for text in ("Release 0.1.0", "A change"):
        git(whole, "commit", "--quiet", "--allow-empty", "-m", text)
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{whole}", str(shallow))
    with (
        pytest.raises(FixRequest, match=r"this clone is shallow.*unshallow"),
        other_release("", root=shallow),
    ):
        pass
    with (
        pytest.raises(FixRequest, match=r"no .v9.*--from FOLDER"),
        other_release("v9", root=whole),
    ):
        pass
    with (
        pytest.raises(FixRequest, match="is no checkout of this project"),
        other_release("", root=whole),
    ):
        pass
