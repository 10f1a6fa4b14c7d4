"""Pickled weights: their tensors and nothing else are taken, and no pickle runs anything.

A hub on loopback, each fetch in a process of its own with a cache of the test's own.
"""

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.support.hub_mirror import HubMirror, hub_mirror

from sie_layouts.architectures.tensors.pickled import pickles_wanted
from sie_schemas.errors import OurFault
from sie_server.weights.pickles import convert_pickles, still_whole

COMMIT = "1" * 40
FETCH = """
import sys
from sie_schemas.documents import HubSource
from sie_schemas.errors import SIEError
from sie_server.weights.hub_cache import HubCache
source = HubSource(type="hub", id=sys.argv[1], revision="1" * 40)
try:
    # A bound that any cache is above: what is in use stays.
    print(HubCache(bytes_max=1, pickles_allowed=sys.argv[2] == "taken").fetch(source)[0])
except SIEError as error:
    sys.exit(error.message)
"""


def _tensors() -> dict[str, torch.Tensor]:
    table = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    return {"embeddings.weight": table, "decoder.weight": table, "half": table.half().T}


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubMirror]:
    folder = tmp_path_factory.mktemp("hub") / "pickled"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    torch.save(_tensors(), folder / "pytorch_model.bin")
    torch.save(torch.nn.Linear(4, 1).state_dict(), folder / "sparse_linear.pt")
    torch.save({"spare": torch.zeros(1)}, folder / "training_args.bin")
    with hub_mirror() as found:
        found.repositories["org/pickled", COMMIT] = folder
        yield found


def _fetch(mirror: HubMirror, cache: Path, how: str = "taken", **more: str) -> str:
    """The folder, or the reason why there is none."""
    ran = subprocess.run(
        [sys.executable, "-c", FETCH, "org/pickled", how],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {"HF_ENDPOINT": mirror.url, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_XET": "1"}
        | {"HF_HUB_OFFLINE": "0"}
        | more,
    )
    return (ran.stdout or ran.stderr).strip().rsplit("\n", 1)[-1]


def _bins(mirror: HubMirror) -> list[str]:
    return [line for line in mirror.asked if line.startswith("GET") and ".bin" in line]


def test_weights_that_a_hub_has_as_a_pickle_alone_become_safetensors_once(mirror, tmp_path):
    folder = Path(_fetch(mirror, tmp_path))
    made = load_file(folder / "model.safetensors")
    assert made.keys() == _tensors().keys()
    assert all(torch.equal(made[name], tensor) for name, tensor in _tensors().items())
    assert load_file(folder / "sparse_linear.safetensors").keys() == {"weight", "bias"}
    names = {path.name for path in folder.iterdir()}
    assert not names & {"pytorch_model.bin", "sparse_linear.pt", "training_args.bin"}
    assert not [line for line in mirror.asked if "training_args" in line]

    record = json.loads((folder / ".sie-pickles.json").read_bytes())
    original = record["pytorch_model.bin"]["original"]
    assert original == _stated(mirror)
    asked = len(_bins(mirror))
    assert _fetch(mirror, tmp_path) == str(folder)
    assert len(_bins(mirror)) == asked, "what was converted is not fetched again"
    # As of a cache that is there to be read alone: no lock can be made.
    locks = tmp_path / ".locks" / "sie"
    shutil.rmtree(locks)
    locks.write_bytes(b"")
    assert _fetch(mirror, tmp_path, HF_HUB_OFFLINE="1") == str(folder)
    locks.unlink()

    (folder / "model.safetensors").write_bytes(b"damaged")
    assert "is damaged, and the original is gone" in _fetch(mirror, tmp_path, HF_HUB_OFFLINE="1")
    (folder / ".model.safetensors.1.new").write_bytes(b"half of what another made, and was killed")
    assert _fetch(mirror, tmp_path) == str(folder)
    assert len(_bins(mirror)) > asked, "a damaged one is made anew"
    assert not [*folder.glob(".*.new")]
    assert torch.equal(load_file(folder / "model.safetensors")["half"], _tensors()["half"])


def _stated(mirror: HubMirror) -> str:
    """The hash of the pickle, as its hub states it."""
    path = mirror.repositories["org/pickled", COMMIT] / "pytorch_model.bin"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_operator_can_forbid_pickles(mirror, tmp_path):
    asked = len(_bins(mirror))
    refused = _fetch(mirror, tmp_path, "forbidden")
    assert "SIE_SERVER_PICKLED_WEIGHTS" in refused
    assert "pytorch_model.bin" in refused
    assert len(_bins(mirror)) == asked


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["config.json", "pytorch_model.bin", "model.safetensors"], []),
        (["pytorch_model.bin", "model-00001-of-00002.safetensors"], []),
        (["pytorch_model-00001-of-00002.bin", "training_args.bin", "optimizer.pt"], [0]),
        (["2_Dense/pytorch_model.bin", "2_Dense/config.json", "modules.json"], [0]),
        (
            # An old Asym, and a Router of today.
            [
                "2_Asym/query_0_Dense/pytorch_model.bin",
                "2_Asym/query_0_Dense/config.json",
                "2_Asym/config.json",
                "3_Router/d_0/pytorch_model.bin",
                "3_Router/d_0/config.json",
                "3_Router/router_config.json",
                "spare/d_0/pytorch_model.bin",
                "spare/d_0/config.json",
                "modules.json",
            ],
            [0, 3],
        ),
        (["onnx/pytorch_model.bin", "model.safetensors"], []),
        (["colbert_linear.pt", "model.safetensors"], [0]),
        (["colbert_linear.pt", "colbert_linear.safetensors"], []),
        (["adapter_model.bin"], [0]),
        (["adapter_model.bin", "adapter_model.safetensors"], []),
    ],
)
def test_a_pickle_is_wanted_where_nothing_else_holds_its_weights(names, wanted):
    assert pickles_wanted(names) == tuple(names[place] for place in wanted)


