"""Files as other tools make them: kustomize's output, and ConfigMaps that are mounted."""

import os
import shutil
from pathlib import Path

import pytest

from sie_cli.config.documents import read_documents
from sie_schemas.errors import FixRequest, Later

KUSTOMIZED = Path(__file__).parent / "data/kustomized.yaml"
"""The output of `kubectl kustomize` (kustomize 5.5.0) for `data/kustomize/overlay`."""


def mounted(folder: Path, **files: str) -> None:
    """A version of a ConfigMap, mounted as kubelet does it: a new folder, and a link that moves."""
    version = folder / f"..2026_11_30_{len(list(folder.iterdir()))}"
    version.mkdir()
    for name, text in files.items():
        (version / f"{name}.yaml").write_text(text)
    fresh = folder / "..data_tmp"
    fresh.symlink_to(version.name)
    fresh.rename(folder / "..data")
    for name in files:
        link = folder / f"{name}.yaml"
        if not link.is_symlink():
            link.symlink_to(f"..data/{name}.yaml")


def test_a_mounted_config_map_is_read_once_and_by_the_names_that_it_has(tmp_path):
    mounted(tmp_path, a="{kind: pool, name: a}", b="{kind: pool, name: b}")
    mounted(tmp_path, a="{kind: pool, name: a, description: new}", b="{kind: pool, name: b}")
    found = read_documents(str(tmp_path))
    assert [each.place for each in found.documents] == [
        str(tmp_path / "a.yaml"),
        str(tmp_path / "b.yaml"),
    ]
    assert found.documents[0].document["description"] == "new"
    assert found.left_out == ()


def test_a_mount_that_is_replaced_while_it_is_read_is_not_half_of_each(tmp_path, monkeypatch):
    mounted(tmp_path, a="{kind: pool, name: a}", b="{kind: pool, name: b}")
    opened = os.open

    def replaced(path, *more, **named):
        if str(path).endswith("b.yaml"):
            mounted(tmp_path, a="{kind: pool, name: c}", b="{kind: pool, name: d}")
        return opened(path, *more, **named)

    monkeypatch.setattr("sie_cli.texts.local_texts.os.open", replaced)
    with pytest.raises(Later, match="was replaced while it was read: try again"):
        read_documents(str(tmp_path))


def test_what_kustomize_writes_is_what_it_means(tmp_path):
    shutil.copy(KUSTOMIZED, tmp_path / "all.yaml")
    documents = read_documents(str(tmp_path)).documents
    found = {f"{each.kind}/{each.key}": each.document for each in documents}
    assert sorted(found) == ["adapter/org/encoder/legal", "model/org/encoder", "pool/eu"]
    assert found["model/org/encoder"]["pool"] == "eu"
    assert found["model/org/encoder"]["profiles"]["default"]["options"] == {"dtype": "float32"}
    assert found["pool/eu"] == {"name": "eu", "machine_profiles": ["cpu"], "workers_min": 2}
    assert found["adapter/org/encoder/legal"]["source"]["revision"] == "abc" + "0" * 37


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n", "kubectl apply"),
        ("apiVersion: sie/v1\nkind: Modle\nmetadata: {name: a}\n", "did you mean 'Model'"),
        ("apiVersion: sie/v1\nkind: Pool\nmetadata: {name: a, namespace: x}\n", "namespace"),
        ("apiVersion: sie/v1\nkind: Pool\nspec: {}\n", "metadata.name"),
        ("apiVersion: sie/v1\nkind: Pool\nmetadata: {name: a}\nspec: {name: b}\n", "say it once"),
        ("apiVersion: sie/v1\nkind: Pool\nmetadata: {name: a}\nspce: {}\n", "did you mean 'spec'"),
        ("apiVersion: sie/v1\nkind: Pool\nmetadata: {name: a}\nspec: {kind: b}\n", "spec.kind"),
    ],
)
def test_what_would_have_no_effect_is_refused_by_its_line(text, told, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(FixRequest, match=r"a\.yaml, line [0-9]") as caught:
        read_documents(str(file))
    assert told in caught.value.message
