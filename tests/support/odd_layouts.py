"""Model folders written as no library writes them, and as libraries read them all the same.

A drawn folder (`random_layouts`) is changed after it was saved: how its list spells folders, which
numbers and names its weights have, what its tokenizer and its settings say. Each change is one that
people make by hand, or that another library makes.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file
from tests.support.random_layouts import Choices, Drawn, draw

__all__ = ["draw_odd"]

_SHARE: Final = 0.3
_PREFIXES: Final = {
    "bert": "bert.", "distilbert": "distilbert.", "llama": "model.", "modernbert": "model.",
    "mpnet": "mpnet.", "qwen2": "model.", "qwen3": "model.", "roberta": "roberta.",
    "xlm-roberta": "roberta.",
}  # fmt: skip
"""The name that a model has inside one with a head, which its tensors may begin with."""


def draw_odd(seed: int, folder: Path) -> Drawn:
    """The folder of a seed, changed by some of these."""
    drawn = draw(seed, folder)
    choices = Choices(seed)
    choices.made.update(drawn.choices)
    for name, change in _CHANGES.items():
        if choices.maybe(name, _SHARE):
            change(choices, drawn.folder)
    return Drawn(drawn.folder, drawn.kind, choices.made)


def _spelled(choices: Choices, folder: Path) -> None:
    """Another spelling of a module's folder, or another name."""
    modules = _read(folder / "modules.json", [])
    if not modules:
        return
    entry = choices.choice(modules)
    how = choices.one("spelling", ("slash", "dot", "named"))
    if how == "named" and entry["path"]:
        (folder / "a room").mkdir(exist_ok=True)
        shutil.move(folder / entry["path"], folder / "a room/of its own")
        entry["path"] = "a room/of its own"
    elif entry["path"]:
        entry["path"] = f"{entry['path']}/" if how == "slash" else f"./{entry['path']}"
    (folder / "modules.json").write_text(json.dumps(modules))


def _weights(choices: Choices, folder: Path) -> None:
    """Numbers of several types, names behind a prefix, tensors that nobody reads."""
    for file in sorted(folder.rglob("model.safetensors")):
        config = file.with_name("config.json")
        kind = str(_read(config, {}).get("model_type"))
        if kind == "None":
            continue
        tensors = load_file(file)
        how = choices.one("tensors", ("mixed", "double", "prefixed", "more"))
        if how in ("mixed", "double"):
            types = (torch.float64,) if how == "double" else (torch.float16, torch.float32)
            tensors = {
                name: one.to(choices.choice(types)) if one.is_floating_point() else one
                for name, one in tensors.items()
            }
        elif how == "more":
            tensors["cls.seq_relationship.weight"] = torch.zeros(2, 2)
        elif not any("." in name and name.startswith(_PREFIXES.get(kind, "-")) for name in tensors):
            tensors = {_PREFIXES.get(kind, "") + name: one for name, one in tensors.items()}
        save_file(tensors, file, {"format": "pt"})


def _tokenizer(choices: Choices, folder: Path) -> None:
    """Words of its config that are no words of its file."""
    told = choices.words(
        {
            "split_special_tokens": (True, False),
            "model_input_names": (["input_ids"], ["input_ids", "attention_mask"]),
            "add_bos_token": (True, False),
            "clean_up_tokenization_spaces": (True, False),
            "extra_special_tokens": (["river"], {"image_token": "river"}),
        },
        0.3,
    )
    for file in folder.rglob("tokenizer_config.json"):
        file.write_text(json.dumps({**_read(file, {}), **told}))


def _settings(choices: Choices, folder: Path) -> None:
    """Settings of the transformer's call."""
    told = choices.one(
        "call",
        (
            {"text": {"padding": "max_length", "max_length": 12}},
            {"common": {"max_length": 12}},
            {"text": {"padding": True, "truncation": True}},
            {"text": {"add_special_tokens": False}},
        ),
    )
    for file in folder.rglob("sentence_bert_config.json"):
        file.write_text(json.dumps({**_read(file, {}), "processing_kwargs": told}))


def _prompts(choices: Choices, folder: Path) -> None:
    """Prompts that are blank, hold marks, or are longer than a text may be."""
    file = folder / "config_sentence_transformers.json"
    told = choices.one(
        "odd prompts",
        (
            {"query": " ", "document": ""},
            {"query": "the [SEP] </s> ", "document": "[CLS]<s>"},
            {"query": "one two three four five six seven eight nine ten " * 3},
            {},
        ),
    )
    if file.is_file():
        settings = _read(file, {})
        settings.pop("default_prompt_name", None)
        file.write_text(json.dumps({**settings, "prompts": told}))


def _config(choices: Choices, folder: Path) -> None:
    """Types of numbers as older and newer releases name them; no classes."""
    told = choices.words(
        {"torch_dtype": ("float16", "float64"), "dtype": ("bfloat16",), "architectures": (None,)},
    )
    for file in folder.rglob("config.json"):
        table = _read(file, {})
        if "model_type" in table and "architectures" in table:
            file.write_text(json.dumps({**table, **told}))


def _read(file: Path, absent: Any) -> Any:
    return json.loads(file.read_text()) if file.is_file() else absent


_CHANGES: Final[Mapping[str, Callable[[Choices, Path], None]]] = {
    "folders spelt otherwise": _spelled,
    "other tensors": _weights,
    "other words of the tokenizer": _tokenizer,
    "settings of the call": _settings,
    "odd prompts": _prompts,
    "odd types": _config,
}
