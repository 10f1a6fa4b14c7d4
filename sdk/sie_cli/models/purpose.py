"""The purpose of a repository or folder that could be two things, by what its files say of it.

*pure* over `Files`. A decoder without `modules.json` makes vectors, or judges pairs. A bare model
of masked words gives dense vectors, or sparse ones. A classifier of several labels names classes,
or scores pairs. Promises that what no file says is asked, and never guessed.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import yaml

from sie_core.pair_templates import PAIR_TEMPLATES
from sie_layouts.architectures.published import published_form
from sie_layouts.facts import Fact, Files, Refusal
from sie_layouts.reader import Reader, class_names
from sie_layouts.routes import MODULES_FILE
from sie_layouts.score import without_words

__all__ = ["Purpose", "Task", "purpose_of"]

Task: TypeAlias = Literal["encode", "extract", "score"]

_CONFIG: Final = "config.json"
_CARD: Final = "README.md"
_CARD_CHARACTERS: Final = 64 * 1024
"""The facts of a model card stand at its head."""
_FRONT: Final = re.compile(r"\A---\n(.*?)^---$", re.DOTALL | re.MULTILINE)
_OF_TAGS: Final[Mapping[str, Task]] = {
    "cross-encoder": "score",
    "feature-extraction": "encode",
    "reranker": "score",
    "reranking": "score",
    "sentence-similarity": "encode",
    "text-classification": "extract",
    "text-ranking": "score",
    "zero-shot-classification": "extract",
}
_OF_NAMES: Final[Mapping[str, Task]] = {"embed": "encode", "rank": "score"}
_SPARSE: Final = ("sparse", "splade")
_TEMPLATES: Final = (
    ("gemma", "bge", "bge-gemma"),
    ("qwen2", "mxbai", "mxbai-v2"),
    ("qwen3", "zerank", "zerank"),
    ("qwen3", "rerank", "qwen3"),
)
"""Model types, words of names, and the template of pairs that their authors publish for both."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """A decision with the file that it rests on; `task` empty where nothing had to be decided."""

    task: Task | None = None
    sparse: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    facts: tuple[Fact, ...] = ()
    refusal: Refusal | None = None


def purpose_of(files: Files, name: str, asked: Task | None = None, template: str = "") -> Purpose:
    """Decide. `name` is the repository's or folder's; `asked` the task that a person named."""
    reader = Reader(files)
    config = reader.table(_CONFIG)
    classes = class_names(config)
    # Such a folder says itself what it is for.
    if reader.has(MODULES_FILE):
        return Purpose()
    if published_form(config) == "gritlm":
        return Purpose("encode", facts=(Fact("task", "encode", f"{_CONFIG}: auto_map"),))
    if any(each.endswith("ForCausalLM") for each in classes):
        return _of_decoder(reader, config, name, asked, template)
    if any(each.endswith("ForSequenceClassification") for each in classes):
        return _of_classifier(reader, config, name, asked)
    if any(each.endswith("ForMaskedLM") for each in classes):
        return _of_words(reader, name)
    return Purpose()


def _of_decoder(
    reader: Reader, config: Mapping[str, Any], name: str, asked: Task | None, template: str
) -> Purpose:
    found = _said(reader, name, asked, ("encode", "score"))
    if isinstance(found, Refusal):
        return Purpose(refusal=found)
    task, fact = found
    if task == "encode":
        return Purpose("encode", facts=(fact,))
    kind, word = str(config.get("model_type")), name.lower()
    known = [
        each
        for model, part, each in _TEMPLATES
        if kind.startswith(model) and part in word.rsplit("/", 1)[-1]
    ]
    if template or known:
        chosen = template or known[0]
        source = "--template" if template else f"the name {name}"
        told = Fact("pair template", chosen, source)
        return Purpose("score", options={"pair_template": chosen}, facts=(fact, told))
    if _has_roles(reader):
        return Purpose("score", facts=(fact,), refusal=without_words(reader))
    refusal = Refusal(
        f"{_CONFIG}: architectures",
        "is of a decoder that judges pairs, and no file says the words around a pair",
        f"say --template {'|'.join(sorted(PAIR_TEMPLATES))}, or a text with {{query}} and "
        "{document}",
    )
    return Purpose(refusal=refusal, facts=(fact,))


def _of_classifier(
    reader: Reader, config: Mapping[str, Any], name: str, asked: Task | None
) -> Purpose:
    """One output scores pairs; of several nobody says more than that they are labels."""
    labels = config.get("id2label")
    if (isinstance(labels, dict) and len(labels) == 1) or "sentence_transformers" in config:
        return Purpose()
    found = _said(reader, name, asked, ("extract", "score"))
    if isinstance(found, Refusal) or found[0] == "extract":
        return Purpose()  # labels are what it has
    return Purpose("score", facts=(found[1],))


def _of_words(reader: Reader, name: str) -> Purpose:
    """Sparse where a file or the name says so; else dense, as the reference has it."""
    tags = [tag.lower() for tag in _words(_card(reader).get("tags"))]
    for source, words in ((f"{_CARD}: tags", tags), (f"the name {name}", [name.lower()])):
        if any(sparse in word for word in words for sparse in _SPARSE):
            return Purpose("encode", sparse=True, facts=(Fact("vectors", "sparse", source),))
    return Purpose()


def _said(
    reader: Reader, name: str, asked: Task | None, able: tuple[Task, ...]
) -> tuple[Task, Fact] | Refusal:
    """The task that a person, the card or the name says, in this order."""
    if asked is not None:
        return asked, Fact("task", asked, "--task")
    card = _card(reader)
    told = (
        (f"{_CARD}: pipeline_tag", {_OF_TAGS.get(tag) for tag in _words(card.get("pipeline_tag"))}),
        (f"{_CARD}: tags", {_OF_TAGS.get(tag) for tag in _words(card.get("tags"))}),
        # Last: a name may mislead. The wrong task answers with numbers that look right, so the fact
        # that it was the name is shown.
        (f"the name {name}", set(_of_name(name))),
    )
    for source, tasks in told:
        possible = [task for task in able if task in tasks]
        if len(possible) == 1:
            return possible[0], Fact("task", possible[0], source)
    return Refusal(
        f"{_CONFIG}: architectures",
        "is of a decoder, which makes vectors or judges pairs, and no file says which",
        f"say --task {' or --task '.join(able)}",
    )


def _of_name(name: str) -> Iterator[Task]:
    last = name.rsplit("/", 1)[-1].lower()
    for word, task in _OF_NAMES.items():
        if word in last:
            yield task


def _card(reader: Reader) -> dict[str, Any]:
    """The front matter of the README; empty where it has none that reads."""
    text = (reader.content(_CARD) or b"")[:_CARD_CHARACTERS].decode(errors="replace")
    # The pattern wants bare newlines, and cards are written on Windows as well.
    front = _FRONT.search(text.replace("\r\n", "\n"))
    try:
        value = yaml.safe_load(front[1]) if front else {}
    except (yaml.YAMLError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _words(value: object) -> list[str]:
    """A text, or the texts of a list.

    Whatever else it holds is left out: what a stranger nests in itself has no bounded text.
    """
    given = value if isinstance(value, list) else [value]
    return [each for each in given if isinstance(each, str)]


def _has_roles(reader: Reader) -> bool:
    """True if the chat template has the roles of a pair."""
    text = reader.content("chat_template.jinja")
    said = (
        text.decode(errors="replace")
        if text is not None
        else str(reader.table("tokenizer_config.json").get("chat_template") or "")
    )
    return all(f'"{role}"' in said or f"'{role}'" in said for role in ("query", "document"))
