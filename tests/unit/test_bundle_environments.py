"""Environments of bundles: made once, whole or not at all, and only for who asks."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.support.apart import made
from tests.support.served import served_config

from sie_catalog.bundles import APART, BUNDLES
from sie_cli.plan import bundle_environment
from sie_cli.plan.bundle_environment import environment_of, execution_programs, make_environment
from sie_cli.plan.settings import ClusterOptions
from sie_cli.supervisor.seeding import put_bundles
from sie_schemas.errors import FixRequest
from sie_server.backends.names import backend_names


def test_an_environment_has_its_own_packages_first_and_below_them_all_others():
    found = made("gliner")
    code = (
        "import gliner, torch, sie_server.backends.names as n; "
        "print(gliner.__file__); print(torch.__file__); print(*n.backend_names())"
    )
    run = subprocess.run([found.python, "-c", code], capture_output=True, text=True, check=True)
    own, below, names = run.stdout.splitlines()
    assert Path(own).is_relative_to(found.packages)
    assert Path(below).is_relative_to(sys.prefix)
    assert not Path(below).is_relative_to(found.folder)
    assert set(names.split()) == {*backend_names(), *BUNDLES["gliner"].backends}


def test_nothing_is_made_that_is_there_or_that_nobody_asked_for(monkeypatch):
    made("gliner")
    said: list[str] = []
    monkeypatch.setenv("PATH", "")
    assert make_environment("gliner", say=said.append) == environment_of("gliner")
    assert execution_programs((), say=said.append) == {}
    assert execution_programs(("of-my-own",), say=said.append) == {}
    assert said == []


@pytest.mark.parametrize("lock", ["no-such-package-of-anybody==1 --hash=sha256:" + "0" * 64])
def test_what_cannot_be_installed_is_one_clear_error_and_leaves_nothing(
    lock, tmp_path, monkeypatch
):
    (tmp_path / "gliner.txt").write_text(lock + "\n")
    monkeypatch.setattr(bundle_environment, "_LOCKS", tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(FixRequest, match="packages of bundle gliner cannot be installed"):
        make_environment("gliner", say=lambda _: None)
    assert [*(tmp_path / "prefix" / "bundles").iterdir()] == []


@pytest.mark.parametrize("names", [("default",), ("gliner", "gliner")])
def test_a_bundle_that_has_workers_is_not_named_again(names, tmp_path):
    with pytest.raises(FixRequest, match="it has workers already"):
        ClusterOptions(data=tmp_path, port=1, workers=1, bundles=names)


async def test_a_log_of_an_older_release_gets_the_bundle_and_one_that_nobody_has_is_refused(
    tmp_path,
):
    with served_config(tmp_path) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            path = "/v1/configs/bundles/gliner"
            assert (await client.delete(path)).is_success
            await put_bundles(url, ("gliner",))
            held = (await client.get(path)).json()["document"]
            assert held["backends"] == ["gliner", "gliclass"]
            epoch = (await client.get("/v1/configs/epoch")).json()["epoch"]
            # One that is there stays as it is, also where it is no longer the release's.
            for name in ("gliner", "default"):
                own = {**BUNDLES[name].document, "description": "ours"}
                changed = await client.put(f"/v1/configs/bundles/{name}", json=own)
                epoch = changed.json()["epoch"]
            await put_bundles(url, ("gliner", "default"))
            assert (await client.get(path)).json()["document"]["description"] == "ours"
            assert (await client.get("/v1/configs/epoch")).json()["epoch"] == epoch
            with pytest.raises(
                FixRequest, match=f"nobody: name .*{min(APART)}, or register it first: "
            ):
                await put_bundles(url, ("nobody",))
