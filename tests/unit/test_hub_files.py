"""Files of a hub: a worker gets all that a reader takes facts from, and of others' words alone.

A hub on loopback; each fetch in a process of its own, with a cache of the test's own.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.support.hub_mirror import HubMirror, hub_mirror
from tests.support.polling import until

from sie_cli.models.hub import open_revision
from sie_layouts.facts import WORDS
from sie_schemas.errors import FixRequest

_COMMIT, _OTHER = "1" * 40, "2" * 40
_RESOLVE = """
import json, sys
from sie_schemas.documents import HubSource
from sie_schemas.errors import SIEError
from sie_server.weights.sources import resolve
try:
    source = HubSource.model_validate_json(sys.argv[1])
    found = resolve(source, graphs=sys.argv[2:] == ["graphs"])
except SIEError as error:
    sys.exit(error.message)
def told(weights):
    names = [path.relative_to(weights.folder).as_posix() for path in weights.folder.rglob("*")]
    return {"names": sorted(names), "of": weights.hub_name, "pinned": weights.pin is not None}
beside = {name: told(each) for name, each in found.beside.items()}
print(json.dumps({"own": told(found), "beside": beside}))
"""


def _environment(mirror: HubMirror, cache: Path, offline: str = "0") -> dict[str, str]:
    own = {"HF_ENDPOINT": mirror.url, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_XET": "1"}
    return os.environ | own | {"HF_HUB_OFFLINE": offline}


def _ran(
    mirror: HubMirror, cache: Path, *words: str, offline: str = "0"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        check=False,
        env=_environment(mirror, cache, offline),
    )


def _resolved(mirror: HubMirror, cache: Path, *, graphs: str = "", **source: Any) -> dict[str, Any]:
    told = json.dumps({"type": "hub", "revision": _COMMIT, **source})
    ran = _ran(mirror, cache, "-c", _RESOLVE, told, graphs)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout.strip().rsplit("\n", 1)[-1])
    return found


def _repository(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


_EACH = """
import sys
from sie_schemas.documents import HubSource
from sie_schemas.errors import SIEError
from sie_server.weights.sources import resolve
for name in sys.argv[2:]:
    try:
        resolve(HubSource(type="hub", id=name, revision=sys.argv[1]))
        print("taken")
    except SIEError as error:
        print(error.message)
