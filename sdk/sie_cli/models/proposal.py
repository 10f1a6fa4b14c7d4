"""A proposal: the document of a model or an adapter, from what its own files say.

*pure* over `Files`. Promises that each thing it decides names the file that it rests on. What this
release does not do is a problem before anything is written. The document repeats nothing that the
backend reads from the files again.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from sie_catalog.bundles import BUNDLES
from sie_cli.models.purpose import Purpose, Task, purpose_of
from sie_core.counted import counted
from sie_layouts.adapter import adapter_refusals, untargeted
from sie_layouts.architectures.heads import require_head
from sie_layouts.architectures.known_types import KNOWN_TYPES
from sie_layouts.architectures.published import BY_CODE, looks_by_code, published_form
from sie_layouts.architectures.tensors.any_labels import lacking_of_gliclass, lacking_of_gliner
from sie_layouts.architectures.tensors.declared import lacking
from sie_layouts.architectures.tensors.factors import ADAPTER_FILE, WEIGHTS_FILE
from sie_layouts.architectures.tensors.families import Head
from sie_layouts.architectures.tensors.headers import read_header
from sie_layouts.architectures.tensors.pickled import pickles_wanted
from sie_layouts.architectures.unrunnable import unnamed_labels
from sie_layouts.extraction.any_labels import (
    GLINER_FILE,
    GliclassLayout,
    GlinerLayout,
    is_gliclass,
    is_gliner,
    read_gliclass,
    read_gliner,
)
from sie_layouts.facts import WORDS, Fact, Files, Reading, Refusal
from sie_layouts.images.image_text import ImageTextLayout
from sie_layouts.inputs.texts import require_marks
from sie_layouts.layout import SentenceLayout
from sie_layouts.reader import Reader, class_names, joined
from sie_layouts.reading import (
    Kind,
    Layout,
    absent_files,
    absent_of_transformer,
    kind_of,
    read,
    unlike_tensors,
    without_length,
)
from sie_layouts.routes import MODULES_FILE
from sie_layouts.steps import TransformerStep
from sie_schemas.errors import FixRequest

__all__ = ["Proposal", "propose", "weight_files"]

_CONFIG: Final = "config.json"
_WEIGHTS: Final = (".safetensors", ".bin", ".pt", ".onnx")
_READ: Final = (*WORDS, ".safetensors")
"""The endings of the files that a worker reads of a model."""
_UNNAMED: Final = {"0": "LABEL_0", "1": "LABEL_1"}
"""The labels of a config that names none, as transformers has it."""
_LABELS_SHOWN: Final = 12
"""One line of a terminal."""
_HEADS: Final = ("sparse_linear", "colbert_linear")
_JUDGED_LATER: Final = (
    "judged by names and shapes, and whole when a worker first reads them: no pickle is run here"
)
_PICKLES_SHOWN: Final = 3
"""Those of bge-m3, which has its model and two heads as pickles."""
_GTE: Final = "new"
"""The name that repositories have for transformers' `gte`."""
_ALLOWED: Final = (
    "use another model, or let an operator allow that code (SIE_SERVER_REMOTE_CODE_MODELS), and "
    "write the document with sie apply"
)
_KINDS: Final[Mapping[Task | None, Kind]] = {"encode": "vectors", "score": "scores"}
_BACKENDS: Final[Mapping[str, str]] = {
    "vectors": "transformer",
    "token_vectors": "transformer",
    "scores": "cross-encoder",
    "texts_and_images": "image-text",
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """The document that would be written, and all that was found on the way."""

    kind: Literal["model", "adapter"]
    tasks: Mapping[str, Any] = field(default_factory=dict)
    backend: str = ""
    facts: tuple[Fact, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    base: str = ""
    """Of an adapter: the model that its config names."""
    beside: tuple[str, ...] = ()
    """Other repositories, of which it wants the tokenizer or the config."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the profile, which no file of the model says to a worker."""


def propose(
    files: Files,
    *,
    takes_pickles: bool,
    name: str = "",
    commit: str = "",
    task: Task | None = None,
    template: str = "",
) -> Proposal:
    """Decide on everything. `takes_pickles` says that pickled weights will be converted.

    `name` is the repository's or folder's own, `commit` that of a repository. `task` and `template`
    are those that a person named for a model whose files say neither; raises `FixRequest` where
    they are for another model.
    """
    names = files.names()
    if ADAPTER_FILE in names:
        return _adapter(files, names, takes_pickles=takes_pickles)
    facts = (*_about(files), *_weights(names, takes_pickles))
    missing = tuple(_missing(names, takes_pickles))
    purpose = purpose_of(files, name, task, template)
    labelled = None if purpose.task == "score" else _labelled(files, names)
    for_any = _for_any_labels(files)
    if labelled is not None:
        absent = missing or absent_of_transformer(files, "", takes_pickles=takes_pickles)
        head: Head = "tokens" if labelled.backend == "token-classification" else "classes"
        absent = (*absent, *_of_labels(files, head), *lacking(files, "", head))
        found = replace(labelled, facts=(*labelled.facts, *facts), refusals=absent)
    elif for_any is not None:
        refusals = (*for_any.refusals, *missing)
        found = replace(for_any, facts=(*for_any.facts, *facts), refusals=refusals)
    elif purpose.refusal is not None:
        found = Proposal("model", facts=facts, refusals=(purpose.refusal, *missing))
    else:
        found = _of_layout(files, names, purpose, facts, missing, takes_pickles=takes_pickles)
        found = replace(
            found, refusals=(*_by_code(files, purpose, f"{name}@{commit}"), *found.refusals)
        )
    _require(task, template, found, purpose)
    return found


def _of_layout(
    files: Files,
    names: Mapping[str, int],
    purpose: Purpose,
    facts: tuple[Fact, ...],
    missing: tuple[Refusal, ...],
    *,
    takes_pickles: bool,
) -> Proposal:
    kind = _KINDS.get(purpose.task) or kind_of(files)
    reading = read(files, kind, sparse=purpose.sparse)
    refusals = (*reading.refusals, *missing)
    if reading.layout is None:
        return Proposal("model", facts=(*purpose.facts, *facts), refusals=refusals)
    if not missing:
        absent = absent_files(files, reading.layout, takes_pickles=takes_pickles)
        unlike = unlike_tensors(files, reading.layout)
        refusals = (*refusals, *absent, *_absent_heads(names, takes_pickles), *unlike)
    unlimited = without_length(files, reading.layout)
    refusals = (*refusals, *_unknown_type(files, reading.layout), *unlimited)
    tasks, why = _tasks(reading.layout, kind, names)
    backend = Fact("backend", _BACKENDS[kind], why[0].source)
    said = (*(purpose.facts or why), backend, *reading.layout.facts)
    return Proposal(
        "model", tasks, _BACKENDS[kind], (*said, *facts), refusals, options=purpose.options
    )


def _unknown_type(files: Files, layout: Layout) -> Iterator[Refusal]:
    """An architecture that neither transformers knows nor a class of ours."""
    if isinstance(layout, ImageTextLayout):
        return  # its reader knows two, wherever in the folder its config.json stands
    first = layout.document[0] if isinstance(layout, SentenceLayout) else None
    if first is not None and not isinstance(first, TransformerStep):
        return
    name = joined(first.folder if first is not None else "", _CONFIG)
    config = _table(files, name)
    kind = config.get("model_type")
    if str(kind) in KNOWN_TYPES or kind == _GTE or published_form(config) is not None:
        return
    what = "is no type that transformers knows" if kind else "is missing: no architecture is named"
    if config.get("auto_map"):
        yield Refusal(f"{name}: model_type", f"{what}; code of the model's own does", _ALLOWED)
    else:
        yield Refusal(f"{name}: model_type", what, "restore the file")


def _of_labels(files: Files, head: Head) -> list[Refusal]:
    """The tokenizer, and the head of tokens: of whole texts every head runs by its own forward."""
    reader = Reader(files)
    require_marks(reader, "")
    for refusal in unnamed_labels(_CONFIG, reader.table(_CONFIG)):
        reader.add(refusal)
    if head == "tokens":
        require_head(reader, _CONFIG, head)
    return reader.refusals


def _absent_heads(names: Mapping[str, int], takes_pickles: bool) -> Iterator[Refusal]:
    """A head that is a pickle in a folder is not read, and its output would fail."""
    for head in _HEADS:
        if not takes_pickles and f"{head}.pt" in names and f"{head}.safetensors" not in names:
            yield _pickle(f"{head}.pt")


def _by_code(files: Files, purpose: Purpose, hub_name: str) -> Iterator[Refusal]:
    kind = _KINDS.get(purpose.task) or kind_of(files)
    if kind == "vectors" and looks_by_code(_table(files, _CONFIG), hub_name):
        known = "where you know it, say is_causal in the config.json of a folder of yours"
        yield Refusal(f"{_CONFIG}: auto_map", BY_CODE, f"{_ALLOWED}; {known}")


def _require(task: Task | None, template: str, found: Proposal, purpose: Purpose) -> None:
    """Refuse words that are for another model. Raises `FixRequest`."""
    if task is not None and found.tasks and task not in found.tasks:
        does = " and ".join(found.tasks)
        raise FixRequest(f"its files are of a model that does {does}: leave --task out")
    if template and "pair_template" not in purpose.options:
        raise FixRequest("--template is for a decoder that judges pairs: leave it out")


def weight_files(names: Mapping[str, int]) -> list[str]:
    """The files that a manifest pins: all that a worker reads."""
    return sorted(
        name
        for name in names
        if name.endswith(_READ) and not any(part.startswith(".") for part in name.split("/"))
    )


def _labelled(files: Files, names: Mapping[str, int]) -> Proposal | None:
    """The proposal of a classifier of transformers' own, which names its labels; None of another.

    One that sentence-transformers saved, or that has a single output, scores pairs.
    """
    config = _table(files, _CONFIG)
    classes = class_names(config)
    named = config.get("id2label") or _UNNAMED
    labels = [str(name) for name in named.values()] if isinstance(named, dict) else []
    of_pairs = "modules.json" in names or "sentence_transformers" in config or len(labels) == 1
    if any(name.endswith("ForTokenClassification") for name in classes):
        backend, why = "token-classification", "architectures"
    elif of_pairs or not any(name.endswith("ForSequenceClassification") for name in classes):
        return None
    elif any(name.lower().startswith("entail") for name in labels):
        backend, why = "zero-shot-classification", "id2label"
    else:
        backend, why = "text-classification", "id2label"
    facts = [Fact("task", "extract", f"{_CONFIG}: {why}")]
    facts.append(Fact("backend", backend, f"{_CONFIG}: {why}"))
    if "id2label" in config:
        shown = ", ".join(labels[:_LABELS_SHOWN]) + " …" * (len(labels) > _LABELS_SHOWN)
        facts.append(Fact("labels", shown, f"{_CONFIG}: id2label"))
    return Proposal("model", {"extract": {}}, backend, tuple(facts))


def _for_any_labels(files: Files) -> Proposal | None:
    """The proposal of a GLiNER or GLiClass; None of another."""
    reading: Reading[GlinerLayout] | Reading[GliclassLayout]
    if is_gliner(files):
        backend, source, reading = "gliner", GLINER_FILE, read_gliner(files)
        lacks = lacking_of_gliner
    elif is_gliclass(files):
        backend, source, reading = "gliclass", f"{_CONFIG}: model_type", read_gliclass(files)
        lacks = lacking_of_gliclass
    else:
        return None
    layout = reading.layout
    bundle = next(name for name, each in BUNDLES.items() if backend in each.backends)
    facts = [
        Fact("task", "extract", source),
        Fact("backend", backend, source),
        Fact("bundle", f"{bundle}: its workers start with `sie up --bundle {bundle}`", source),
        *(layout.facts if layout is not None else ()),
    ]
    beside = layout.beside if isinstance(layout, GlinerLayout) else ()
    refusals = reading.refusals or lacks(files)
    return Proposal("model", {"extract": {}}, backend, tuple(facts), refusals, beside=beside)


def _tasks(
    layout: Layout, kind: str, names: Mapping[str, int]
) -> tuple[dict[str, Any], tuple[Fact, ...]]:
    source = "modules.json" if "modules.json" in names else f"{_CONFIG}: architectures"
    match kind:
        case "scores":
            return {"score": {}}, (Fact("task", "score", source),)
        case "token_vectors":
            outputs = ["multivector"]
        case _:
            outputs = [layout.kind]
    heads = [f"{head}{end}" for head in _HEADS for end in (".safetensors", ".pt")]
    there = [name for name in heads if name in names]
    if outputs == ["dense"] and len(there) >= len(_HEADS):
        outputs, source = ["dense", "sparse", "multivector"], ", ".join(there)
    tasks: dict[str, Any] = {"encode": {"outputs": outputs}}
    if "multivector" in outputs:
        tasks["score"] = {}
    return tasks, (Fact("outputs", ", ".join(outputs), source),)


def _about(files: Files) -> Iterator[Fact]:
    config = _table(files, _CONFIG)
    for key in ("model_type", "architectures"):
        value = config.get(key)
        if value:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield Fact(key.replace("_", " "), text, f"{_CONFIG}: {key}")
    # The newer name first: transformers renamed it, and some files have both.
    for key in ("dtype", "torch_dtype"):
        if config.get(key):
            yield Fact("published in", str(config[key]), f"{_CONFIG}: {key}")
            break


def _weights(names: Mapping[str, int], takes_pickles: bool) -> Iterator[Fact]:
    ending = ".safetensors" if any(name.endswith(".safetensors") for name in names) else _WEIGHTS
    files = [name for name in names if name.endswith(ending)]
    total = sum(names[name] for name in files)
    if files:
        size = f"{total / 1e6:.1f} MB in " if total else ""
        yield Fact("weights", f"{size}{counted(len(files), 'file')}", files[0])
    pickles = pickles_wanted(names) if takes_pickles else ()
    if pickles:
        yield Fact("tensors", _JUDGED_LATER, ", ".join(pickles[:_PICKLES_SHOWN]))


def _missing(names: Mapping[str, int], takes_pickles: bool) -> Iterator[Refusal]:
    # Of heads that are pickles beside it, `_absent_heads` tells.
    if any(name.endswith(".safetensors") for name in names):
        return
    pickles = [name for name in names if name.endswith((".bin", ".pt"))]
    if pickles and takes_pickles:
        return
    if pickles:
        yield _pickle(pickles[0])
    else:
        yield Refusal("the folder", "has no weights", "choose the folder that has them")


def _pickle(name: str) -> Refusal:
    return Refusal(
        name, "is a pickle, and none is read of a folder", "save it again with safetensors"
    )


def _adapter(files: Files, names: Mapping[str, int], *, takes_pickles: bool) -> Proposal:
    config = _table(files, ADAPTER_FILE)
    base = str(config.get("base_model_name_or_path") or "")
    keys = (("peft_type", "kind"), ("r", "rank"), ("lora_alpha", "alpha"))
    facts = [
        Fact(name, str(config[key]), f"{ADAPTER_FILE}: {key}")
        for key, name in keys
        if key in config
    ]
    if base:
        facts.append(Fact("trained on", base, f"{ADAPTER_FILE}: base_model_name_or_path"))
    refusals = [*adapter_refusals(config)]
    if any(name.startswith("model") and name.endswith(".safetensors") for name in names):
        refusals.append(
            Refusal(
                ADAPTER_FILE,
                "lies beside the weights of a whole model, on which its library puts it",
                "merge it into the model, or move the adapter to a folder of its own",
            )
        )
    if WEIGHTS_FILE in names:
        try:
            refusals += untargeted(config, read_header(files, WEIGHTS_FILE))
        except ValueError as error:
            refusals.append(Refusal(WEIGHTS_FILE, str(error), "restore the file"))
    else:
        if "adapter_model.bin" not in names:
            refusals.append(Refusal("the folder", f"has no {WEIGHTS_FILE}", "restore it"))
        elif not takes_pickles:
            refusals.append(_pickle("adapter_model.bin"))
    if MODULES_FILE in names:
        facts.append(Fact("steps beside it", "have to be those of its model", MODULES_FILE))
    facts += _weights(names, takes_pickles)
    return Proposal("adapter", facts=tuple(facts), refusals=tuple(refusals), base=base)


def _table(files: Files, name: str) -> dict[str, Any]:
    try:
        value = json.loads(files.read(name) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
