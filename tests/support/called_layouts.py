"""Model folders whose files say how a text is handed to the tokenizer: lengths, sides, templates.

A drawn folder (`random_layouts`), or a decoder that judges pairs, is changed in what version 6 of
the reference reads of it: parts of the call, a chat template, a mask of tokens.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import sentence_transformers as st
import transformers as tf
from sentence_transformers.base.modules import Transformer
from sentence_transformers.cross_encoder.modules import LogitScore
from tests.support.random_layouts import Choices, Drawn, draw, plain_transformer

__all__ = ["draw_called"]

_CALLS: Final[tuple[dict[str, Any], ...]] = (
    {"common": {"max_length": 9}, "text": {"max_length": 20}},
    {"text": {"max_length": 12}, "common": {"max_length": 12}},
    {"common": {"max_length": 9}},
    {"text": {"padding_side": "right"}, "common": {"padding_side": "left"}},
)
_TEMPLATES: Final = (
    "{% for each in messages %}<{{ each['role'] }}>{{ each['content'] }}{% endfor %}!",
    "{{ messages | selectattr('role', 'eq', 'query') | map(attribute='content') | first }} by "
    "{{ messages | selectattr('role', 'eq', 'document') | map(attribute='content') | first }}?",
)
_TOKENIZER: Final[Mapping[str, tuple[Any, ...]]] = {
    "model_max_length": (14, 24), "truncation_side": ("left", "right", None),
}  # fmt: skip
_FILLED: Final = {"strategy": "fixed", "length": 20, "attend": False}


def draw_called(seed: int, folder: Path) -> Drawn:
    """The folder of a seed, under `folder`."""
    choices = Choices(seed)
    if choices.maybe("a decoder of pairs", 0.4):
        drawn = Drawn(_decoder(choices, folder), "score", choices.made)
    else:
        drawn = draw(choices.randrange(10**6), folder)
        choices.made.update(drawn.choices)
    for name, change in _CHANGES.items():
        if choices.maybe(name, 0.4):
            change(choices, drawn.folder)
    return Drawn(drawn.folder, drawn.kind, choices.made)


def _decoder(choices: Choices, folder: Path) -> Path:
    names = ("qwen2", "qwen3", "llama", "mistral", "gemma2")
    plain = plain_transformer(choices, folder, names, lambda *_: tf.AutoModelForCausalLM)
    if choices.maybe("templated", 0.7):
        (plain / "chat_template.jinja").write_text(choices.one("template", _TEMPLATES))
    one = Transformer(str(plain), transformer_task="text-generation")
    score = LogitScore(choices.one("yes", (5, 17)), choices.one("no", (None, 6)))
    target = folder / "model"
    model = st.CrossEncoder(modules=[one, score], device="cpu")
    model.save(str(target), create_model_card=False)
    return target


def _call(choices: Choices, folder: Path) -> None:
    told = choices.one("call", _CALLS)
    for file in folder.rglob("sentence_bert_config.json"):
        _say(file, processing_kwargs=told)


def _sides(choices: Choices, folder: Path) -> None:
    told = choices.words(_TOKENIZER)
    for file in folder.rglob("tokenizer_config.json"):
        _say(file, **told)


def _template(choices: Choices, folder: Path) -> None:
    """Of a bare model, or of one that was saved with it."""
    template = choices.one("template", _TEMPLATES)
    file = folder / "sentence_bert_config.json"
    if (folder / "config.json").is_file():
        (folder / "chat_template.jinja").write_text(template)
    if file.is_file() and choices.maybe("messages", 0.5):
        told = json.loads(file.read_text()).get("modality_config") or {}
        if "text" in told:
            _say(file, modality_config={**told, "message": {**told["text"], "format": "flat"}})


def _masks(choices: Choices, folder: Path) -> None:
    listed = folder / "modules.json"
    modules = json.loads(listed.read_text()) if listed.is_file() else []
    masks = [each for each in modules if each["type"].endswith("MultiVectorMask")]
    if not masks:
        return
    how = choices.one("masks", ("twice", "of PyLate", "filled up"))
    if how == "twice":
        (folder / "again").mkdir()
        (folder / "again/config.json").write_text(json.dumps({"skiplist_words": ["the", "cat"]}))
        place = modules.index(masks[0])
        again = {**masks[0], "name": "again", "path": "again"}
        listed.write_text(json.dumps([*modules[:place], again, *modules[place:]]))
    elif how == "of PyLate":
        _say(folder / "config_sentence_transformers.json", model_type="ColBERT")
    else:
        _say(folder / "sentence_bert_config.json", query_expansion=_FILLED, query_length=None)


def _say(file: Path, **told: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **told}))


_CHANGES: Final[Mapping[str, Callable[[Choices, Path], None]]] = {
    "parts of the call": _call,
    "sides and lengths": _sides,
    "a chat template": _template,
    "masks of tokens": _masks,
}