"""


def test_no_word_of_a_hub_is_a_way_out_of_its_cache(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "secret").write_text("of this machine")
    says = [
        ("there", "ETag", '"../../../home/evil.pth"'),
        ("there", "ETag", f'W/"{home}/evil.pth"'),
        ("there", "ETag", f'"{home}/secret"'),
        ("there", "ETag", '"."'),
        ("there", "X-Linked-Etag", "../../../home/evil.pth"),
        ("there", "X-Repo-Commit", "../../../../home"),
        ("absent", "X-Repo-Commit", "../../../../home"),
    ]
    with hub_mirror() as mirror:
        for index, (file, header, value) in enumerate(says):
            there, named = f"there{index}.json", f"{file}{index}.json"
            folder = _repository(tmp_path / f"model{index}", there)
            mirror.repositories[f"org/model{index}", _COMMIT] = folder
            mirror.tagged[named] = {header: value}
            mirror.listed[f"org/model{index}"] = named if file == "absent" else there
        mirror.repositories["org/outside", _COMMIT] = _repository(tmp_path / "model", "words.json")
        mirror.listed["org/outside"] = "../../../../home/evil.json"
        names = [f"org/model{index}" for index in range(len(says))]
        ran = _ran(mirror, tmp_path / "cache", "-c", _EACH, _COMMIT, *names, "org/outside")
    *told, outside = ran.stdout.splitlines()
    assert [each for each in told if "which is no plain name" not in each] == []
    assert len(told) == len(says), ran.stderr
    assert outside.startswith("org/outside at 111111111111 cannot be fetched: ")
    assert "home/evil.json" in outside
    assert [path.name for path in home.iterdir()] == ["secret"]


@pytest.mark.parametrize("inside", ["", "1_Pooling/"])
def test_each_file_that_a_reader_asks_for_is_fetched(inside, tmp_path):
    wanted = [f"{inside}words{ending}" for ending in WORDS]
    names = [*wanted, "model.safetensors", "code.py", "weights.onnx", "picture.png"]
    folder = _repository(tmp_path / "model", *names)
    with hub_mirror() as mirror:
        mirror.repositories["org/model", _COMMIT] = folder
        found = _resolved(mirror, tmp_path / "cache", id="org/model")["own"]["names"]
    assert [name for name in found if "." in name] == sorted([*wanted, "model.safetensors"])


async def test_what_a_killed_download_left_is_never_served_and_goes_with_the_next_fetch(tmp_path):
    """Wherever it was killed, and not while whoever fetches it lives."""
    content, cache = b"of some weights", tmp_path / "cache"
    places = (0, 1, len(content) // 2, len(content) - 1)
    folder = _repository(tmp_path / "model", "config.json")
    for place in places:
        (folder / f"{place}.safetensors").write_bytes(content + bytes([place]))

    def left() -> list[Path]:
        return sorted(cache.glob("*/blobs/*.incomplete"))

    with hub_mirror() as mirror:
        mirror.repositories["org/model", _COMMIT] = folder
        mirror.repositories["org/other", _COMMIT] = _repository(tmp_path / "other", "config.json")
        held = mirror.held["org/model"] = threading.Event()
        told = (sys.executable, "-c", _EACH, _COMMIT, "org/model")
        # The library itself begins anew after ten seconds without a byte.
        patient = _environment(mirror, cache) | {"HF_HUB_DOWNLOAD_TIMEOUT": "120"}
        fetching = await asyncio.create_subprocess_exec(*told, env=patient)
        try:
            await until(lambda: len(left()) == len(places))
            _resolved(mirror, cache, id="org/other")
            assert len(left()) == len(places), "another fetch takes nothing from one that lives"
        finally:
            fetching.kill()
            await fetching.wait()
            held.set()
        # The library writes ten megabytes at a time, so that of a short file it had not begun.
        for path, place in zip(left(), places, strict=True):
            path.write_bytes(content[:place])
        ran = _ran(mirror, cache, "-c", _EACH, _COMMIT, "org/model", offline="1")
        assert "is not in the hub cache" in ran.stdout
        found = _resolved(mirror, cache, id="org/model")["own"]["names"]
    assert found == sorted(path.name for path in folder.iterdir())
    [fetched] = cache.glob("models--org--model/snapshots/*")
    assert all((fetched / name).read_bytes() == (folder / name).read_bytes() for name in found)
    assert left() == []


def test_a_graph_is_fetched_with_all_that_it_names_and_nothing_else(tmp_path):
    """Whatever its tensors' files are called: `model.onnx_data_1`, `weights.bin`."""
    named = (
        "weights.bin",
        "model.onnx_data",
        "model.onnx_data_1",
        "parts/w[1]",
        "absent",
        "w" * 130,
    )
    others = ("weights.bin", "onnx/pytorch_model.bin", "onnx/parts/w1", "onnx/code.py", "code.py")
    wanted = [f"onnx/{name}" for name in named[:4]]
    folder = _repository(tmp_path / "model", *wanted, *others, "config.json")
    pairs = [
        bytes([len(name) & 127 | 128, 1]) if len(name) > 127 else bytes([len(name)])
        for name in named
    ]
    (folder / "onnx/model.onnx").write_bytes(
        b"".join(
            b"\x0a\x08location\x12" + size + name.encode()
            for size, name in zip(pairs, named, strict=True)
        )
    )
    with hub_mirror() as mirror:
        mirror.repositories["org/model", _COMMIT] = folder
        for _ in range(2):
            found = _resolved(mirror, tmp_path / "cache", id="org/model", graphs="graphs")
            files = [name for name in found["own"]["names"] if (folder / name).is_file()]
            assert files == sorted(["config.json", "onnx/model.onnx", *wanted])


