"""The tensors of both towers are declared, and what a file lacks is refused in a worker's words."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentence_transformers as st
import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from sentence_transformers.base.modules import Transformer
from tests.support.picture_models import load_towers, save_clip, save_siglip

from sie_cli.models.proposal import propose
from sie_layouts.architectures.tensors.declared import lacking, wanted
from sie_layouts.architectures.tensors.towers import TOWERS
from sie_layouts.facts import Refusal
from sie_layouts.folder import FolderFiles
from sie_schemas.errors import OurFault

_MAKERS: dict[str, Callable[[Path], Path]] = {"clip": save_clip, "siglip": save_siglip}
_TOWER = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
}  # fmt: skip
_CONFIGS: dict[str, dict[str, Any]] = {
    "both say all": {
        "text_config": {**_TOWER, "vocab_size": 90, "max_position_embeddings": 18},
        "vision_config": {**_TOWER, "hidden_size": 40, "image_size": 50, "patch_size": 8},
        "projection_dim": 24,
    },
    "a text says how wide it becomes": {
        "text_config": {**_TOWER, "projection_size": 40}, "vision_config": {"hidden_size": 48},
    },
    "neither says a thing": {},
}  # fmt: skip


def _asked(config: Any) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        model = tf.AutoModel.from_config(config)
    return {name: tuple(each.shape) for name, each in model.state_dict().items()}


@pytest.mark.parametrize("told", _CONFIGS)
@pytest.mark.parametrize("kind", sorted(TOWERS))
def test_towers_need_what_transformers_asks_for_and_nothing_else(kind: str, told: str) -> None:
    given = _CONFIGS[told]
    config = tf.AutoConfig.for_model(kind, **given)
    expected = _asked(config)
    for written in ({**given, "model_type": kind}, config.to_dict()):
        assert {each.names[0]: each.shape for each in wanted(written, "none")} == expected


def test_towers_without_a_head_of_images_and_of_the_first_configs_are_transformers_own() -> None:
    headless = tf.SiglipConfig(text_config=_TOWER, vision_config={"vision_use_head": False})
    found = {each.names[0]: each.shape for each in wanted(headless.to_dict(), "none")}
    assert found == _asked(headless)
    both: dict[str, dict[str, Any]] = {
        "text_config_dict": {"hidden_size": 16, "num_attention_heads": 2},
        "vision_config_dict": {"image_size": 64},
        "text_config": dict(_TOWER),
        "vision_config": dict(_TOWER),
    }
    found = {each.names[0]: each.shape for each in wanted({**both, "model_type": "clip"}, "none")}
    # It writes into what it is given.
    assert found == _asked(tf.AutoConfig.for_model("clip", **both))


def _changed(folder: Path, how: str, name: str) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-8])
        return
    tensor = tensors.pop(name)
    if how == "reshaped":
        tensors[name] = tensor[..., :-1].contiguous()
    elif how == "misnamed":
        tensors[name.replace("_model.", "_tower.")] = tensor
    elif how == "whole numbers":
        tensors[name] = tensor.to(torch.int8)
    save_file(tensors, path, {"format": "pt"})


def _refusals(folder: Path) -> tuple[Refusal, ...]:
    return propose(FolderFiles(folder), takes_pickles=False).refusals


_SAID = {
    "dropped": r"lacks 1 tensors of the model that config\.json describes: {name}",
    "misnamed": r"lacks 1 tensors of the model that config\.json describes: {name}",
    "reshaped": r"holds {name} as \[.*\], and by config\.json it is \[",
    "whole numbers": r"holds {name} as .* of I8, and floating-point numbers are wanted",
    "cut": "it is cut short, or damaged",
}
_OF_BOTH = (
    "text_model.encoder.layers.1.self_attn.q_proj.bias",
    "vision_model.embeddings.patch_embedding.weight",
)
_CASES = [
    *(("clip", how, _OF_BOTH[0]) for how in _SAID),
    *(("siglip", how, _OF_BOTH[1]) for how in _SAID),
    ("clip", "dropped", "vision_model.embeddings.class_embedding"),
    ("clip", "reshaped", "visual_projection.weight"),
    ("siglip", "dropped", "vision_model.head.attention.in_proj_weight"),
    ("siglip", "reshaped", "text_model.head.weight"),
]


@pytest.mark.parametrize(("kind", "how", "name"), _CASES)
def test_what_a_tower_lacks_is_refused_when_added_and_when_loaded(
    kind: str, how: str, name: str, tmp_path: Path
) -> None:
    folder = _MAKERS[kind](tmp_path)
    assert _refusals(folder) == ()
    _changed(folder, how, name)
    (refusal,) = _refusals(folder)
    with pytest.raises(OurFault, match=_SAID[how].format(name=name)) as refused:
        load_towers(folder)
    assert str(refusal) in str(refused.value)


def test_towers_below_modules_are_judged_in_their_folder(tmp_path: Path) -> None:
    plain = save_clip(tmp_path / "plain")
    model = st.SentenceTransformer(modules=[Transformer(str(plain))], device="cpu")
    folder = tmp_path / "saved"
    model.save(str(folder))
    modules = json.loads((folder / "modules.json").read_text())
    inside = folder / "0_CLIPModel"
    inside.mkdir()
    for path in [each for each in folder.iterdir() if each.is_file()]:
        if path.name not in ("modules.json", "config_sentence_transformers.json"):
            path.rename(inside / path.name)
    modules[0] |= {"path": inside.name, "type": "sentence_transformers.models.CLIPModel"}
    (folder / "modules.json").write_text(json.dumps(modules))
    assert _refusals(folder) == ()
    load_towers(folder)
    _changed(inside, "dropped", _OF_BOTH[0])
    (refusal,) = _refusals(folder)
    assert str(refusal).startswith(f"{inside.name}/model.safetensors lacks 1 tensors")
    with pytest.raises(OurFault, match="lacks 1 tensors"):
        load_towers(folder)


@pytest.mark.parametrize("kind", sorted(TOWERS))
def test_what_no_vector_is_made_with_may_be_missing_or_more(kind: str, tmp_path: Path) -> None:
    """Old files hold the table of places; others leave out the scale between texts and images."""
    folder = _MAKERS[kind](tmp_path)
    path = folder / "model.safetensors"
    whole = load_file(path)
    places = {
        f"{part}_model.embeddings.position_ids": torch.arange(9)[None]
        for part in ("text", "vision")
    }
    less = {name: each for name, each in whole.items() if not name.startswith("logit_")}
    for tensors in ({**whole, **places}, less, {f"{kind}.{each}": less[each] for each in less}):
        save_file(tensors, path, {"format": "pt"})
        assert _refusals(folder) == ()
        load_towers(folder)
    save_file({**whole, "logit_scale": torch.ones(2)}, path, {"format": "pt"})
    (refusal,) = _refusals(folder)
    with pytest.raises(OurFault, match="holds logit_scale as") as refused:
        load_towers(folder)
    assert str(refusal) in str(refused.value)


@pytest.mark.parametrize("kind", sorted(TOWERS))
def test_towers_in_shards_are_whole(kind: str, tmp_path: Path) -> None:
    folder = _MAKERS[kind](tmp_path)
    path = folder / "model.safetensors"
    whole = load_file(path)
    names = sorted(whole)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, own in parts.items():
        save_file({name: whole[name] for name in own}, folder / file, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: f for f, own in parts.items() for name in own}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    path.unlink()
    assert _refusals(folder) == ()
    load_towers(folder)
    (folder / "b.safetensors").write_bytes((folder / "b.safetensors").read_bytes()[:-8])
    assert "cut short" in str(lacking(FolderFiles(folder), "", "none")[0])


def test_a_siglip_without_a_vector_of_images_is_refused(tmp_path: Path) -> None:
    folder = save_siglip(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["vision_use_head"] = False
    (folder / "config.json").write_text(json.dumps(config))
    assert "images have no vector" in str(_refusals(folder)[0])
    with pytest.raises(OurFault, match="images have no vector"):
        load_towers(folder)