def test_weights_in_several_files_get_an_index_and_a_file_that_another_revision_has_stays(tmp_path):
    """A hub's cache keeps one file for all revisions that have it: each has to read it."""
    folder, other, blobs = (tmp_path / name for name in ("snapshots/a", "snapshots/b", "blobs"))
    for made in (folder, other, blobs):
        made.mkdir(parents=True)
    names = [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]
    for name in names:
        torch.save({name[14:19]: torch.zeros(2)}, blobs / name)
        (folder / name).symlink_to(blobs / name)
    (other / names[0]).symlink_to(blobs / names[0])
    index = {"metadata": {}, "weight_map": {name[14:19]: name for name in names}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    convert_pickles(folder, names, "a model")
    read = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    assert read["00001"] == "model-00001-of-00002.safetensors"
    assert load_file(folder / read["00002"]).keys() == {"00002"}
    assert still_whole(folder, names)
    assert not still_whole(folder, [*names, "pytorch_model.bin"]), "of a third nothing is known"
    save_file({"00002": torch.ones(2)}, folder / read["00002"])
    assert not still_whole(folder, names)
    assert [path.name for path in blobs.iterdir()] == names[:1]
    assert (other / names[0]).is_file()


class _Runs:
    """A pickle that makes a file where it is read."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (os.system, (f"touch {self.trace}",))


def _hostile(trace: Path) -> dict[str, Any]:
    huge = torch.zeros(1).expand(1 << 40)
    bomb: list[Any] = ["x"]
    for _ in range(40):
        bomb = [bomb] * 8
    return {
        "code": {"weight": _Runs(trace)},
        "no-tensors": {"weight": torch.zeros(1), "args": {"lr": 1.0}},
        "a-list": [torch.zeros(1)],
        "a-terabyte-of-one-number": {"weight": huge},
        "lists-of-lists": {"weight": bomb},
    }


@pytest.mark.parametrize(
    ("kind", "bare"), [*((kind, False) for kind in _hostile(Path("unused"))), ("code", True)]
)
def test_a_hostile_pickle_runs_nothing_and_is_bounded(tmp_path, kind, bare):
    trace = tmp_path / "trace"
    path = tmp_path / "pytorch_model.bin"
    if bare:
        path.write_bytes(pickle.dumps(_hostile(trace)[kind]))
    else:
        torch.save(_hostile(trace)[kind], path)
    with pytest.raises(OurFault, match="pickle that is not taken") as refused:
        convert_pickles(tmp_path, [path.name], "org/model")
    assert "safetensors" in refused.value.message
    assert not trace.exists()
    assert {each.name for each in tmp_path.iterdir()} == {path.name}, "nothing is left behind"