def test_of_a_repository_beside_a_model_words_alone_are_fetched_at_the_commit_that_is_pinned(
    tmp_path, monkeypatch
):
    model = _repository(tmp_path / "model", "gliner_config.json", "model.safetensors")
    encoder = _repository(
        tmp_path / "encoder", "config.json", "tokenizer.json", "spm.model", "model.safetensors",
        "pytorch_model.bin",
    )  # fmt: skip
    with hub_mirror() as mirror:
        mirror.repositories["org/gliner", _COMMIT] = model
        mirror.repositories["org/encoder", _OTHER] = encoder
        mirror.private |= {"org/gliner": "own-token-1f", "org/encoder": "own-token-1f"}
        monkeypatch.setenv("SIE_SECRET_OWN", "own-token-1f")
        beside = {"org/encoder": _OTHER}
        found = _resolved(
            mirror, tmp_path / "cache", id="org/gliner", beside=beside, token="secret:own"
        )
        asked = [line for line in mirror.asked if "encoder" in line]
    assert found["own"]["names"] == ["gliner_config.json", "model.safetensors"]
    assert found["beside"] == {
        "org/encoder": {
            "names": ["config.json", "spm.model", "tokenizer.json"],
            "of": f"org/encoder@{_OTHER}",
            "pinned": True,
        }
    }
    assert not [line for line in asked if "safetensors" in line or ".bin" in line]


def test_a_repository_beside_a_model_that_the_hub_has_not_is_told_by_its_name(tmp_path):
    model = _repository(tmp_path / "model", "gliner_config.json", "model.safetensors")
    with hub_mirror() as mirror:
        mirror.repositories["org/gliner", _COMMIT] = model
        told = json.dumps(
            {"type": "hub", "id": "org/gliner", "revision": _COMMIT, "beside": {"org/no": _OTHER}}
        )
        ran = _ran(mirror, tmp_path / "cache", "-c", _RESOLVE, told)
    assert ran.returncode == 1
    assert "there is no org/no on the hub" in ran.stderr


def test_what_is_added_pins_the_newest_commit_of_a_repository_beside_it(tmp_path):
    # A pickle is not judged before a worker reads it.
    model = _repository(tmp_path / "model", "pytorch_model.bin")
    config = {"model_name": "org/encoder", "model_type": "gliner_uni_encoder_span"}
    (model / "gliner_config.json").write_text(json.dumps(config))
    with hub_mirror() as mirror:
        mirror.repositories["org/gliner", _COMMIT] = model
        mirror.branches["org/gliner", "main"] = _COMMIT
        mirror.repositories["org/encoder", _OTHER] = _repository(tmp_path / "e", "config.json")
        mirror.branches["org/encoder", "main"] = _OTHER
        words = ("-m", "sie_cli.main", "inspect", "org/gliner", "--document", "-o", "json")
        ran = _ran(mirror, tmp_path / "cache", *words)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["source"] == {
        "type": "hub",
        "id": "org/gliner",
        "revision": _COMMIT,
        "beside": {"org/encoder": _OTHER},
    }


@pytest.mark.parametrize("strange", ["../../other/revision/main", "..", "no\nsuch", "main?x=1"])
def test_a_revision_is_one_part_of_the_address_whatever_is_in_it(
    tmp_path: Path, strange: str
) -> None:
    with hub_mirror() as mirror:
        for name in ("org/mini", "org/other"):
            mirror.repositories[name, _COMMIT] = tmp_path
            mirror.branches[name, "main"] = _COMMIT
        mirror.branches["org/mini", "refs/pr/1"] = _COMMIT
        environ = {"HF_ENDPOINT": mirror.url, "HF_HOME": str(tmp_path)}
        found = open_revision("org/mini", "refs/pr/1", environ)
        found.close()
        assert (found.repository, found.commit) == ("org/mini", _COMMIT)
        with pytest.raises(FixRequest, match="org/mini"):
            open_revision("org/mini", strange, environ)
