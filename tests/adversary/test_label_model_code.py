"""A model of any labels whose config names code: the authors' libraries would run it, we do not.

The code lies in a folder of this machine, which the libraries take for a repository: it needs no
network to be run.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.apart import forgotten
from tests.support.encoder_models import DEVICE
from tests.support.gliner_models import write_gliclass, write_gliner

from sie_schemas.documents import ExtractTask, ProfileDocument, Tasks
from sie_schemas.errors import OurFault
from sie_server.adapters.adapter_shelf import AdapterShelf
from sie_server.backends.backend import ModelSpec
from sie_server.backends.names import load_backend
from sie_server.weights.sources import Weights

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.fixture(autouse=True, scope="module")
def _here_alone() -> Iterator[None]:
    with forgotten("gliner"), forgotten("gliclass"):
        yield


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The words of a config that name code; the test fails where the code has run."""
    marker, code = tmp_path / "it ran", tmp_path / "code"
    code.mkdir()
    (code / "trap.py").write_text(f"open({str(marker)!r}, 'w')\nclass Model: pass\n")
    (code / "config.json").write_text('{"model_type": "bert"}')
    yield {"model_type": "bert", "auto_map": {"AutoModel": f"{code}--trap.Model"}}
    assert not marker.exists()


def _load(backend: str, folder: Path, beside: dict[str, Weights] | None = None) -> None:
    weights = Weights(folder, None, beside=beside or {})
    tasks = Tasks(extract=ExtractTask())
    spec = ModelSpec("test/model", "r1", weights, tasks, ProfileDocument(backend=backend))
    load_backend(spec, replace(DEVICE, adapters=AdapterShelf(), verdicts={}))


def _changed(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize("where", ["encoder_config", "labels_encoder_config"])
def test_the_config_of_an_encoder_names_code(where, trap, tmp_path):
    write_gliner(tmp_path, "bi-span")
    config = tmp_path / "model" / "gliner_config.json"
    _changed(config, **{where: {**json.loads(config.read_text())[where], **trap}})
    with pytest.raises(OurFault, match=f"{where}.auto_map names code"):
        _load("gliner", tmp_path / "model")


def test_the_config_of_another_repository_names_code(trap, tmp_path):
    write_gliner(tmp_path, "uni-span")
    _changed(tmp_path / "base" / "config.json", **trap)
    config = tmp_path / "model" / "gliner_config.json"
    _changed(config, encoder_config=None, model_name="some/encoder")
    with pytest.raises(OurFault, match=r"some/encoder: config.json names code"):
        _load("gliner", tmp_path / "model", {"some/encoder": Weights(tmp_path / "base", None)})


def test_a_classifier_names_a_repository_with_code(trap, tmp_path):
    folder = tmp_path / "classes"
    write_gliclass(folder)
    code = trap["auto_map"]["AutoModel"].partition("--")[0]
    named = {"AutoConfig": "trap.Model"}
    _changed(Path(code) / "config.json", model_type="nobody-has-this", auto_map=named)
    own = json.loads((folder / "config.json").read_text())["encoder_config"]
    _changed(
        folder / "config.json",
        encoder_config={**own, "model_type": "nobody-has-this"},
        encoder_model=code,
        encoder_model_name=code,
    )
    with pytest.raises(OurFault, match="nobody-has-this, which transformers has not"):
        _load("gliclass", folder)
    _changed(folder / "config.json", encoder_config={**own, **trap})
    with pytest.raises(OurFault, match=r"encoder_config.auto_map names code"):
        _load("gliclass", folder)
